# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of async_start: starts one task detached, and with `poll` follows it to its end."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _core, _options, _payload, _results
from ansible_collections.longhaul.jobs.plugins.plugin_utils._action import JobsAction
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference, new_jid
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote
from ansible_collections.longhaul.jobs.plugins.plugin_utils._start import Start

# As the module documents them; what is raw is looked at by who knows what to say.
OPTIONS: dict[str, dict[str, t.Any]] = {
    "task": {"type": "raw"},
    "cmd": {"type": "raw"},
    "time_limit": {"type": "str"},
    "grace": {"type": "str", "default": "10s"},
    "poll": {"type": "str", "default": "0"},
    "unreachable_timeout": {"type": "str", "default": "5m"},
    "name": {"type": "str"},
    "labels": {"type": "raw", "default": {}},
    "if_running": {"type": "str", "choices": ["attach", "fail", "replace"], "default": "attach"},
    "if_finished": {"type": "str", "choices": ["restart", "reuse"], "default": "restart"},
    "reuse_for": {"type": "str"},
    "retain": {"type": "str", "default": "7d"},
    "close_connection": {"type": "bool", "default": False},
    "async_dir": {"type": "str"},
}


class ActionModule(JobsAction):
    """longhaul.jobs.async_start"""

    instead = "the limit is its option time_limit, waiting its option poll"

    def carry_out(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """The job's result, flat. A refusal is one sentence in `msg`; nothing is started then."""
        given = _options.validated(self, OPTIONS, one_of=("task", "cmd"))
        options: dict[str, t.Any] = {
            "name": _options.name("name", given["name"]),
            "labels": _options.labels("labels", given["labels"]),
            "no_log": bool(self._task.no_log),
            "time_limit": _options.limit("time_limit", given["time_limit"]),
            "grace": _options.seconds("grace", given["grace"]),
            "retain": _options.seconds("retain", given["retain"]),
            "if_running": given["if_running"],
            "if_finished": given["if_finished"],
            "reuse_for": _options.limit("reuse_for", given["reuse_for"]),
        }
        _refuse_needless(self._task.args, given)
        poll = _options.seconds("poll", given["poll"])
        unreachable_timeout = _options.seconds("unreachable_timeout", given["unreachable_timeout"])
        async_dir = _options.async_dir("async_dir", given["async_dir"])
        remote = Remote(self, task_vars, async_dir)
        payload = _payload.make(self, task_vars, given["task"], given["cmd"])
        options.update(module=payload.module, payload=payload.request, work=payload.work, environment=_core.environment(self))
        reference = Reference(new_jid(check_mode=self._task.check_mode), options["name"], remote.host, async_dir)
        if self._task.check_mode:
            return _results.finish(remote, _would_start(remote, reference, payload))
        start = Start(remote, reference, options, payload, poll, unreachable_timeout, given["close_connection"])
        result = start.run()
        if given["close_connection"]:
            remote.close()
        return _results.finish(remote, _results.flat(result))


def _refuse_needless(args: t.Mapping[str, object], given: t.Mapping[str, t.Any]) -> None:
    """Raises AnsibleActionFail for what has no meaning without another option."""
    for option in ("if_running", "if_finished", "reuse_for"):
        if option in args and given["name"] is None:
            raise AnsibleActionFail(f"{option}: got {_options.shown(given[option])} without a name; it takes effect with name only")
    if given["reuse_for"] is not None and given["if_finished"] != "reuse":
        raise AnsibleActionFail(f"reuse_for: got {_options.shown(given['reuse_for'])}; it takes effect with if_finished: reuse only")


def _would_start(remote: Remote, reference: Reference, payload: _payload.Payload) -> dict[str, t.Any]:
    result = _results.bare(remote.host, reference, started=False, finished=False)
    result.shown["job"]["module"] = payload.module
    return {**result.shown, "changed": True}
