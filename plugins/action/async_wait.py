# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of async_wait: waits for jobs, and is judged by what they came to."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _options, _results, _selection
from ansible_collections.longhaul.jobs.plugins.plugin_utils._action import JobsAction
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote
from ansible_collections.longhaul.jobs.plugins.plugin_utils._wait import Wait

# As the module documents them.
OPTIONS: dict[str, dict[str, t.Any]] = {
    **_selection.OPTIONS,
    "return_when": {"type": "str", "choices": ["all_finished", "first_finished", "first_failed"], "default": "all_finished"},
    "timeout": {"type": "str"},
    "timeout_from": {"type": "str", "choices": ["now", "start"], "default": "now"},
    "on_timeout": {"type": "str", "choices": ["leave_running", "cancel"], "default": "leave_running"},
    "poll_interval": {"type": "str", "default": "5s"},
    "poll_interval_max": {"type": "str", "default": "60s"},
    "long_poll": {"type": "str", "default": "20s"},
    "look_timeout": {"type": "str"},
    "unreachable_timeout": {"type": "str", "default": "5m"},
    "follow": {"type": "bool", "default": False},
    "close_connection": {"type": "bool", "default": False},
    "async_dir": {"type": "str"},
}


class ActionModule(JobsAction):
    """longhaul.jobs.async_wait"""

    instead = "it waits by itself, and its limit is its option timeout"

    def carry_out(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """The jobs' results, and what they come to together. A refusal is one sentence in `msg`."""
        given = _options.validated(self, OPTIONS, one_of=("jobs", "filters"))
        selection = _selection.of(given)
        timeout = _options.limit("timeout", given["timeout"])
        intervals = [_options.seconds(option, given[option], least=1.0) for option in ("poll_interval", "poll_interval_max")]
        long_poll = _options.seconds("long_poll", given["long_poll"])
        if given["close_connection"]:
            if long_poll and "long_poll" in self._task.args:
                got = _options.shown(given["long_poll"])
                raise AnsibleActionFail(f"long_poll: got {got}; beside close_connection, which closes it between looks, it takes 0")
            long_poll = 0.0
        for option, value in (("timeout_from", "start"), ("on_timeout", "cancel")):
            if timeout is None and given[option] == value:
                raise AnsibleActionFail(f"{option}: got '{value}'; it takes effect with timeout only")
        look_timeout = given["look_timeout"]
        look_timeout = None if look_timeout is None else _options.seconds("look_timeout", look_timeout, least=1.0)
        unreachable_timeout = _options.seconds("unreachable_timeout", given["unreachable_timeout"])
        remote = Remote(self, task_vars, _options.async_dir("async_dir", given["async_dir"]))
        remote.look_timeout = look_timeout or remote.look_timeout
        wait = Wait(
            remote,
            selection,
            return_when=given["return_when"],
            timeout=timeout,
            from_start=given["timeout_from"] == "start",
            cancels=given["on_timeout"] == "cancel",
            poll_interval=intervals[0],
            poll_interval_max=intervals[1],
            long_poll=long_poll,
            unreachable_timeout=unreachable_timeout,
            follow=given["follow"] and not self._task.no_log,
            close_connection=given["close_connection"],
            check=bool(self._task.check_mode),
        )
        return _results.finish(remote, wait.run())
