# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bed is made, and taken down whole, whatever state it is in."""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import links
import running
from beds import BEDS, Bed, Host, all_beds
from disks import share
from inside import PASSWORDS, SMALL, furnish
from machine import MARK, Failed, Missing, must, processes, run, send_until_no_more, start_time, wait_for

MOST = 60  # hosts in a bed
_PROBE = (
    "cd $0; mkdir upper work root; mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root; mount -t proc proc root/proc"
)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Inside, no other process of this machine claims a bed or removes one."""
    while True:
        BEDS.mkdir(exist_ok=True)
        handle = os.open(BEDS, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if BEDS.exists() and os.path.samestat(os.fstat(handle), BEDS.stat()):
            break
        os.close(handle)  # it was removed while we waited for it
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # there are beds
            BEDS.rmdir()
        os.close(handle)


def claim() -> Bed:
    """A new bed's folder, owned by this process; what is left of beds that nobody keeps is removed before."""
    with _alone():
        for bed in all_beds():
            if not bed.is_owned():
                sys.stderr.write(f"removing {bed.folder}, which nobody keeps any more\n")
                _remove(bed)
        taken = {bed.number for bed in all_beds()}
        routes = run("ip", "-4", "route", "show", "root", "10.231.0.0/16")
        for number in range(1, 255):
            if number not in taken and f"10.231.{number}." not in routes:
                bed = Bed(BEDS / f"{number}-{os.urandom(3).hex()}")
                bed.folder.mkdir(0o700)
                bed.set_owner(os.getpid(), made=False)
                os.environ[MARK] = str(bed.folder)
                return bed
    raise Missing("this machine has no number left for a test bed: all of 10.231.1.0/24 to 10.231.254.0/24 are in use")


def fill_bed(bed: Bed, count: int, shares: list[str], owner: int) -> None:
    """Make the bed's hosts; all of them answer when this returns. A bed that fails is removed."""
    try:
        _make(bed, count)
        hosts = bed.hosts
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for step in (links.make_link, furnish, running.new_boot, running.start, running.wait_until_answers):
                list(pool.map(step, hosts))
        for path in shares:
            share(bed, path, hosts)
        bed.set_owner(owner, made=True)
    except BaseException:
        remove(bed)
        raise


def _make(bed: Bed, count: int) -> None:
    """All that the hosts have in common."""
    bed.disk.mkdir()
    must("mount", "-t", "tmpfs", "-o", "mode=755", "longhaul-bed", bed.disk)
    (bed.disk / "probe").mkdir()
    spaces = ("--mount", "--pid", "--uts", "--ipc", "--net", "--time", "--fork")
    must("unshare", *spaces, "sh", "-ec", _PROBE, bed.disk / "probe")
    links.make_bridge(bed)
    for name in ("host_key", "key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "longhaul test bed", "-f", bed.folder / name)
    (bed.folder / "cp").mkdir(0o700)
    bed.shared.mkdir()
    (bed.folder / "hosts").write_text("\n".join(f"h{number}" for number in range(1, count + 1)))
    for host in bed.hosts:
        (host.folder / "small").mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", f"mode=1777,{SMALL}", "small", host.folder / "small")
    _describe(bed)


def _describe(bed: Bed) -> None:
    """What ssh and Ansible are told of it."""
    kind, public = (bed.folder / "host_key.pub").read_text().split()[:2]
    known = bed.folder / "known_hosts"
    known.write_text("".join(f"{host.name},{host.address} {kind} {public}\n" for host in bed.hosts))
    options = {
        "UserKnownHostsFile": known,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
    }
    names = "".join(f"Host {host.name}\n  HostName {host.address}\n" for host in bed.hosts)
    general = {"User": "root", "IdentityFile": bed.key, "BatchMode": "yes", **options}
    lines = [f"{names}Host *", *(f"  {name} {value}" for name, value in general.items())]
    (bed.folder / "ssh_config").write_text("\n".join(lines) + "\n")
    variables = {
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": bed.key,
        "ansible_ssh_common_args": " ".join(["-F none", *(f"-o {name}={value}" for name, value in options.items())]),
        "ansible_control_path_dir": bed.folder / "cp",
        **{f"bed_password_{user}": password for user, password in PASSWORDS.items()},
    }
    lines = ["[bed]", *(f"{host.name} ansible_host={host.address}" for host in bed.hosts), "", "[bed:vars]"]
    lines += [f"{name}={value}" for name, value in variables.items()]
    (bed.folder / "inventory.ini").write_text("\n".join(lines) + "\n")


def remove(bed: Bed) -> None:
    """Remove all that was made for it. Nothing, where the bed has gone."""
    with _alone():
        _remove(bed)


def _remove(bed: Bed) -> None:
    """The folder goes last: as long as there is something left, there is a name for it."""
    if not bed.folder.exists():
        return
    owner = bed.owner()
    maker = int(owner["pid"]) if owner and not owner["made"] else 0
    if maker not in (0, os.getpid()) and start_time(maker) == owner["start"]:
        os.kill(maker, signal.SIGKILL)
    _end_processes(bed)
    links.remove_bridge(bed)
    with contextlib.suppress(Failed):
        wait_for(lambda: not _unmount(bed), "the end of its mounts", 2)
    _unmount(bed, "--lazy")  # somebody's shell is in it
    if bed.links() or _mounts(bed):
        raise Failed(f"{bed.folder} could not be removed whole: {', '.join([*bed.links(), *_mounts(bed)])}")
    shutil.rmtree(bed.folder)


def _unmount(bed: Bed, *options: str) -> list[str]:
    """Unmount what can be; what is mounted still."""
    if _mounts(bed):
        run("umount", "--recursive", *options, bed.disk, good=False)
    return _mounts(bed)


def _mounts(bed: Bed) -> list[str]:
    paths = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [path for path in paths if path.startswith(f"{bed.folder}/")]


def _end_processes(bed: Bed) -> None:
    """End, by id, all that serve it, all that are in its hosts, and ssh's master connections to them; twice, for one just being started."""
    for _pass in range(2):
        send_until_no_more(signal.SIGKILL, lambda: _serving(bed))
        wait_for(lambda: not any(map(start_time, _serving(bed))), "the end of its processes")


def _serving(bed: Bed) -> set[int]:
    spared = _self_and_above()
    mark = f"{MARK}={bed.folder}".encode()
    master = f"ssh: {bed.folder}/cp/".encode()
    spaces = {(status.st_dev, status.st_ino) for status in map(os.stat, bed.disk.glob("*/net"))}
    found = set()
    for one in processes():
        if int(one.name) in spared:
            continue
        try:
            status = (one / "ns" / "net").stat()
            inside = (status.st_dev, status.st_ino) in spaces
            if inside or mark in (one / "environ").read_bytes().split(b"\0") or (one / "cmdline").read_bytes().startswith(master):
                found.add(int(one.name))
        except OSError:
            continue
    return found


def _self_and_above() -> set[int]:
    """This process and its ancestors."""
    found: set[int] = set()
    pid = os.getpid()
    while pid:
        found.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def describe(host: Host) -> str:
    """One line of a host."""
    pid = host.pid()
    state = f"on, pid {pid}, {len(host.processes())} processes" if pid else "off"
    boot_id = (host.folder / "boot_id").read_text().strip() if (host.folder / "boot_id").exists() else "-"
    return f"{host.name} {host.address} {state}, boot id {boot_id}"


def execute(host: Host, words: list[str]) -> int:
    """Run a command inside the host, with our standard streams; its exit status."""
    return subprocess.run([*running.way_in(host), *words], check=False).returncode
