# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the scenarios."""

from __future__ import annotations

import os
import shutil
import tempfile
import typing as t
from pathlib import Path

import pytest

if t.TYPE_CHECKING:
    from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
    from ansible_collections.longhaul.jobs.tests.scenarios.support import Server, Stage, User


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    """The table of what core does where ours is tested: a row a fault."""
    import ansible.release
    from ansible_collections.longhaul.jobs.tests.scenarios.faults.core_fails import TABLE

    if TABLE:
        width = max(map(len, TABLE))
        terminalreporter.write_line("")
        terminalreporter.write_line(f"| {'what happens':{width}} | core {ansible.release.__version__}, its own async, seen in this run")
        for what, core in TABLE.items():
            terminalreporter.write_line(f"| {what:{width}} | {core}")


@pytest.fixture
def stage() -> t.Iterator[Stage]:
    """A stage with no hosts yet; no process and no file of the test is left afterwards."""
    yield from _stage()


@pytest.fixture(scope="module")
def shared_stage() -> t.Iterator[Stage]:
    """A stage for all the tests of a file."""
    yield from _stage()


def _stage() -> t.Iterator[Stage]:
    from ansible_collections.longhaul.jobs.tests.scenarios.support import Stage

    folder = Path(tempfile.mkdtemp(prefix="lhs-", dir="/var/tmp"))
    folder.chmod(0o755)
    one = Stage(folder)
    try:
        yield one
    finally:
        one.clean_up()


@pytest.fixture(scope="module")
def server() -> t.Iterator[Server]:
    """An sshd on loopback that lives for all the tests of a file."""
    with _server() as one:
        yield one
    shutil.rmtree(one.folder)


@pytest.fixture
def make_server() -> t.Iterator[t.Callable[[str], Server]]:
    """Makes an sshd on loopback with more lines in its configuration."""
    made: list[Server] = []

    def make(extra: str = "") -> Server:
        made.append(_server(extra).__enter__())
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.__exit__(None, None, None)
            shutil.rmtree(one.folder)


def _server(extra: str = "") -> Server:
    from ansible_collections.longhaul.jobs.tests.scenarios.support import Server
    from ansible_collections.longhaul.jobs.tools import sshd

    if sshd.binary() is None:
        pytest.skip("there is no sshd here")
    return Server(tempfile.mkdtemp(prefix="lhs-sshd-", dir="/var/tmp"), extra)


@pytest.fixture(scope="module")
def bed(request: pytest.FixtureRequest) -> t.Iterator[Bed]:
    """A test bed for all the tests of a file: of two hosts, or as many as its BED_HOSTS says."""
    from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed, CannotHoldABed

    try:
        one = Bed(getattr(request.module, "BED_HOSTS", 2)).__enter__()
    except CannotHoldABed as cannot:
        pytest.skip(str(cannot))
    try:
        yield one
    finally:
        one.__exit__()


@pytest.fixture
def make_user() -> t.Iterator[t.Callable[[Path], User]]:
    """Makes a user of this machine with a home there (which is not made); gone afterwards."""
    from ansible_collections.longhaul.jobs.tests.scenarios.support import User

    if os.getuid():
        pytest.skip("making users needs root")
    if not all(map(shutil.which, ("useradd", "userdel", "openssl"))):
        pytest.skip("there is no useradd, userdel or openssl here")
    made: list[User] = []

    def make(home: Path) -> User:
        made.append(User(home))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.remove()
