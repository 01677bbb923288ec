# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action plugin that calls `_core` for test_core.py, which copies it into a collection of its own.

`calls` names a JSON file, `[[function, argument, …], …]`; what they return or raise is written to `out`. For what JSON does not hold
stand the arguments `"@task_vars"`, `"@args"` (the task's option `args`), `{"@bytes": …}`, `{"@set": […]}` and `{"@deep": levels}`.
`hand_on` makes what the last call, of `clean`, returned the task's result, `facts` the facts that `interpreter` returned.
"""

from __future__ import annotations

import dataclasses
import json
import time
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _core


class ActionModule(ActionBase):
    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> dict[str, t.Any]:
        outcomes = []
        value: t.Any = None
        for function, *arguments in json.loads(Path(self._task.args["calls"]).read_text()):
            named = {"@task_vars": task_vars, "@args": self._task.args.get("args")}
            arguments = [_real(argument, named) for argument in arguments]
            began = time.monotonic()
            try:
                value = self._call(function, task_vars, arguments)
                outcomes.append({"value": value})
            except Exception as error:
                outcomes.append({"raised": type(error).__name__, "text": str(error), "timed_out": getattr(error, "timed_out", None)})
            outcomes[-1]["seconds"] = time.monotonic() - began
        Path(self._task.args["out"]).write_text(json.dumps(outcomes, default=_plain))
        if self._task.args.get("hand_on"):
            document, facts, _warnings = value
            return {**document, "ansible_facts": facts or {}}
        if self._task.args.get("facts"):
            return {"ansible_facts": value[1]}
        return {}

    def _call(self, function: str, task_vars: t.Any, arguments: list[t.Any]) -> t.Any:
        if function == "peek":
            return self._peek(task_vars, *arguments)
        if function == "make_tmp":
            return self._make_tmp_path()
        return _core.strip_omit(*arguments) if function == "strip_omit" else getattr(_core, function)(self, *arguments)

    def _peek(self, task_vars: t.Any, *names: str) -> dict[str, t.Any]:
        """What the play now holds: variables by name, and what of the connection a call could have left changed."""
        found = {name: task_vars.get(name) for name in names}
        found["pipelining"] = self._connection.get_option("pipelining")
        found["tmpdir"] = self._connection._shell.tmpdir
        return found


def _real(argument: t.Any, named: dict[str, t.Any]) -> t.Any:
    if isinstance(argument, str):
        return named.get(argument, argument)
    if not isinstance(argument, dict):
        return argument
    if "@set" in argument:
        return set(argument["@set"])
    if "@bytes" in argument:
        return argument["@bytes"].encode("latin-1")
    if "@deep" in argument:
        deep: dict[str, t.Any] = {"msg": "end"}
        for _level in range(argument["@deep"]):
            deep = {"in": deep}
        return deep
    return {key: _real(value, named) for key, value in argument.items()}


def _plain(value: t.Any) -> t.Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
