# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S5: a job that is ended is ended wholly, whatever its processes do to get away; what may not be signalled is named."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _kill
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, command, end_all, wait_for

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: processes of other users")

# A payload whose every child tries another way out; each writes its name into the folder argv[1] once it is there.
LEAVES = r"""
import os, signal, sys, time
folder, kinds = sys.argv[1], sys.argv[2:]

def stay(kind):
    open(folder + "/" + kind, "w").close()
    while True:
        time.sleep(60)

def daemon():
    if os.fork(): os._exit(0)
    os.setsid()
    if os.fork(): os._exit(0)

def no_descriptors():
    os.closerange(0, 64)

def clean(kind):
    os.execve("/bin/sh", ["sh", "-c", ": > %s/%s; while :; do sleep 1; done" % (folder, kind)], {"PATH": "/usr/bin:/bin"})

def leave(kind):
    if kind == "plain": stay(kind)
    if kind == "setsid": os.setsid(); stay(kind)
    if kind == "group": os.setpgid(0, 0); stay(kind)
    if kind == "double":
        if os.fork(): os._exit(0)
        stay(kind)
    if kind == "nohup": signal.signal(signal.SIGHUP, signal.SIG_IGN); stay(kind)
    if kind == "closed": no_descriptors(); stay(kind)
    if kind == "cleared": clean(kind)
    if kind == "stopped":
        open(folder + "/" + kind, "w").close()
        os.kill(os.getpid(), signal.SIGSTOP)
        stay(kind)
    if kind == "deaf": signal.signal(signal.SIGTERM, signal.SIG_IGN); stay(kind)
    if kind == "daemon":
        daemon(); no_descriptors(); signal.signal(signal.SIGTERM, signal.SIG_IGN); clean(kind)
    if kind == "pair":
        other = os.getpid()
        for _ in range(400):
            pid = os.fork()
            if pid == 0:
                os.setsid()
                open(folder + "/" + kind, "w").close()
                while os.getppid() == other: time.sleep(0.002)
                other = os.getppid()
                continue
            try: os.waitpid(pid, 0)
            except OSError: pass
    if kind == "chain":
        for _ in range(4000):
            if os.fork(): os._exit(0)
            os.setsid()
            open(folder + "/" + kind, "w").close()
            time.sleep(0.001)
        stay(kind)
    if kind == "other":
        os.setgid(65534); os.setuid(65534); stay(kind)

for kind in kinds:
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        leave(kind)
        os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    time.sleep(60)
"""
KINDS = ("plain", "setsid", "group", "double", "nohup", "closed", "cleared", "stopped", "deaf", "daemon", "pair", "chain")


@pytest.fixture(params=["root", "user"])
def owner(request: pytest.FixtureRequest, engine: Engine) -> Engine:
    """The engine as root, and as a user whose own interpreter everybody may run."""
    engine.spool.parent.chmod(0o755)
    if request.param == "user":
        if os.geteuid() != 0 or not Path("/usr/bin/python3").exists():
            pytest.skip("needs root to become another user, and an interpreter that every user may run")
        engine.spool.mkdir(mode=0o700)
        os.chown(engine.spool, 65534, 65534)
        engine.prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        engine.python = "/usr/bin/python3"
    return engine


def leaving(engine: Engine, kinds: t.Sequence[str]) -> tuple[dict[str, t.Any], Path]:
    """The payload, and the folder in which its children report."""
    folder = engine.spool.parent / "there"
    folder.mkdir()
    folder.chmod(0o777)
    return command(argv=[engine.python, "-c", LEAVES, str(folder), *kinds]), folder


@pytest.mark.parametrize("supervisor", ["alive", "dead", "stopped"])
def test_nothing_survives_a_cancel(owner: Engine, supervisor: str) -> None:
    payload, folder = leaving(owner, KINDS)
    job = owner.start(payload)
    wait_for(lambda: len(list(folder.iterdir())) == len(KINDS))
    if supervisor != "alive":
        owner.kill(job, "supervisor", 9 if supervisor == "dead" else 19)
    done = owner.cancel(job, grace=0.3)
    assert (done["job"]["state"], done["job"]["survivors"], done["failed"]) == ("cancelled", [], False)
    assert done["job"]["verified"] is True
    assert owner.processes() == []
    assert with_folder(folder) == []


def with_folder(folder: Path) -> list[str]:
    """Command lines that name the folder: a second way, besides the mark, to see a process of the job."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(folder).encode() in line and int(entry.name) != os.getpid():
            found.append(f"{entry.name} {line[:80]!r}")
    return found


def test_nothing_survives_a_limit(owner: Engine) -> None:
    payload, folder = leaving(owner, KINDS)
    done = owner.start(payload, time_limit=1.0, grace=0.3, hold=20)
    assert (done["job"]["state"], done["job"]["survivors"], done["job"]["verified"]) == ("timed_out", [], True)
    assert len(list(folder.iterdir())) == len(KINDS)
    assert owner.processes() == []
    assert with_folder(folder) == []


@needs_root
def test_a_child_of_another_user_is_ended_by_root(engine: Engine) -> None:
    engine.spool.parent.chmod(0o755)
    payload, folder = leaving(engine, ["other"])
    job = engine.start(payload)
    wait_for(lambda: list(folder.iterdir()))
    done = engine.cancel(job, grace=0.2)
    assert (done["job"]["survivors"], engine.processes()) == ([], [])


@needs_root
def test_a_process_that_changed_its_user_for_good_is_named(sudoer: Engine) -> None:
    """S5: as a user, the job's child is root's: it is seen by descent and by the mark, and named."""
    deaf = f'trap "" TERM; : {os.getpid()}; while :; do sleep 1; done'
    try:
        job = sudoer.start(f"sudo -n sh -c '{deaf}' & sleep 60 & wait")
        wait_for(
            lambda: subprocess.run(["pgrep", "-f", f"^sh -c .*: {os.getpid()};"], stdout=subprocess.DEVNULL, check=False).returncode == 0
        )
        done = sudoer.cancel(job, grace=0.2)
        survivors = done["job"]["survivors"]
        assert {survivor["user"] for survivor in survivors} == {"root"}
        assert any(deaf in survivor["command"] for survivor in survivors)
        assert (done["failed"], done["job"]["verified"]) == (True, False)
    finally:
        end_all(deaf)


def test_no_process_of_somebody_else_is_touched(engine: Engine) -> None:
    """Beside the job: a process of the same user, and another job."""
    stranger = subprocess.Popen(["sleep", "60"])
    other = engine.start("exec sleep 60")
    job = engine.start("exec sleep 60")
    try:
        engine.kill(job, "supervisor")
        engine.cancel(job)
        assert stranger.poll() is None
        assert engine.status(other)["job"]["state"] == "running"
    finally:
        stranger.kill()
        stranger.wait()


def test_marks() -> None:
    marks = {_kill.new_mark() for _number in range(100)}
    assert len(marks) == 100
    assert all(mark & _kill.MARK_BIT and mark < 1 << 62 for mark in marks)
    assert _kill.mark_of(os.getpid()) is None
    code = "import resource, time; resource.setrlimit(10, (%d, -1)); print('set', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code % min(marks)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"set\n"
        assert _kill.mark_of(child.pid) == min(marks)
    finally:
        child.kill()
        child.communicate()
