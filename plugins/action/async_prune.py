# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of async_prune: removes ended jobs of a host by filters, by number or by size, in one exchange."""

from __future__ import annotations

import re
import typing as t

from ansible.errors import AnsibleActionFail
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _options, _results, _selection
from ansible_collections.longhaul.jobs.plugins.plugin_utils._action import JobsAction
from ansible_collections.longhaul.jobs.plugins.plugin_utils._question import Question
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote

# As the module documents them.
OPTIONS: dict[str, dict[str, t.Any]] = {
    "filters": {"type": "raw"},
    "keep_last": {"type": "str"},
    "max_bytes": {"type": "str"},
    "include_core": {"type": "bool", "default": False},
    "async_dir": {"type": "str"},
}
REFERENCE = ("jid", "name", "labels", "host", "user", "async_dir", "results_file", "module", "state", "started_at", "ended_at")
REMOVING_SECONDS = 120.0  # that the removal of thousands may take besides the look


class ActionModule(JobsAction):
    """longhaul.jobs.async_prune"""

    instead = "it removes at once and returns"

    def carry_out(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """The jobs that were removed, or in check mode would be. A refusal is one sentence in `msg`; nothing is removed then."""
        given = _options.validated(self, OPTIONS)
        options = {
            "keep_last": _number(given["keep_last"]),
            "max_bytes": None if given["max_bytes"] is None else _options.size("max_bytes", given["max_bytes"]),
            "include_core": given["include_core"],
        }
        if all(given[option] is None for option in ("filters", "keep_last", "max_bytes")):
            raise AnsibleActionFail(f"{self._task.action}: got none of filters, keep_last and max_bytes; it takes at least one of them")
        selection = _selection.of(given)
        remote = Remote(self, task_vars, _options.async_dir("async_dir", given["async_dir"]))
        question = Question(remote, selection, verb="prune", options=options, extra=REMOVING_SECONDS)
        jobs = [result.shown["job"] for result in question.ask()]
        shown: _results.Result = {
            "pruned": [{key: job.get(key) for key in REFERENCE} for job in jobs],
            "space_reclaimed": _results.total_bytes(question.entries),
            "failed": False,
            "changed": bool(jobs),
        }
        return _results.finish(remote, question.mark(shown))


def _number(value: str | None) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", value, re.ASCII):
        raise AnsibleActionFail(f"keep_last: got {_options.shown(value)}; it takes a number of jobs, from 0 on")
    return int(value)
