# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of what core does where ours is tested, printed at the end."""

from __future__ import annotations

import typing as t

import ansible.release
from ansible_collections.longhaul.jobs.tests.scenarios.faults.core_fails import TABLE


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    """The table: a row a fault."""
    if TABLE:
        width = max(map(len, TABLE))
        terminalreporter.write_line("")
        terminalreporter.write_line(f"| {'what happens':{width}} | core {ansible.release.__version__}, its own async, seen in this run")
        for what, core in TABLE.items():
            terminalreporter.write_line(f"| {what:{width}} | {core}")
