# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of async_log: what jobs have written, as text or into files on the controller."""

from __future__ import annotations

import os
import re
import typing as t

from ansible.errors import AnsibleActionFail
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _log, _options, _results, _selection
from ansible_collections.longhaul.jobs.plugins.plugin_utils._action import JobsAction
from ansible_collections.longhaul.jobs.plugins.plugin_utils._question import Question
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote

# As the module documents them.
OPTIONS: dict[str, dict[str, t.Any]] = {
    **_selection.OPTIONS,
    "stream": {"type": "str", "choices": ["stdout", "stderr"], "default": "stdout"},
    "offset": {"type": "int", "default": 0},
    "lines": {"type": "int"},
    "grep": {"type": "str"},
    "max_bytes": {"type": "str", "default": "1M"},
    "dest": {"type": "str"},
    "async_dir": {"type": "str"},
}
_LEAST_BYTES = 4  # the longest character


class ActionModule(JobsAction):
    """longhaul.jobs.async_log"""

    instead = "it reads what there is and returns"

    def carry_out(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """What the jobs have written. A refusal is one sentence in `msg`."""
        given = _options.validated(self, OPTIONS, one_of=("jobs", "filters"))
        wanted = _wanted(given)
        selection = _selection.of(given)
        remote = Remote(self, task_vars, _options.async_dir("async_dir", given["async_dir"]))
        question = Question(remote, selection, verb="log", options=wanted.options, extra=_log.READING_SECONDS)
        results = question.ask()
        shown = {key: value for key, value in _results.listed(results).items() if key != "msg"}
        shown.update(logs=[], failed=False, changed=False)
        dest = self._dest(given["dest"])
        several = selection.references is None or len(results) > 1
        try:
            for result in [] if question.missed else results:
                changed, log = _log.read(remote, result, wanted, dest, several=several)
                shown["logs"].append(log)
                shown["changed"] = shown["changed"] or changed
        except _log.Away as away:
            shown.update(unreachable=True, msg=str(away))
        refused = [log["msg"] for log in shown["logs"] if log["offset"] is None]
        if refused:
            shown.update(failed=True, msg=f"of {len(refused)} of {len(results)} jobs there is no log: {'; '.join(refused)}")
        return _results.finish(remote, question.mark(shown))

    def _dest(self, dest: str | None) -> str | None:
        """As core takes paths on the controller: a relative one from the playbook's folder. A slash at its end stays."""
        if not dest:
            return None
        return str(self._loader.path_dwim(os.path.expanduser(dest))) + ("/" if dest.endswith("/") else "")


def _wanted(given: dict[str, t.Any]) -> _log.Wanted:
    """What the options ask for. Raises AnsibleActionFail."""
    for option, least in (("offset", 0), ("lines", 1)):
        if given[option] is not None and given[option] < least:
            raise AnsibleActionFail(f"{option}: got {given[option]}; it takes a number from {least} on")
    try:
        re.compile(given["grep"] or "")
    except re.error as error:
        raise AnsibleActionFail(f"grep: got {_options.shown(given['grep'])}; it takes a regular expression of Python's: {error}") from error
    if given["dest"] == "":
        raise AnsibleActionFail("dest: got ''; it takes a file or a folder on the controller")
    limit = _options.size("max_bytes", given["max_bytes"], least=_LEAST_BYTES)
    stream, offset, lines, grep = (given[option] for option in ("stream", "offset", "lines", "grep"))
    return _log.Wanted(stream, offset, lines, grep, limit, whole_characters=given["dest"] is None)
