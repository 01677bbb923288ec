# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options `jobs` and `filters`: which jobs of a host a task means."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ansible.errors import AnsibleActionFail
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _options, _references

STATES = ("running", "orphaned", "succeeded", "failed", "timed_out", "cancelled", "lost", "foreign")
_GLOB = re.compile(r"[A-Za-z0-9._*?\[\]!-]{1,200}", re.ASCII)
OPTIONS: dict[str, dict[str, t.Any]] = {"jobs": {"type": "raw"}, "filters": {"type": "raw"}}


@dataclass(frozen=True)
class Selection:
    """Jobs by references, or those that filters let through; neither means all."""

    references: list[_references.Reference] | None = None
    filters: dict[str, t.Any] | None = None  # as the engine takes them: durations in seconds


def of(given: Mapping[str, t.Any], *, all_allowed: bool = False, empty_allowed: bool = True) -> Selection:
    """What the options `jobs` and `filters` of a task mean. Raises AnsibleActionFail.

    `all_allowed`: neither, or empty filters, mean all jobs. `empty_allowed`: an empty `jobs` means nobody, instead of a mistake.
    """
    jobs, filters = given.get("jobs"), given.get("filters")
    if filters is not None:
        found = checked(filters)
        if not found and not all_allowed:
            raise AnsibleActionFail("filters: got none; it takes at least one of " + ", ".join(FILTERS))
        return Selection(filters=found)
    if jobs is None:
        return Selection()
    if not empty_allowed and not jobs and not isinstance(jobs, (int, float)):
        raise AnsibleActionFail(f"jobs: got {_options.shown(jobs)}; it takes at least one job")
    return Selection(references=_references.by_anything("jobs", jobs))


def for_host(selection: Selection, host: str) -> Selection:
    """The same for that host, where no start can be called off that was sent to another one."""
    if selection.references is None:
        return selection
    here = [one if one.host in (None, host) else replace(one, unanswered=False) for one in selection.references]
    return replace(selection, references=here)


def checked(filters: object) -> dict[str, t.Any]:
    """The option `filters` as the engine takes it. Raises AnsibleActionFail."""
    if not isinstance(filters, Mapping):
        raise AnsibleActionFail(f"filters: got {_options.shown(filters)}; it takes a dict of " + ", ".join(FILTERS))
    unknown = sorted(str(key) for key in filters if key not in FILTERS)
    if unknown:
        raise AnsibleActionFail(f"filters: got the unknown key {', '.join(map(_options.shown, unknown))}; it takes " + ", ".join(FILTERS))
    return {str(key): FILTERS[key](f"filters.{key}", value) for key, value in filters.items() if value is not None}


def _texts(option: str, value: object) -> list[str]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, Sequence) or not items or not all(isinstance(item, str) for item in items):
        raise AnsibleActionFail(f"{option}: got {_options.shown(value)}; it takes one or a list of strings")
    return [str(item) for item in items]


def _states(option: str, value: object) -> list[str]:
    found = _texts(option, value)
    for state in found:
        if state not in STATES:
            raise AnsibleActionFail(f"{option}: got {_options.shown(state)}; it takes {', '.join(STATES)}")
    return found


def _globs(option: str, value: object) -> list[str]:
    found = _texts(option, value)
    for glob in found:
        if not _GLOB.fullmatch(glob):
            raise AnsibleActionFail(f"{option}: got {_options.shown(glob)}; it takes names, in which * ? and [] stand for others")
    return found


def _labels(option: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not value:
        raise AnsibleActionFail(f"{option}: got {_options.shown(value)}; it takes a dict of labels and their values")
    return _options.labels(option, value)


FILTERS: dict[str, t.Callable[[str, object], t.Any]] = {
    "states": _states,
    "names": _globs,
    "labels": _labels,
    "modules": _globs,
    "older_than": _options.seconds,
    "newer_than": _options.seconds,
}
