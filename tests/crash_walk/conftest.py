# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Core's reader for the crash walk, and the table that it ends with."""

from __future__ import annotations

import typing as t

import pytest

if t.TYPE_CHECKING:
    from ansible_collections.longhaul.jobs.tests.crash_walk.scene import Core


@pytest.fixture(scope="session")
def core() -> t.Iterator[Core]:
    """Core's own reader, for two at a time."""
    from ansible_collections.longhaul.jobs.tests.crash_walk.scene import Core

    one = Core(2)
    try:
        yield one
    finally:
        one.end()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Points tried and passed."""
    from ansible_collections.longhaul.jobs.tests.crash_walk.walk import TALLIES

    if not TALLIES:
        return
    terminalreporter.section("crash walk")
    row = "{:<48} {:<12} {:>7} {:>7} {:>7}"
    terminalreporter.write_line(row.format("scenario", "who", "points", "tried", "passed"))
    for (case, role), tally in TALLIES.items():
        terminalreporter.write_line(row.format(case, role, tally.points, tally.tried, tally.passed))
    points, tried, passed = (sum(getattr(tally, name) for tally in TALLIES.values()) for name in ("points", "tried", "passed"))
    untried = f" ({points - tried} of {points} left out)" if tried < points else ""
    terminalreporter.write_line(f"crash walk: {tried} points tried, {passed} passed{untried}")
