# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts' disks: full, read-only, shared."""

from __future__ import annotations

import shlex
from pathlib import Path

from beds import Bed, Host
from inside import BIND
from machine import Failed
from running import within

_FILL = """
import errno, os, sys
path, what = sys.argv[1:]
disk = os.statvfs(path)
if disk.f_blocks * disk.f_frsize > 64 << 20:
    sys.exit(path + " is on a file system of more than 64 MiB: only small ones, such as /small, are filled")
ballast = os.path.join(path, ".ballast")
try:
    os.makedirs(ballast, exist_ok=True)
    if what == "blocks":
        with open(os.path.join(ballast, "blocks"), "ab", 0) as stream:
            while True:
                stream.write(bytes(disk.f_bsize))
    number = len(os.listdir(ballast))
    while True:
        number += 1
        open(os.path.join(ballast, str(number)), "xb").close()
except OSError as exc:
    disk = os.statvfs(path)
    if exc.errno != errno.ENOSPC or (disk.f_bfree if what == "blocks" else disk.f_ffree):
        raise
"""
# A mount of its own over the path: the one below, and so what others see through it, stays as it is.
_READ_ONLY = """
import os, subprocess, sys
path = os.path.realpath(sys.argv[1])
if path == "/" or not os.path.isdir(path):
    sys.exit(path + " is not a folder below /")
if not os.statvfs(path).f_flag & os.ST_RDONLY:
    subprocess.run(["mount", "--bind", path, path], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
"""
_READ_WRITE = """
import os, subprocess, sys
path = os.path.realpath(sys.argv[1])
if os.statvfs(path).f_flag & os.ST_RDONLY:
    subprocess.run(["umount", "--lazy", path], check=True)
"""


def fill(host: Host, path: str, what: str) -> None:
    """Take all free blocks or inodes of the small file system that the path is on."""
    within(host, "/usr/bin/python3", "-c", _FILL, path, what)


def empty(host: Host, path: str) -> None:
    """Give back what fill took."""
    within(host, "rm", "-rf", f"{path}/.ballast")


def read_only(host: Host, path: str) -> None:
    """Writing below that path, if opened from now on, fails with EROFS; other hosts and the machine see nothing of it."""
    within(host, "/usr/bin/python3", "-c", _READ_ONLY, path)


def read_write(host: Host, path: str) -> None:
    """Take that back."""
    within(host, "/usr/bin/python3", "-c", _READ_WRITE, path)


def share(bed: Bed, path: str, hosts: list[Host]) -> None:
    """Let hosts have the same folder at that path from now on, reboots included; at first with what the first of them has there."""
    if not Path(path).is_absolute() or "\n" in path or "\t" in path or path == "/":
        raise Failed(f"{path!r} is no path that can be shared")
    name = path.strip("/").replace("/", "-")
    new = not (bed.shared / name).exists()
    if new:
        (bed.shared / name).mkdir()
    for number, host in enumerate(hosts):
        shares = host.upper / "etc" / "longhaul-bed" / "shares"
        line = f"{name}\t{path}\n"
        if line in shares.read_text():
            continue
        here, there = shlex.quote(path), shlex.quote(f"/shared/{name}")
        if new and number == 0:
            look = f"chmod --reference={here} {there}; chown --reference={here} {there}"
            within(host, "/bin/bash", "-ec", f"mkdir -p {here}; cp -a {here}/. {there}; {look}")
        within(host, "/bin/bash", "-c", BIND, "bind", name, path)
        within(host, "/bin/bash", "-c", 'echo "$1" >>/etc/longhaul-bed/shares', "bind", line.rstrip("\n"))
