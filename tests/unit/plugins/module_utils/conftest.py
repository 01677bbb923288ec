# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the engine's tests."""

from __future__ import annotations

import shutil
import tempfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine


@pytest.fixture
def engine() -> t.Iterator[Engine]:
    """An engine with an empty spool on the disk; all processes of its jobs are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="longhaul-test-", dir="/var/tmp"))
    one = Engine(folder / "spool")
    try:
        yield one
    finally:
        one.clean_up()
        shutil.rmtree(folder)
