# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the state that jobs are in; each has its documentation in a file of its name."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Callable, Mapping, Sequence

from ansible.errors import AnsibleTemplateError
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _options

STATES = ("running", "orphaned", "succeeded", "timed_out", "cancelled", "lost", "unknown")


class TestModule:
    """What core asks for the tests of this file."""

    def tests(self) -> dict[str, Callable[[object], bool]]:
        """Each test by its name, which is that of a state."""
        return {state: functools.partial(is_in, state) for state in STATES}


def is_in(state: str, value: object) -> bool:
    """Whether the job that `value` is a result of, or each of several and there is at least one, is in that state.

    Raises AnsibleTemplateError for what is no job's result.
    """
    found = list(_states_of(state, value))
    return bool(found) and all(one == state for one in found)


def _states_of(test: str, value: object) -> t.Iterator[object]:
    if isinstance(value, Mapping):
        job = value.get("job")
        if isinstance(job, Mapping) and "state" in job:  # a job result; a module's own keys beside it may be called anything
            yield job["state"]
            return
        if "jid" in value and "state" in value:
            yield value["state"]
            return
        if value.get("skipped"):
            return
        several = next((value[key] for key in ("jobs", "results") if _is_list(value.get(key))), None)
        if several is not None:
            yield from _states_of(test, several)
            return
        if value.get("failed") or value.get("unreachable"):  # a start that came to nothing
            yield "unknown"
            return
    elif _is_list(value):
        for item in t.cast("Sequence[object]", value):
            yield from _states_of(test, item)
        return
    got = sorted(map(str, value)) if isinstance(value, Mapping) else value
    takes = "it takes the result of a job, as the modules of longhaul.jobs return it, or a list of such"
    raise AnsibleTemplateError(f"the test longhaul.jobs.{test}: got {_options.shown(got)}; {takes}")


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
