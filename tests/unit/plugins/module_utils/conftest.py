# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the engine's tests."""

from __future__ import annotations

import os
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


@pytest.fixture
def sudoer(engine: Engine) -> t.Iterator[Engine]:
    """The engine as a user who may become root by sudo; what sudo has started, the test ends itself: it takes the mark off."""
    if os.geteuid() != 0 or not shutil.which("sudo") or not Path("/usr/bin/python3").exists():
        pytest.skip("needs root to become a user, sudo, and an interpreter that every user may run")
    rules = Path(f"/etc/sudoers.d/longhaul-test-{os.getpid()}")
    rules.write_text("nobody ALL=(ALL) NOPASSWD: ALL\n")
    rules.chmod(0o440)
    engine.spool.parent.chmod(0o755)
    engine.spool.mkdir(mode=0o700)
    os.chown(engine.spool, 65534, 65534)
    engine.prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    engine.python = "/usr/bin/python3"
    try:
        yield engine
    finally:
        rules.unlink()
