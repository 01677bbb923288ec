# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the test bed asks of the machine it is made on: privileges, programs, commands, processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

MARK = "LONGHAUL_TEST_BED"  # in the environment of every process that serves a bed: the bed's folder
# program: the package it comes with
_PROGRAMS = {
    **dict.fromkeys(("ip", "ss"), "iproute2"),
    "nft": "nftables",
    **dict.fromkeys(("mount", "umount"), "mount"),
    **dict.fromkeys(("nsenter", "setpriv", "unshare"), "util-linux"),
    **dict.fromkeys(("ssh", "ssh-keygen"), "openssh-client"),
    "sshd": "openssh-server",
    "su": "util-linux",
    "sudo": "sudo",
}
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_ADMIN": 21}


class Missing(Exception):
    """What this machine has not, in one sentence: no bed can be made on it."""


class Failed(Exception):
    """A command that should have worked, and what it said."""


def check() -> None:
    """Raise Missing where root, a capability or a program is missing. Programs are found in sbin folders too from now on."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*folders, "/usr/local/sbin", "/usr/sbin", "/sbin"])
    os.environ["LC_ALL"] = "C"
    os.umask(0o022)
    if os.geteuid():
        raise Missing("a test bed needs root")
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    absent = [name for name, bit in _CAPABILITIES.items() if not int(effective.split()[1], 16) >> bit & 1]
    if absent:
        raise Missing(f"a test bed needs {' and '.join(absent)}, which this root has not")
    programs = [f"{name} (package {package})" for name, package in _PROGRAMS.items() if not shutil.which(name)]
    programs += [path for path in ("/bin/bash", "/usr/bin/python3") if not os.access(path, os.X_OK)]
    if programs:
        raise Missing(f"a test bed needs what is not here: {', '.join(programs)}")


def run(*words: str | Path, given: str = "", good: bool = True) -> str:
    """Run a command, ``given`` on its standard input; what it printed. Raises Failed where it fails and ``good`` is asked for."""
    done = subprocess.run(
        [str(word) for word in words], input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if good and done.returncode:
        raise Failed(f"{' '.join(map(str, words))}: {' '.join(done.stdout.split()) or f'status {done.returncode}'}")
    return done.stdout


def must(*words: str | Path, given: str = "") -> None:
    """Run a command that fails only where the kernel cannot do what is asked: raises Missing then."""
    try:
        run(*words, given=given)
    except Failed as failed:
        raise Missing(f"this machine cannot hold a test bed: {failed}") from None


def wait_for(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Return as soon as the condition is true; raises Failed, naming ``what``, after so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {seconds:g} s")
        time.sleep(0.005)


def processes() -> Iterator[Path]:
    """The folder in /proc of every process."""
    return (Path("/proc", entry) for entry in os.listdir("/proc") if entry.isdigit())


def start_time(pid: int) -> str:
    """A process's start time in ticks; empty where there is none, or but a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to each that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def send_until_no_more(number: signal.Signals, find: Callable[[], set[int]]) -> None:
    """Send a signal to all that ``find`` finds, and to what they have started meanwhile."""
    done: set[int] = set()
    while more := find() - done:
        send(number, more)
        done |= more
