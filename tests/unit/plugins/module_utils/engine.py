# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives the engine as the direct way does: real programs for a real interpreter, real processes, a spool of the test's own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import typing as t
import zlib
from pathlib import Path

from ansible_collections.longhaul.jobs.plugins.plugin_utils import _program

NONCE = "0123456789abcdef" * 2
FRAME = re.compile(rb"\nLONGHAUL-REPLY " + NONCE.encode() + rb" (\d+)\n(\S+)\n")
Job = dict[str, t.Any]
MODULE = """
import json, sys, time
{0}
print(json.dumps({1!r}))
"""


def command(**given: t.Any) -> dict[str, t.Any]:
    """The payload of a command, with core's defaults."""
    payload: dict[str, t.Any] = {
        "kind": "command",
        "shell": "cmd" in given,
        "argv": None,
        "cmd": None,
        "executable": None,
        "chdir": None,
        "creates": None,
        "removes": None,
        "stdin": None,
        "stdin_add_newline": True,
        "strip_empty_ends": True,
        "expand_argument_vars": True,
    }
    return payload | given


def wait_for(condition: t.Callable[[], t.Any], seconds: float = 10.0) -> t.Any:
    """The first true value of ``condition``; fails after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process lives; a zombie is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def end_all(command_line: str) -> None:
    """End, by id, the processes of the test's own whose command line ends so: sudo has taken the mark off them."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if words.replace(b"\0", b" ").strip().endswith(command_line.encode()):
            os.kill(int(entry.name), signal.SIGKILL)


class Engine:
    """One spool and the interpreter that stands in for the target's."""

    def __init__(self, spool: Path, python: str = sys.executable, prefix: tuple[str, ...] = ()) -> None:
        self.spool = spool
        self.python = python
        self.prefix = prefix
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LONGHAUL"))}
        self.jids: list[str] = []
        self.known_marks: set[int] = set()

    def new_jid(self) -> str:
        self.jids.append(f"j{random.randrange(10**12):012d}.{len(self.jids) + 1}")
        return self.jids[-1]

    def request(self, verb: str, jids: t.Sequence[str], **given: t.Any) -> dict[str, t.Any]:
        base = {"schema": 1, "verb": verb, "async_dirs": [str(self.spool)], "jobs": [{"jid": jid} for jid in jids]}
        return base | {"options": {}, "attempt": 1, "ago": 0.0, "hold": 0.0, "check": False} | given

    def program(self, request: dict[str, t.Any], payload: bytes = b"") -> bytes:
        return _program.build(request["verb"], request, NONCE, payload)

    def call(self, request: dict[str, t.Any], payload: bytes = b"") -> dict[str, t.Any]:
        """The reply to a request."""
        return self.finish(self.launch(request, payload))

    def launch(self, request: dict[str, t.Any], payload: bytes = b"") -> subprocess.Popen[bytes]:
        """Send a request and do not wait for the reply."""
        words = [*self.prefix, self.python, "-ISE", "-"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment)
        assert process.stdin is not None
        process.stdin.write(self.program(request, payload))
        process.stdin.close()
        process.stdin = None
        return process

    def finish(self, process: subprocess.Popen[bytes]) -> dict[str, t.Any]:
        out, err = process.communicate(timeout=60)
        framed = FRAME.search(out)
        assert framed is not None, (process.returncode, out, err.decode())
        assert len(framed.group(2)) == int(framed.group(1))
        reply: dict[str, t.Any] = json.loads(zlib.decompress(base64.b64decode(framed.group(2))))
        self.marks()
        return reply

    def start_request(self, payload: dict[str, t.Any], jid: str | None = None, hold: float = 0.0, **options: t.Any) -> dict[str, t.Any]:
        defaults: dict[str, t.Any] = {
            "name": None,
            "labels": {},
            "module": "ansible.builtin.shell",
            "no_log": False,
            "time_limit": None,
            "grace": 1.0,
            "retain": 604800.0,
            "environment": {},
            "payload": payload,
            "work": hashlib.sha256(json.dumps(payload).encode()).hexdigest(),
            "if_running": "attach",
            "if_finished": "restart",
            "reuse_for": None,
        }
        again = {key: options.pop(key) for key in ("attempt", "ago") if key in options}
        return self.request("start", [jid or self.new_jid()], hold=hold, options=defaults | options, **again)

    def start(self, cmd: str | dict[str, t.Any], data: bytes = b"", **options: t.Any) -> Job:
        """Start a shell line, or a payload, and return its job result."""
        payload = command(cmd=cmd) if isinstance(cmd, str) else cmd
        reply = self.call(self.start_request(payload, **options), data)
        assert "error" not in reply, reply
        return t.cast(Job, reply["jobs"][0])

    def start_module(self, code: str, result: t.Any, **options: t.Any) -> Job:
        """Start a module of style new: ``code`` runs, then it prints ``result``."""
        payload = {"kind": "module", "style": "new", "words": [self.python]}
        return self.start(payload, MODULE.format(code, result).encode(), module="test.module", **options)

    def status(self, *jobs: Job | str, hold: float = 0.0, mode: str = "status", check: bool = False) -> Job:
        """The job result of the first of these."""
        jids = [job if isinstance(job, str) else job["ansible_job_id"] for job in jobs]
        reply = self.call(self.request("status", jids, hold=hold, check=check, options={"mode": mode}))
        assert "error" not in reply, reply
        return t.cast(Job, reply["jobs"][0])

    def cancel(self, job: Job | str, unanswered: bool = False, **options: t.Any) -> Job:
        jid = job if isinstance(job, str) else job["ansible_job_id"]
        options = {"signal": 15, "grace": 1.0, "reason": "a test", "by": "pytest"} | options
        reply = self.call(self.request("cancel", [jid], options=options) | {"jobs": [{"jid": jid, "unanswered": unanswered}]})
        assert "error" not in reply, reply
        return t.cast(Job, reply["jobs"][0])

    def kill(self, job: Job, who: str, number: int = signal.SIGKILL) -> None:
        """Signal the ``supervisor`` or the ``payload`` of a job; after SIGKILL wait until it is dead."""
        pid = job["job"][who + "_pid"]
        os.kill(pid, number)
        if number == signal.SIGKILL:
            wait_for(lambda: not alive(pid))

    def path(self, job: Job) -> Path:
        return self.spool / f"{job['ansible_job_id']}.d"

    def marks(self) -> set[int]:
        """The marks of all jobs that this spool has, or had, records of."""
        for record in self.spool.glob("*.d/job.json"):
            try:
                self.known_marks.add(json.loads(record.read_text())["mark"])
            except (ValueError, OSError, KeyError, TypeError):
                continue
        return self.known_marks

    def processes(self) -> list[int]:
        """Every living process that carries the mark of a job of this spool, supervisors too."""
        marks, found = self.marks(), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and alive(int(entry.name)):
                try:
                    limit = re.search(r"^Max file locks\s+(\d+)", (entry / "limits").read_text(), re.M)
                except OSError:
                    continue
                if limit and int(limit.group(1)) in marks:
                    found.append(int(entry.name))
        return found

    def clean_up(self) -> None:
        """End by id whatever the test's jobs have left; a test that meant to leave nothing is told."""
        for _sweep in range(50):
            left = self.processes()
            if not left:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)
        raise AssertionError(f"processes of the test's jobs live on: {left}")
