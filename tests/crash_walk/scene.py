# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where one point of the walk is tried: an engine whose programs carry the hook, one job, and readers that are held to the truth.

What is true is known from outside the engine: the hook's trail names every process of the job with its start time, and the payload
itself writes down that it runs and that it has come to its end.
"""

from __future__ import annotations

import base64
import contextlib
import json
import marshal
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
import zlib
from pathlib import Path

from ansible_collections.longhaul.jobs.plugins.module_utils import _boot, _prune
from ansible_collections.longhaul.jobs.plugins.module_utils._verbs import status
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import FRAME, Engine, Job, command, wait_for

HOOK = marshal.dumps(compile(Path(__file__).with_name("hook.py").read_text(), "hook", "exec"))  # for this very interpreter
ALIVE, ENDED, GONE = 1, 2, 3
RANKS = {"unknown": 0, "running": ALIVE, "orphaned": ALIVE}
MODULE = """
import json, os
with open({0!r}, "a") as stream:
    stream.write("%d\\n" % os.getpid())
with open({1!r}) as stream:
    stream.readline()
with open({2!r}, "w") as stream:
    stream.write("x")
print(json.dumps({{"changed": True, "answer": 42}}))
"""


class Core:
    """Processes that run core's own async_status; each may be used by one at a time."""

    def __init__(self, count: int) -> None:
        self.free: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        words = [sys.executable, str(Path(__file__).with_name("core_reader.py"))]
        self.all = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _reader in range(count)]
        for reader in self.all:
            self.free.put(reader)

    def ask(self, spool: Path, jid: str, mode: str = "status") -> Job:
        """What core's module answers, its exit code under ``rc of the module``."""
        reader = self.free.get()
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write(json.dumps({"jid": jid, "mode": mode, "_async_dir": str(spool)}) + "\n")
        reader.stdin.flush()
        answer = json.loads(reader.stdout.readline())
        self.free.put(reader)
        return {**json.loads(answer["out"]), "rc of the module": answer["rc"]}

    def end(self) -> None:
        for reader in self.all:
            reader.communicate()


def _alive(pid: int, start: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX" and int(fields[19]) == start


@contextlib.contextmanager
def a_scene(core: Core) -> t.Iterator[Scene]:
    """A scene of its own; all its processes are gone afterwards."""
    scene = Scene(Path(tempfile.mkdtemp(prefix="longhaul-walk-", dir="/var/tmp")), core)
    try:
        yield scene
    finally:
        scene.clean()


class Scene(Engine):
    """One job's spool."""

    def __init__(self, folder: Path, core: Core) -> None:
        super().__init__(folder / "spool")
        self.core = core
        self.folder = folder
        self.ran, self.done, self.gate = folder / "ran", folder / "done", folder / "gate"
        os.mkfifo(self.gate)
        self.gate_fd = os.open(self.gate, os.O_RDWR | os.O_CLOEXEC)
        self.jid = self.new_jid()
        self.role = "starter"  # of the programs to come
        self.strike: list[t.Any] | None = None  # for the next program; those after it are only watched
        self.trails: list[Path] = []
        self.rank = 0
        self.removing = False
        self.told_started = False  # in the answer to a start, which is given behind the exec
        self.end: tuple[t.Any, ...] | None = None
        self.story: list[str] = []

    # -- programs

    def program(self, request: dict[str, t.Any], payload: bytes = b"") -> bytes:
        if request["verb"] != "start" and self.role == "starter":
            return super().program(request, payload)
        self.trails.append(self.folder / f"trail.{len(self.trails)}")
        given = (self.role, str(self.spool), self.jid, str(self.trails[-1]), self.strike)
        self.strike = None
        before = (
            f"import marshal\nhook = {{'__name__': 'crash_hook'}}\nexec(marshal.loads({HOOK!r}), hook)\nhook['Hook']{given!r}.switch_on()\n"
        )
        return before.encode() + super().program(request, payload)

    def run(self, request: dict[str, t.Any], payload: bytes = b"") -> dict[str, t.Any] | None:
        """The reply, or None where none came or it came in part: a lost link."""
        return self.hear(self.launch(request, payload))

    def hear(self, process: subprocess.Popen[bytes]) -> dict[str, t.Any] | None:
        out, err = process.communicate(timeout=60)
        framed = FRAME.search(out)
        whole = framed is not None and len(framed.group(2)) == int(framed.group(1))
        self.story.append(f"a program ended with {process.returncode}, {'a reply' if whole else 'no reply'}{err.decode()[-2000:]}")
        if framed is None or not whole:
            assert process.returncode == -signal.SIGKILL, (process.returncode, out, err)
            return None
        reply: dict[str, t.Any] = json.loads(zlib.decompress(base64.b64decode(framed.group(2))))
        self.marks()
        return reply

    # -- what is true

    def notes(self, kind: str, trails: t.Sequence[Path] | None = None) -> list[list[str]]:
        """The notes of that kind in the trails, word by word."""
        found = []
        for trail in self.trails if trails is None else trails:
            with contextlib.suppress(FileNotFoundError):
                found += [line.split("\t")[1:] for line in trail.read_text().splitlines() if line.startswith(kind + "\t")]
        return found

    def living(self, *roles: str) -> set[tuple[str, int]]:
        """(role, pid) of the living processes that the starts' programs have forked."""
        wanted = roles or ("middle", "supervisor", "payload", "feeder")
        return {(role, int(pid)) for role, pid, start in self.notes("born") if role in wanted and _alive(int(pid), int(start))}

    def runs(self) -> list[int]:
        """The pids of the payloads that have run."""
        return [int(line) for line in self.ran.read_text().split()] if self.ran.exists() else []

    def payloads(self) -> set[int]:
        """The pids of those that run now."""
        return {pid for _role, pid in self.living("payload")} & set(self.runs())

    def release(self) -> None:
        """Let the payload come to its end."""
        os.write(self.gate_fd, b"\n")

    # -- readers

    def look(self, check: bool = False) -> Job:
        """Ask our status, and hold the answer against what is true and what was answered before."""
        self.files()  # also before: a look may mend what core's would have met
        was = self.living("supervisor", "payload")
        request = self.request("status", [self.jid], check=check, options={"mode": "status"})
        reply = _boot.answer(status.run, request)
        assert "error" not in reply, reply
        self.judge(reply["jobs"][0], was, written=not check)
        return t.cast(Job, reply["jobs"][0])

    def judge(self, job: Job, was: set[tuple[str, int]], written: bool = True) -> None:
        state = job["job"]["state"]
        said = f"{state} {job['job']['cause']}"
        if not self.story or self.story[-1] != said:
            self.story.append(said)
        now = was | self.living("supervisor", "payload")
        rank = RANKS.get(state, ENDED)
        if state == "running":
            assert now, "said to run, but nothing of it lives"
        if state == "orphaned":
            assert any(role == "payload" for role, _pid in now), "said to be orphaned, but no payload lives"
        if rank != ALIVE:
            assert not self.payloads(), f"said to be {said}, but its payload runs"
        if self.rank == GONE or (self.removing and rank == 0):
            assert rank == 0, "removed, but there again"
            self.rank = GONE
        assert rank >= self.rank or self.rank == GONE, f"said to be {said} after it was said to be {self.story}"
        assert job["finished"] is (rank != ALIVE), "finished is not what the state says"
        if rank == ENDED:
            assert job["started"] or not self.told_started, "said to have started, and then never to have"
            end = (state, job["job"]["cause"], job.get("rc"), job.get("stdout"), job["started"])
            assert self.end in (None, end), f"two ends: {self.end}, then {end}"
            self.end = end
            self.rank = max(self.rank, ENDED) if written else self.rank
        elif self.rank != GONE:
            self.rank = max(self.rank, rank)
        self.files()

    def ask_core(self) -> Job:
        """Ask core's async_status, and hold its answer against what is true."""
        before, known = self.results.exists(), self.rank
        answer = self.core.ask(self.spool, self.jid)
        if answer.get("msg") == "could not find job":
            assert not (before and self.results.exists()), "core finds no job though its file was there all the time"
            return answer
        assert "Could not parse" not in str(answer.get("msg")), answer
        if answer["finished"]:
            assert not self.payloads(), "core says finished, but the payload runs"
        else:
            assert known != ENDED or not before, "core says running of a job whose end was told, and written"
        assert answer["started"] in (True, False)
        return answer

    @property
    def results(self) -> Path:
        return self.spool / self.jid

    @property
    def directory(self) -> Path:
        return self.spool / f"{self.jid}.d"

    def files(self) -> None:
        """Nothing half stands under a final name."""
        for path in (self.results, self.directory / "job.json", self.directory / "started.json", self.directory / "removed"):
            with contextlib.suppress(FileNotFoundError):
                text = path.read_text()
                assert isinstance(json.loads(text), dict), f"{path.name} holds {text!r}"

    def snapshot(self) -> dict[Path, tuple[int, ...]]:
        """All in the async dir as it is now."""
        return {path: (found.st_ino, found.st_mtime_ns, found.st_size) for path in self.spool.rglob("*") for found in [path.lstat()]}

    def both(self, check: bool = True) -> Job:
        """What both readers say, twice; in check mode first, which writes nothing."""
        if check:
            before = self.snapshot()
            self.look(check=True)
            assert self.snapshot() == before, "a look in check mode has written"
        first = self.look()
        self.ask_core()
        second = self.look()
        if first["finished"] and second["finished"] and first["job"]["state"] != "unknown":
            if self.results.exists() and json.loads(self.results.read_text())["finished"]:
                assert json.loads(self.results.read_text()) == second, "the answer is not what is written"
        return second

    def follow(self, until: t.Callable[[Job], t.Any], seconds: float = 15.0) -> Job:
        """Look on and on until what is said is as wanted."""
        deadline = time.monotonic() + seconds
        while True:
            job = self.look()
            if until(job):
                return job
            assert time.monotonic() < deadline, f"waited in vain; {self.story}, living {self.living()}"
            time.sleep(0.005)

    def sweep(self) -> None:
        """Make what is left old, and sweep as any start does."""
        for path in [self.spool, *self.spool.rglob("*")]:
            os.utime(path, (1.0, 1.0), follow_symlinks=False)
        _prune.sweep(str(self.spool), time.time())

    def left(self) -> list[str]:
        """What is in the async dir, without what differs from run to run, and without names and key, which stay."""
        names = sorted(str(path.relative_to(self.spool)).replace(self.jid, "JID") for path in self.spool.rglob("*"))
        names = [name for name in names if name != ".key" and name.partition("/")[0] != "names"]
        return [".new" if name.startswith(".new-") else ".trash" if name.startswith(".trash-") else name for name in names]

    # -- the job

    def command(self, stubborn: bool = False) -> dict[str, t.Any]:
        """The payload that all can be seen of: it runs until it is released; ``stubborn``: TERM does not end it."""
        trap = "trap '' TERM; " if stubborn else ""
        return command(cmd=f"{trap}echo $$ >> {self.ran}; echo out; read x < {self.gate}; echo done; echo x > {self.done}")

    def module(self) -> tuple[dict[str, t.Any], bytes]:
        payload = {"kind": "module", "style": "new", "words": [self.python]}
        return payload, MODULE.format(str(self.ran), str(self.gate), str(self.done)).encode()

    def clean(self) -> None:
        """End by id what the trails name; nothing may be left by then but what a failure has left."""
        for _role, pid in self.living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.living())
        self.clean_up()
        os.close(self.gate_fd)
        shutil.rmtree(self.folder)
