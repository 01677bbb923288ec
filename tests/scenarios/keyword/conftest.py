# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of what was compared, printed at the end."""

from __future__ import annotations

import typing as t

from ansible_collections.longhaul.jobs.tests.scenarios.keyword.comparison import TABLE


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    """The table: a row a playbook, a column a version of core."""
    if not TABLE:
        return
    cores = sorted({core for row in TABLE.values() for core in row})
    terminalreporter.write_line("")
    terminalreporter.write_line(f"| {'unmodified playbooks (tasks, keys compared)':46}" + "".join(f"{core:>20}" for core in cores))
    for name, row in TABLE.items():
        terminalreporter.write_line(f"| {name:46}" + "".join(f"{row.get(core, '-'):>20}" for core in cores))
