# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One trial of the kill matrix: a job with one leaf, one way of ending it, and what lives on afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pwd
import secrets
import shlex
import shutil
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.longhaul.jobs.tests.kill_matrix import leaves
from ansible_collections.longhaul.jobs.tests.kill_matrix.register import Register, may_signal, start_of, state_of, user_of
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, Job, alive, command, wait_for

LIMIT, GRACE = 1.0, 0.3  # seconds
HOLD_SECONDS = 30.0
READY_SECONDS = 30.0
TOO_LATE = 10  # times that a leaf may be there only after its limit, on a busy machine, before that is a failure
USER, OTHER = "nobody", "daemon"  # an ordinary user, and the one that root's jobs become
# The payload: a shell that waits beside its leaf, without a child of its own for that.
SHELL = '"$@" & read never <"$0"'


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A row: ``kind`` is the program's, ``by`` what it is started through, ``hole`` that it is lost with the supervisor.

    The hole: su and sudo take the job's mark off, and a daemon's parent is its supervisor alone.
    """

    name: str
    kind: str
    by: str = ""
    forks: bool = False
    hole: bool = False


@dataclasses.dataclass(frozen=True)
class Situation:
    """A column: what ends the job, and how its supervisor is by then."""

    way: str
    supervisor: str

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.way, self.supervisor)))


@dataclasses.dataclass(frozen=True)
class Owner:
    """Whose job it is: ``prefix`` makes a command theirs."""

    name: str
    prefix: tuple[str, ...]
    uid: int
    gid: int


LEAVES = (
    Leaf("plain", "plain"),
    Leaf("setsid", "setsid"),
    Leaf("double fork", "double"),
    Leaf("nohup", "plain", by="nohup"),
    Leaf("new group", "group"),
    Leaf("closed descriptors", "closed"),
    Leaf("cleared environment", "cleared"),
    Leaf("stopped", "stopped"),
    Leaf("ignores TERM", "deaf"),
    Leaf("daemon, all of these", "daemon"),
    Leaf("respawning pair", "pair", forks=True),
    Leaf("chain of forks", "chain", forks=True),
    Leaf("other uid, by sudo", "plain", by="sudo"),
    Leaf("other uid, by su", "plain", by="su"),
    Leaf("ignores TERM, by sudo", "deaf", by="sudo"),
    Leaf("ignores TERM, by su", "deaf", by="su"),
    Leaf("daemon made by sudo", "daemon", by="sudo", hole=True),
    Leaf("daemon made by su", "daemon", by="su", hole=True),
)
SITUATIONS = (
    Situation("limit", "alive"),
    Situation("limit", "dead"),
    Situation("cancel", "alive"),
    Situation("cancel", "dead"),
    Situation("cancel", "stopped"),
)


@dataclasses.dataclass
class Outcome:
    """What came of a trial; ``faults`` are sentences, and none is right."""

    seconds: float = 0.0
    made: int = 0
    killable: int = 0  # may be signalled and survived: a fault each
    others: int = 0  # survived, and may not be signalled
    listed: int = 0  # of these, in the answer's survivors
    hole: int = 0
    anew: int = 0  # trials before this one whose leaf was not there in time
    faults: list[str] = dataclasses.field(default_factory=list)


class TooLateError(Exception):
    """The leaf was not there yet when its limit came: that was no trial."""


class Ground:
    """Where the trials are made: a folder that every user may enter, an interpreter that every user may run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        self.program = folder / "leaves.py"
        shutil.copyfile(leaves.__file__, self.program)
        self.program.chmod(0o644)
        self._numbers = itertools.count(1)

    def new(self) -> Path:
        """An empty folder for one trial."""
        path = self.folder / str(next(self._numbers))
        path.mkdir(mode=0o755)
        return path


@contextlib.contextmanager
def ground() -> t.Iterator[Ground]:
    """A ground, and as root the right of the ordinary user to become another; both are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="longhaul-kill-", dir="/var/tmp" if os.access("/var/tmp", os.W_OK) else None))
    folder.chmod(0o755)
    rules = Path(f"/etc/sudoers.d/{folder.name.replace('_', '-')}")
    try:
        if os.geteuid() == 0 and rules.parent.is_dir():
            rules.touch(0o440)
            rules.write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
        yield Ground(folder)
    finally:
        rules.unlink(missing_ok=True)
        shutil.rmtree(folder)


def owners() -> list[Owner]:
    """Root and an ordinary user; who is not root is the only one."""
    if os.geteuid() != 0:
        return [Owner("user", (), os.geteuid(), os.getegid())]
    user = pwd.getpwnam(USER)
    prefix = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    return [Owner("root", (), 0, 0), Owner("user", prefix, user.pw_uid, user.pw_gid)]


def missing(leaf: Leaf) -> str:
    """What this leaf would need and this machine has not; empty where all is there."""
    if leaf.by in ("sudo", "su") and os.geteuid() != 0:
        return "needs root, to let a user become another"
    if leaf.by and not shutil.which(leaf.by):
        return f"{leaf.by} is not here"
    return ""


def words(leaf: Leaf, owner: Owner, place: Ground, folder: Path, nonce: str) -> list[str]:
    """The command line of the payload."""
    program = [place.python, "-ISE", str(place.program), leaf.kind, str(folder / "made"), nonce]
    if leaf.by == "nohup":
        program = ["nohup", *program]
    elif leaf.by == "sudo":
        program = ["sudo", "-n", "-u", OTHER if owner.uid == 0 else "root", *program]
    elif leaf.by == "su":
        program = ["su", "-s", "/bin/sh", "-c", f"exec {shlex.join(program)}", OTHER]
        if owner.uid != 0:  # who is not root would be asked for a password
            program = ["sudo", "-n", *program]
    return ["/bin/sh", "-c", SHELL, str(folder / "never"), *program]


class Trial:
    """One job with one leaf."""

    def __init__(self, leaf: Leaf, owner: Owner, place: Ground) -> None:
        self.leaf = leaf
        self.owner = owner
        self.folder = place.new()
        nonce = f"leaf-{secrets.token_hex(8)}"
        self.register = Register(self.folder / "made", nonce)
        os.mkfifo(self.folder / "never")
        os.chown(self.folder / "never", owner.uid, owner.gid)
        self.words = words(leaf, owner, place, self.folder, nonce)
        spool = self.folder / "spool"
        spool.mkdir(mode=0o700)
        os.chown(spool, owner.uid, owner.gid)
        self.engine = Engine(spool, place.python, owner.prefix)
        self.outcome = Outcome()

    def clean_up(self) -> None:
        """No process and no file of the trial is left."""
        self.register.clean_up()
        self.engine.clean_up()
        shutil.rmtree(self.folder)

    def run(self, situation: Situation) -> None:
        """Let it happen and judge it: ``outcome``. Raises TooLateError where the leaf was not there in time."""
        job = self.engine.start(command(argv=self.words), grace=GRACE, time_limit=LIMIT if situation.way == "limit" else None)
        self._until_there()
        limit_at = _clock_of(self.engine.path(job)) + LIMIT if situation.way == "limit" else None
        if limit_at is not None and self.register.ready_at() >= limit_at:
            raise TooLateError
        if situation.supervisor != "alive":
            self.engine.kill(job, "supervisor", 9 if situation.supervisor == "dead" else 19)
        if situation.supervisor == "stopped":
            wait_for(lambda: state_of(job["job"]["supervisor_pid"]) == "T")
        if situation == Situation("limit", "dead"):
            if _now() >= t.cast(float, limit_at):
                raise TooLateError
            wait_for(lambda: _now() > t.cast(float, limit_at))
        began = limit_at if situation == Situation("limit", "alive") else _now()
        if situation.way == "limit":
            done = self.engine.status(job, hold=HOLD_SECONDS)
        else:
            done = self.engine.cancel(job, grace=GRACE)
        self.outcome.seconds = _now() - t.cast(float, began)
        self._judge(done, situation)

    def _until_there(self) -> None:
        """Wait until the leaf has got away, and learn who is there by then."""
        wait_for(self.register.ready, READY_SECONDS)
        who = t.cast(tuple[int, int], self.register.ready())
        if self.leaf.kind in ("stopped", "daemon"):
            wait_for(lambda: state_of(who[0]) == "T", READY_SECONDS)
        self.register.living()

    def _judge(self, done: Job, situation: Situation) -> None:
        left = self.register.left(self.leaf.forks)
        left |= {(pid, start) for pid in self.engine.processes() if (start := start_of(pid)) and pid != done["job"]["supervisor_pid"]}
        outcome, job = self.outcome, done["job"]
        outcome.made = len(self.register.known)
        listed = {one["pid"]: one["user"] for one in job["survivors"]}
        excused = self.leaf.hole and situation.supervisor == "dead"
        for pid, start in sorted(left):
            if excused and (pid, start) == self.register.ready() and pid not in listed:
                outcome.hole += 1
            elif self.leaf.forks or may_signal(self.owner.prefix, pid):
                outcome.killable += 1
                outcome.faults.append(f"{_name(pid)} may be signalled and survived")
            else:
                outcome.others += 1
                outcome.listed += pid in listed
                if listed.get(pid) != user_of(pid):
                    outcome.faults.append(f"{_name(pid)} survived and is listed as {listed.get(pid, 'nothing')}")
        ending = {pid for pid, _start in self.register.known} if self.leaf.by == "su" else set()  # su ends itself 2 s after its TERM
        if set(listed) - {pid for pid, _start in left} - ending:
            outcome.faults.append(f"listed in survivors, and gone or not of the job: {job['survivors']}")
        state = "timed_out" if situation.way == "limit" else "cancelled"
        if (job["state"], job["verified"], done["failed"]) != (state, not listed, situation.way == "limit" or bool(listed)):
            outcome.faults.append(
                f"ended {job['state']}, verified {job['verified']}, failed {done['failed']}, survivors {job['survivors']}"
            )
        wait_for(lambda: not alive(job["supervisor_pid"]))


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _clock_of(path: Path) -> float:
    """When the payload was started, in seconds after boot; the limit counts from there."""
    return float(json.loads((path / "started.json").read_text())["clock"])


def _name(pid: int) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        line = "?"
    return f"process {pid} of {user_of(pid)} ({line[:120]})"


def trial(leaf: Leaf, owner: Owner, situation: Situation, place: Ground) -> Outcome:
    """One trial; one whose leaf came too late for its limit is made anew. What goes wrong is among its faults."""
    for attempt in range(TOO_LATE):
        one = Trial(leaf, owner, place)
        one.outcome.anew = attempt
        try:
            one.run(situation)
        except TooLateError:
            continue
        except (AssertionError, OSError, LookupError) as exc:
            one.outcome.faults.append(f"the trial broke: {type(exc).__name__}: {exc}")
        finally:
            one.clean_up()
        return one.outcome
    return Outcome(anew=TOO_LATE, faults=[f"the leaf was too late for its limit of {LIMIT:g} s {TOO_LATE} times"])
