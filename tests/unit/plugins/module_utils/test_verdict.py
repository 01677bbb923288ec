# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each row of the truth table of PROTOCOL section 4, judged from facts that are made up: judge() is pure."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils._verdict import judge

RECORD = {"schema": 1}
WHOLE = frozenset(("job.json", "lock", "end.new", "started.json"))
EARLY = frozenset(("job.json", "lock", "end.new"))
HELD, FREE = {"lock": "held"}, {"lock": "free"}


def facts(**seen: t.Any) -> t.Any:
    """Facts of a job of ours whose payload runs under a living supervisor, but for what is given."""
    usual: dict[str, t.Any] = dict.fromkeys(
        "removed trouble past_limit past_grace newer ours core_alive core_visible cancel end result".split(), False
    )
    usual |= dict.fromkeys("directory same_boot same_host supervisor_alive payload_alive command".split(), True)
    return types.SimpleNamespace(**(usual | {"lock": "held", "job_file": "unfinished", "names": WHOLE, "record": RECORD} | seen))


NO_DIRECTORY: dict[str, t.Any] = {"directory": False, "names": frozenset(), "record": None, "lock": "missing"}
DEAD: dict[str, t.Any] = {"lock": "free", "supervisor_alive": False}
GONE = DEAD | {"payload_alive": False}

ROWS: list[tuple[str, dict[str, t.Any], str, str | None, str | None]] = [
    ("finished", {"job_file": "finished"}, "ended", None, None),
    ("finished, lock held", {"job_file": "finished", "lock": "held"}, "ended", None, None),
    ("finished, all dead", {"job_file": "finished"} | GONE, "ended", None, None),
    ("nothing there", NO_DIRECTORY | {"job_file": "absent"}, "unknown", None, None),
    ("ours without its directory", NO_DIRECTORY | {"ours": True}, "unknown", None, None),
    ("core's, its wrapper seen", NO_DIRECTORY | {"core_alive": True}, "running", None, None),
    ("core's, cannot tell", NO_DIRECTORY, "running", None, None),
    ("core's, for certain gone", NO_DIRECTORY | {"core_visible": True}, "lost", "supervisor_killed", None),
    ("core's, unreadable", NO_DIRECTORY | {"job_file": "unreadable"}, "lost", "corrupt_record", None),
    ("removed", {"names": frozenset(("removed",)), "removed": True, "record": None}, "unknown", None, None),
    ("empty directory", {"names": frozenset(), "record": None}, "unknown", None, None),
    ("end committed and cleaned away", {"job_file": "absent", "names": frozenset(("job.json", "lock"))}, "unknown", None, None),
    ("something could not be read", GONE | {"trouble": True, "record": None}, "running", None, None),
    ("removed, something could not be read", {"trouble": True, "removed": True, "record": None}, "unknown", None, None),
    ("another host's", DEAD | {"same_boot": False, "same_host": False}, "foreign", None, None),
    ("another host's, lock held", {"same_boot": False, "same_host": False}, "foreign", None, None),
    ("record unreadable, held", {"record": None}, "running", None, None),
    ("record unreadable, free", {"record": None} | FREE, "lost", "corrupt_record", "commit"),
    ("record of a newer schema, held", {"record": None, "newer": True}, "running", None, None),
    ("record of a newer schema, free", {"record": None, "newer": True} | FREE, "unknown", None, None),
    ("held, supervisor lives", {}, "running", None, None),
    ("held, in the handshake", {"names": EARLY, "job_file": "absent", "payload_alive": False}, "running", None, None),
    ("held, supervisor gone", {"supervisor_alive": False}, "running", None, None),
    ("lock missing, supervisor lives", {"lock": "missing"}, "running", None, None),
    ("lock missing, supervisor gone, payload lives", {"lock": "missing", "supervisor_alive": False}, "orphaned", None, None),
    ("lock denied is not free", {"lock": "denied"}, "running", None, None),
    ("free, supervisor lives", FREE, "running", None, None),
    ("free, complete end", GONE | {"end": ({}, 2)}, "ended", None, "adopt"),
    ("free, complete end, other boot", GONE | {"end": ({}, 2), "same_boot": False}, "ended", None, "adopt"),
    ("free, module's complete result", GONE | {"result": ({}, False)}, "ended", None, "recover"),
    ("free, module's complete result, but it goes on", DEAD | {"result": ({}, False)}, "orphaned", None, None),
    ("free, complete end and result", GONE | {"end": ({}, 2), "result": ({}, False)}, "ended", None, "adopt"),
    ("other boot", GONE | {"same_boot": False}, "lost", "host_rebooted", "commit"),
    ("other boot, never started", GONE | {"same_boot": False, "names": EARLY}, "lost", "host_rebooted", "commit"),
    ("never exec'ed", GONE | {"names": EARLY, "job_file": "absent"}, "lost", "never_started", "commit"),
    ("orphan", DEAD, "orphaned", None, None),
    ("orphan, cancel asked for", DEAD | {"cancel": {"signal": 15}}, "orphaned", None, None),
    ("orphan past its limit", DEAD | {"past_limit": True}, "orphaned", None, "enforce"),
    ("gone, cancel asked for", GONE | {"cancel": {"signal": 15}}, "cancelled", "cancelled", "commit"),
    ("gone, a command", GONE, "lost", "exit_unknown", "commit"),
    ("gone, a module", GONE | {"command": False}, "lost", "supervisor_killed", "commit"),
    ("gone, job file unreadable", GONE | {"job_file": "unreadable"}, "lost", "exit_unknown", "commit"),
    ("runs, job file unreadable", {"job_file": "unreadable"}, "running", None, None),
]


@pytest.mark.parametrize(("seen", "state", "cause", "act"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_row(seen: dict[str, t.Any], state: str, cause: str | None, act: str | None) -> None:
    verdict = judge(facts(**seen))
    assert (verdict.state, verdict.cause, verdict.act) == (state, cause, act)


@pytest.mark.parametrize("name", ["nothing there", "removed", "empty directory", "never exec'ed", "gone, a command", "other boot"])
def test_lost_and_unknown_ask_for_a_second_look(name: str) -> None:
    seen = next(row[1] for row in ROWS if row[0] == name)
    assert judge(facts(**seen)).again


@pytest.mark.parametrize("name", ["finished", "held, supervisor lives", "orphan", "free, complete end", "another host's"])
def test_what_is_seen_to_be_so_needs_one_look(name: str) -> None:
    seen = next(row[1] for row in ROWS if row[0] == name)
    assert not judge(facts(**seen)).again


UNVERIFIED = [
    "core's, cannot tell",
    "something could not be read",
    "record unreadable, held",
    "held, supervisor gone",
    "record of a newer schema, free",
]


@pytest.mark.parametrize("name", UNVERIFIED)
def test_what_rests_on_less_is_not_verified(name: str) -> None:
    seen = next(row[1] for row in ROWS if row[0] == name)
    assert not judge(facts(**seen)).verified


OVERDUE: list[tuple[dict[str, t.Any], bool]] = [
    ({"past_limit": True}, False),
    ({"past_grace": True}, True),
    (DEAD | {"past_limit": True}, True),
]


@pytest.mark.parametrize(("seen", "overdue"), OVERDUE)
def test_overdue_is_a_limit_that_nobody_has_enforced(seen: dict[str, t.Any], overdue: bool) -> None:
    assert judge(facts(**seen)).overdue is overdue
