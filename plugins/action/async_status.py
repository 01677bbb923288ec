# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of async_status: asks after one job, as core's does, or after many in one exchange."""

from __future__ import annotations

import typing as t

from ansible_collections.longhaul.jobs.plugins.plugin_utils import _options, _references, _results
from ansible_collections.longhaul.jobs.plugins.plugin_utils._action import JobsAction
from ansible_collections.longhaul.jobs.plugins.plugin_utils._question import Question
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote
from ansible_collections.longhaul.jobs.plugins.plugin_utils._selection import Selection

# As the module documents them.
OPTIONS: dict[str, dict[str, t.Any]] = {
    "jid": {"type": "str"},
    "jobs": {"type": "raw"},
    "mode": {"type": "str", "choices": ["cleanup", "status"], "default": "status"},
    "unreachable_timeout": {"type": "str", "default": "5m"},
    "async_dir": {"type": "str"},
}


class ActionModule(JobsAction):
    """longhaul.jobs.async_status"""

    instead = "it asks once, and waits with until, retries and delay"

    def carry_out(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """The job's result, flat, or a list of them. A refusal is one sentence in `msg`."""
        given = _options.validated(self, OPTIONS, one_of=("jid", "jobs"))
        budget = _options.seconds("unreachable_timeout", given["unreachable_timeout"])
        async_dir = _options.async_dir("async_dir", given["async_dir"])
        is_flat = given["jid"] is not None
        references = [_references.by_jid("jid", given["jid"])] if is_flat else _references.by_anything("jobs", given["jobs"])
        remote = Remote(self, task_vars, async_dir)
        # A question that is not asked again by `until` has no patience: its host is unreachable at once.
        repeated = bool(self._task.until)
        question = Question(remote, Selection(references), options={"mode": given["mode"]}, keeps=repeated and given["mode"] == "status")
        question.unreachable_timeout = budget if repeated else 0.0
        results = question.ask()
        shown = _results.with_streams(_results.flat(results[0])) if is_flat else _results.listed(results)
        return _results.finish(remote, question.mark(shown))
