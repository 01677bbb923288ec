# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of async_cancel: ends jobs for sure, all in one exchange."""

from __future__ import annotations

import os
import platform
import signal
import typing as t

from ansible.errors import AnsibleActionFail
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _options, _results, _selection
from ansible_collections.longhaul.jobs.plugins.plugin_utils._action import JobsAction
from ansible_collections.longhaul.jobs.plugins.plugin_utils._question import Question
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote

# As the module documents them.
OPTIONS: dict[str, dict[str, t.Any]] = {
    **_selection.OPTIONS,
    "signal": {"type": "str", "default": "TERM"},
    "grace": {"type": "str", "default": "10s"},
    "reason": {"type": "str"},
    "async_dir": {"type": "str"},
}
ENDING_SECONDS = 15.0  # that it may take besides the look and the grace to end what does not obey
_NAMES = sorted(number.name.removeprefix("SIG") for number in signal.Signals)


class ActionModule(JobsAction):
    """longhaul.jobs.async_cancel"""

    instead = "it returns when the jobs have ended"

    def carry_out(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """The jobs and what has become of them. A refusal is one sentence in `msg`; nothing is cancelled then."""
        given = _options.validated(self, OPTIONS, one_of=("jobs", "filters"))
        grace = _options.seconds("grace", given["grace"])
        options: dict[str, t.Any] = {"signal": _signal(given["signal"]), "grace": grace, "reason": given["reason"]}
        options["by"] = f"uid {os.getuid()} on {platform.node()}"
        selection = _selection.of(given, empty_allowed=False)
        remote = Remote(self, task_vars, _options.async_dir("async_dir", given["async_dir"]))
        selection = _selection.for_host(selection, remote.host)
        question = Question(remote, selection, verb="cancel", options=options, extra=grace + ENDING_SECONDS)
        shown = question.mark(_told(question.ask()))
        if question.missed:
            shown["msg"] += "; whether the jobs were cancelled is not known, and to ask again is safe"
        return _results.finish(remote, shown)


def _signal(value: str) -> str | int:
    """A signal's name without SIG, or its number. Raises AnsibleActionFail."""
    name = value.strip().upper().removeprefix("SIG")
    if name in _NAMES:
        return name
    if name.isascii() and name.isdigit() and int(name) in signal.valid_signals() and int(name):
        return int(name)
    raise AnsibleActionFail(f"signal: got {_options.shown(value)}; it takes a signal's name or number, such as TERM, INT or 9")


def _told(results: list[_results.JobResult]) -> _results.Result:
    """The task's result: a job that was cancelled is no failure of its cancel, and neither is a name that no job has."""
    shown = {key: value for key, value in _results.listed(results).items() if key != "msg"}
    refused = [str(result.shown.get("msg")) for result in results if result.is_refused]
    nobody = [str(result.shown.get("msg")) for result in results if result.shown["job"]["state"] == "unknown"]
    shown["failed"] = bool(refused)
    if refused:
        shown["msg"] = f"{len(refused)} of {len(results)} jobs could not be cancelled: {'; '.join(refused)}"
    elif nobody:
        shown["msg"] = f"nothing to cancel: {'; '.join(nobody)}"
    return shown
