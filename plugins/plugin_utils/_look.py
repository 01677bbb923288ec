# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deadline of a look: what it started on this machine is ended when its time is up.

Core's ssh has no deadline of its own once the master connection is up: over a silent link a call hangs for ever.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import threading
import time
import typing as t
from pathlib import Path

_AGAIN = 0.1  # seconds between two looks for processes once the time is up
_PATIENCE = 0.5  # seconds that the block has to be left after its processes were ended
_TICKS = os.sysconf("SC_CLK_TCK")


class _Process(t.NamedTuple):
    parent: int
    group: int
    start: float  # seconds since boot


class _TimeUp(BaseException):
    """Takes a block off its wait; no Exception, since core repeats a command for any of those."""


class Deadline:
    """A context manager that SIGKILLs the processes started within it once `seconds` have passed, and then ends the block.

    Ended are the direct children of this process that were not there on entry, with those of their descendants that
    are still in the same process group: what has detached itself (setsid), like a job's supervisor or ssh's master,
    is left alone. It is SIGKILL because core repeats a command whose ssh ended by SIGTERM (rc 255) but not one with
    rc -9, and it goes on until the block is left, in case core does start another. SIGALRM is not used: it belongs to
    core's `timeout:`, whose exception ends them too. A connection that works without a process of its own cannot be ended.

    A killed ssh client has left its pipes with the master, and core waits for their end (2.21: plugins/connection/ssh.py,
    `_bare_run`; up to twice the connection's own timeout). So half a second later the block is left by an exception of ours,
    raised from a handler of SIGURG, as core's `timeout:` does with SIGALRM; it does not leave the context manager. It needs
    the main thread, where core's workers run tasks.

    `passed` is true once a process has been ended.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._seconds = seconds
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._interruptible = threading.current_thread() is threading.main_thread()
        self._before: t.Any = None

    def __enter__(self) -> Deadline:
        self._entered = _since_boot()
        if self._interruptible:
            self._before = signal.signal(signal.SIGURG, self._interrupt)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> bool:
        try:
            self._leave(kind)
        except _TimeUp:  # it came a moment too late to end the block
            self._leave(kind)
        return kind is _TimeUp

    def _leave(self, kind: type[BaseException] | None) -> None:
        self._left.set()
        self._thread.join()  # the thread ends nothing from here on, so no pid can be a reused one
        if self._interruptible:
            signal.signal(signal.SIGURG, self._before)
        if kind is not None:
            self._end()

    def _interrupt(self, number: int, frame: object) -> None:
        if not self._left.is_set():
            raise _TimeUp

    def _watch(self) -> None:
        wait, ended = self._seconds, 0.0
        while not self._left.wait(wait):
            self._end()
            wait = _AGAIN
            ended = ended or (time.monotonic() if self.passed else 0.0)
            if self._interruptible and ended and time.monotonic() > ended + _PATIENCE:
                signal.pthread_kill(t.cast(int, threading.main_thread().ident), signal.SIGURG)
                ended = time.monotonic()

    def _end(self) -> None:
        for pid in self._started():
            try:
                os.kill(pid, signal.SIGKILL)
                self.passed = True
            except OSError:
                continue  # it has just ended, or is another user's since sudo

    def _started(self) -> list[int]:
        now = _processes()
        own = os.getpid()
        found = [pid for pid, seen in now.items() if seen.parent == own and seen.start >= self._entered]
        for pid in found:  # grows while it is walked
            found += [child for child, seen in now.items() if seen.parent == pid and seen.group == now[pid].group]
        return found


def _since_boot() -> float:
    """Seconds since boot, cut to the ticks that /proc counts a process's start in; 0 where there is no such clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else math.floor(time.clock_gettime(clock) * _TICKS) / _TICKS


def _processes() -> dict[int, _Process]:
    """The living processes of this machine by pid."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[0] not in (b"Z", b"X"):
            found[int(stat.parent.name)] = _Process(int(fields[1]), int(fields[2]), int(fields[19]) / _TICKS)
    return found or _processes_without_proc()


def _processes_without_proc() -> dict[int, _Process]:
    """The same from ps (macOS), where every process counts as a new one."""
    words = ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "pgid=", "-o", "stat="]
    found = {}
    for line in subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout.splitlines():
        pid, parent, group, state = line.split()
        if not state.startswith("Z"):
            found[int(pid)] = _Process(int(parent), int(group), math.inf)
    return found
