# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of async_info: lists a host's jobs, all or some, in one exchange."""

from __future__ import annotations

import typing as t

from ansible_collections.longhaul.jobs.plugins.plugin_utils import _options, _results, _selection
from ansible_collections.longhaul.jobs.plugins.plugin_utils._action import JobsAction
from ansible_collections.longhaul.jobs.plugins.plugin_utils._question import Question
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote

# As the module documents them.
OPTIONS: dict[str, dict[str, t.Any]] = {**_selection.OPTIONS, "async_dir": {"type": "str"}}


class ActionModule(JobsAction):
    """longhaul.jobs.async_info"""

    instead = "it asks once and returns"

    def carry_out(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """The jobs that there are. A refusal is one sentence in `msg`."""
        given = _options.validated(self, OPTIONS, at_most_one_of=("jobs", "filters"))
        selection = _selection.of(given, all_allowed=True)
        remote = Remote(self, task_vars, _options.async_dir("async_dir", given["async_dir"]))
        question = Question(remote, selection, verb="info")
        shown = _told(remote, question, [result.shown for result in question.ask()])
        return _results.finish(remote, question.mark(shown))


def _told(remote: Remote, question: Question, jobs: list[_results.Result]) -> _results.Result:
    """The task's result: a job that failed is no failure of the task, and neither is one that is not there."""
    missing = [job for job in jobs if job["job"]["state"] == "unknown" and _who(job)]
    # Of another host's the reference knows where to ask.
    elsewhere = [job["msg"] for job in missing if job["job"]["host"] != remote.host]
    jobs = [job for job in jobs if job["job"]["state"] != "unknown" or not _who(job)]
    shown: _results.Result = {
        "jobs": jobs,
        "missing": [_who(job) for job in missing],
        "finished": not question.missed and all(job["finished"] for job in jobs),
        "bytes": _results.total_bytes(question.entries),
        "failed": False,
        "changed": False,
    }
    return {**shown, "warnings": elsewhere} if elsewhere else shown


def _who(job: _results.Result) -> str | None:
    """What a job was asked for by; None for one whose start failed before it had an id."""
    return t.cast("str | None", job["ansible_job_id"] or job["job"].get("name"))
