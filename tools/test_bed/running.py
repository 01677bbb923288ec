# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's life: on, off, restarted, frozen, and a way in from this machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from beds import Host
from inside import BARRED, BOOT
from machine import Failed, run, send, send_until_no_more, wait_for

CLEAN = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LANG=C.UTF-8"]


def daemon(verb: str, host: Host, log: Path) -> None:
    """Start a process of ours that serves the host, detached."""
    words = [sys.executable, "-B", str(Path(__file__).parent), verb, str(host.bed.folder), host.name]
    with open(log, "a") as stream:
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True, cwd="/")


def supervise(host: Host) -> None:
    """The parent of the host's pid 1, as long as the host is on; a reboot from inside starts it again."""
    with open(host.folder / "supervised", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        while _run_once(host) in (-signal.SIGHUP, 128 + signal.SIGHUP):
            new_boot(host)
        run("ip", "link", "set", host.link, "down", good=False)  # what is off answers nothing; a start waits for the lock


def _run_once(host: Host) -> int:
    """From pid 1's start to its end; the exit status of it."""
    words = ["nsenter", f"--net={host.net}", "unshare", "--fork", "--kill-child=SIGKILL", "--pid", "--mount", "--uts", "--ipc", "--time"]
    words += [f"--boottime=-{(host.folder / 'uptime').read_text()}", "/bin/bash", "-c", BOOT]
    with open(host.console, "a") as log:
        parent = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOST": host.name, "FOLDER": str(host.folder), "BARRED": BARRED},
        )
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        wait_for(lambda: parent.poll() is not None or children.read_text(), f"the start of {host.name}")
        if parent.poll() is None:
            (host.folder / "pid.new").write_text(children.read_text())
            os.replace(host.folder / "pid.new", host.folder / "pid")
        status = parent.wait()
        (host.folder / "pid").unlink(missing_ok=True)
        log.write(f"pid 1 has ended: {status}\n")
    return status


def new_boot(host: Host) -> None:
    """The next start is a boot: a new boot id, an uptime that begins at 0."""
    (host.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
    (host.folder / "uptime").write_text(Path("/proc/uptime").read_text().partition(".")[0])


def start(host: Host) -> None:
    """Start its pid 1, and let its link up."""
    if host.pid():
        return
    daemon("_supervise", host, host.console)
    run("ip", "link", "set", host.link, "up")


def wait_until_answers(host: Host) -> None:
    """Return when its sshd answers."""

    def answers() -> bool:
        try:
            with socket.create_connection((host.address, 22), 0.3) as connection:
                connection.settimeout(1)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    try:
        wait_for(answers, f"an answer of {host.name}'s sshd")
    except Failed as failed:
        said = host.console.read_text()[-1000:] if host.console.exists() else ""
        raise Failed(f"{failed} {' '.join(said.split())}".rstrip()) from None


def stop(host: Host) -> None:
    """End its pid 1, with all that it has; returns when its supervisor has gone too."""
    send(signal.SIGKILL, {host.pid()} - {0})
    with open(host.folder / "supervised", "w") as lock:
        wait_for(lambda: _locked(lock.fileno()), f"the end of {host.name}")


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def power_off(hosts: list[Host]) -> None:
    """As if the plug were pulled: silent, nothing is said goodbye."""
    for host in hosts:
        run("ip", "link", "set", host.link, "down")
        stop(host)


def boot(hosts: list[Host]) -> None:
    """Switch on what is off; returns when each sshd answers."""
    for host in hosts:
        if not host.pid():
            new_boot(host)
            start(host)
    for host in hosts:
        wait_until_answers(host)


def reboot(hosts: list[Host], off: float = 0.0) -> None:
    """Off, and on again after so many seconds."""
    power_off(hosts)
    time.sleep(off)
    boot(hosts)


def restart_container(hosts: list[Host]) -> None:
    """End the pid namespace only and make a new one: boot id and uptime stay."""
    for host in hosts:
        stop(host)
        start(host)
    for host in hosts:
        wait_until_answers(host)


def freeze(hosts: list[Host], name: str = "sshd") -> None:
    """Stop (SIGSTOP) all processes of that name: sshd and its sessions, "": everything."""
    for host in hosts:
        send_until_no_more(signal.SIGSTOP, _find(host, name))


def thaw(hosts: list[Host], name: str = "sshd") -> None:
    """Let them go on."""
    for host in hosts:
        send(signal.SIGCONT, host.processes(name))


def _find(host: Host, name: str) -> Callable[[], set[int]]:
    return lambda: host.processes(name)


def way_in(host: Host) -> list[str]:
    """The words that run a command inside the host, as root; Failed where it is off or would be this machine."""
    pid = host.pid()
    if not pid:
        raise Failed(f"{host.name} is off")
    for space in ("mnt", "net", "pid", "uts"):
        if os.path.samefile(f"/proc/{pid}/ns/{space}", f"/proc/self/ns/{space}"):
            raise Failed(f"{host.name} is not in a {space} namespace of its own yet")
    return [shutil.which("nsenter") or "nsenter", "--all", f"--target={pid}", "--", *CLEAN, "setpriv", BARRED, "--"]


def within(host: Host, *words: str) -> str:
    """What a command prints inside the host; raises Failed where it fails."""
    return run(*way_in(host), *words)
