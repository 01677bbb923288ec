# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of the kill matrix: ``leaves.py KIND FOLDER NONCE`` gets away from what started it as KIND says, and stays.

Every process writes ``<pid>.<start time>.<uid>`` into FOLDER, and the one that stays names itself in ``ready``. NONCE is for the
command line, which fork and exec keep here. What forks on ends itself once FOLDER/over is there, or FOLDER is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import time

STAYS_SECONDS = 900  # should the matrix itself be killed
WATCH_SECONDS = 0.002
HOP_SECONDS = 0.001

KIND, FOLDER, NONCE = sys.argv[1:4] if len(sys.argv) > 3 else ("", "", "")


def start_of(pid: int) -> str:
    """Start time of a process, in clock ticks after boot."""
    with open(f"/proc/{pid}/stat") as stream:
        return stream.read().rpartition(")")[2].split()[19]


def enter(pid: int) -> None:
    """Enter a living process into the register."""
    owner = os.stat(f"/proc/{pid}").st_uid
    with open(f"{FOLDER}/{pid}.{start_of(pid)}.{owner}", "w"):
        pass


def enter_parent() -> None:
    """Enter the parent, if it is of the job: what has forked itself away has another's."""
    try:
        with open(f"/proc/{os.getppid()}/cmdline", "rb") as stream:
            of_the_job = NONCE.encode() in stream.read()
        if of_the_job:
            enter(os.getppid())
    except OSError:
        pass  # it is gone


def ready() -> None:
    """Say that this process is the one that stays, of those that fork on the first."""
    if os.path.exists(f"{FOLDER}/ready"):
        return
    name = f"{FOLDER}/ready.{os.getpid()}"
    with open(name, "w") as stream:
        stream.write(f"{os.getpid()} {start_of(os.getpid())}")
    os.rename(name, f"{FOLDER}/ready")


def over() -> bool:
    """Whether the trial is over, so that what forks on may end."""
    return os.path.exists(f"{FOLDER}/over") or not os.path.isdir(FOLDER)


def stay() -> None:
    """Be there, and do nothing."""
    until = time.monotonic() + STAYS_SECONDS
    while time.monotonic() < until:
        time.sleep(5)
    os._exit(0)


def child() -> None:
    """Go on as a child whose parent is gone."""
    if os.fork():
        os._exit(0)
    enter(os.getpid())


def without_descriptors() -> None:
    """Close every descriptor, those of the output too."""
    os.closerange(0, 256)


def without_environment(kind: str) -> None:
    """Go on as another kind, with nothing in the environment."""
    os.execve(sys.executable, [sys.executable, "-ISE", os.path.abspath(__file__), kind, FOLDER, NONCE], {})


def daemon() -> None:
    """All of it at once; stopping is the last step, behind the exec."""
    child()
    os.setsid()
    child()
    os.setpgid(0, 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    without_descriptors()
    without_environment("stopped")


def pair() -> None:
    """Two processes, each in a session of its own, of which each makes the other anew."""
    while not over():
        mother = os.getpid()
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            continue
        enter(os.getpid())
        ready()
        os.setsid()
        while os.getppid() == mother:
            if over():
                os._exit(0)
            time.sleep(WATCH_SECONDS)
    os._exit(0)


def chain() -> None:
    """Fork, leave the session and exit, again and again: nobody who looks sees the one that lives now."""
    while not over():
        child()
        os.setsid()
        ready()
        time.sleep(HOP_SECONDS)
    os._exit(0)


def leave(kind: str) -> None:
    """Get away as ``kind`` says."""
    if kind == "setsid":
        os.setsid()
    elif kind == "double":
        child()
    elif kind == "group":
        os.setpgid(0, 0)
    elif kind == "closed":
        without_descriptors()
    elif kind == "cleared":
        without_environment("plain")
    elif kind == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif kind == "daemon":
        daemon()
    elif kind == "pair":
        pair()
    elif kind == "chain":
        chain()
    enter(os.getpid())
    ready()
    if kind == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    stay()


if __name__ == "__main__":
    enter_parent()
    enter(os.getpid())
    leave(KIND)
