# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding what lives of a trial, and ending it: by other means than the engine's own, which is what is tested."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
import typing as t
from pathlib import Path

Who = tuple[int, int]  # pid, start time in clock ticks after boot
FORKING_SECONDS = 0.1  # in which what forks on, a hop a millisecond, has entered itself into the register again
CLEANING_SECONDS = 20.0


def start_of(pid: int) -> int | None:
    """Start time of a living process; None where it is gone. A zombie is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def state_of(pid: int) -> str | None:
    """The state's letter of a process, such as ``T``."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def user_of(pid: int) -> str | None:
    """Login name of a process's owner."""
    try:
        return pwd.getpwuid(os.stat(f"/proc/{pid}").st_uid).pw_name
    except (OSError, KeyError):
        return None


class Register:
    """All the processes of one trial: those that entered themselves, and those whose command line has the trial's nonce."""

    def __init__(self, folder: Path, nonce: str) -> None:
        self.folder = folder
        self.nonce = nonce.encode()
        self.known: set[Who] = set()
        folder.mkdir()
        folder.chmod(0o777)

    def entries(self) -> set[Who]:
        """All that have entered themselves so far."""
        parts = [name.split(".") for name in os.listdir(self.folder)]
        return {(int(pid), int(start)) for pid, start, _uid in (part for part in parts if len(part) == 3)}

    def ready(self) -> Who | None:
        """The process that stays, once it is there."""
        try:
            pid, start = (self.folder / "ready").read_text().split()
        except OSError:
            return None
        return int(pid), int(start)

    def ready_at(self) -> float:
        """When it was there, in seconds after the machine's boot."""
        age = time.time() - (self.folder / "ready").stat().st_mtime
        return time.clock_gettime(time.CLOCK_BOOTTIME) - age

    def living(self) -> set[Who]:
        """All of them that live."""
        self.known |= self.entries()
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    named = self.nonce in Path(f"/proc/{name}/cmdline").read_bytes()
                except OSError:
                    continue
                start = start_of(int(name)) if named else None
                if start is not None:
                    self.known.add((int(name), start))
        return {who for who in self.known if start_of(who[0]) == who[1]}

    def left(self, forks: bool) -> set[Who]:
        """What lives on. No look finds for sure what forks on, so it is given the time to enter itself once more."""
        if not forks:
            return self.living()
        before = self.entries()
        time.sleep(FORKING_SECONDS)
        grown = self.entries() - before
        return self.living() or set(sorted(grown, key=lambda who: who[1])[-1:])

    def clean_up(self) -> None:
        """End all of them, by id. Raises AssertionError where that does not help."""
        (self.folder / "over").touch()
        until, clean = time.monotonic() + CLEANING_SECONDS, 0
        while clean < 2:
            found = self.living()
            clean = 0 if found else clean + 1
            for pid, start in found:
                if start_of(pid) == start:
                    end(pid)
            assert time.monotonic() < until, f"processes of a trial live on: {found}"
            time.sleep(0.005)


def end(pid: int) -> None:
    """KILL one process."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def may_signal(prefix: t.Sequence[str], pid: int) -> bool:
    """Whether the user whom ``prefix`` makes may signal a process."""
    words = [*prefix, "/bin/sh", "-c", 'kill -0 "$0"', str(pid)]
    return subprocess.run(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
