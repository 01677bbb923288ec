# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed itself: each verb does what it says, seen from outside."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import socket
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.support import Stage
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import wait_for

COUNTER = (
    "setsid -f sh -c 'number=0; while :; do number=$((number + 1)); echo $number >{path}; sleep 0.02; done' >/dev/null 2>&1 </dev/null"
)
BOOT_ID = ("cat", "/proc/sys/kernel/random/boot_id")


class Session:
    """An open ssh session that says again what it is told."""

    def __init__(self, bed: Bed, host: str) -> None:
        self.process = subprocess.Popen(
            bed.ssh(host, "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        self.tell("begin")
        assert self.hear(10) == "begin\n"

    def tell(self, line: str) -> None:
        """Send a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")

    def hear(self, seconds: float) -> str:
        """The line that comes back; empty where none does within so many seconds, or the session has ended."""
        assert self.process.stdout is not None
        ready, _write, _except = select.select([self.process.stdout], [], [], seconds)
        return self.process.stdout.readline() if ready else ""


@contextlib.contextmanager
def session(bed: Bed, host: str) -> t.Iterator[Session]:
    """A session that is gone afterwards."""
    one = Session(bed, host)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.communicate()


def greeting(bed: Bed, host: str, seconds: float = 0.7) -> bytes | None:
    """What its sshd says first; None where it says nothing. Raises what connect does: ConnectionRefusedError, TimeoutError."""
    with socket.create_connection((bed.address(host), 22), seconds) as connection:
        try:
            return connection.recv(4)
        except TimeoutError:
            return None


def counter(bed: Bed, host: str) -> t.Callable[[], int]:
    """A job on the host that counts; how far it is, read without its sshd."""
    path = f"/tmp/count-{time.monotonic_ns()}"
    bed.say(host, COUNTER.format(path=path))

    def read() -> int:
        try:
            return int(bed.execute(host, "cat", path) or 0)
        except AssertionError:
            return 0

    wait_for(read)
    return read


def failure(bed: Bed, host: str, command: str, user: str = "plain") -> str:
    """The words of the error that a command over ssh fails with; empty where it works."""
    done = subprocess.run(bed.ssh(host, command, user=user), capture_output=True, text=True, check=False, timeout=30)
    return done.stderr.strip().rpartition(": ")[2] if done.returncode else ""


def test_each_host_is_a_machine_of_its_own(bed: Bed) -> None:
    """Identity, processes, network and files are its own; the one kernel's settings and clock are out of its reach."""
    asked = "cat /proc/sys/kernel/random/boot_id /etc/machine-id; hostname; readlink /proc/self/ns/pid; "
    asked += "cut -d. -f1 /proc/uptime; ls -d /proc/[0-9]* | wc -l"
    answers = [bed.say(host, asked).split() for host in bed.hosts]
    own = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    for field in range(4):
        assert len({answer[field] for answer in [*answers, own]}) == len(bed.hosts) + 1, answers
    assert [answer[2] for answer in answers] == bed.hosts
    assert all(int(answer[4]) < 100 and int(answer[5]) < 20 for answer in answers)
    assert "default" not in bed.say("h1", "ip", "route")
    assert failure(bed, "h1", "echo 1 >/proc/sys/vm/swappiness", "root") == os.strerror(errno.EROFS)
    assert failure(bed, "h1", "date -s @0", "root") == os.strerror(errno.EPERM)
    bed.say("h1", "touch", "/var/tmp/of-the-bed")
    assert "of-the-bed" not in bed.say("h2", "ls", "/var/tmp")
    assert not Path("/var/tmp/of-the-bed").exists()


def test_refuse(bed: Bed) -> None:
    """Refused at once, an idle session reset; the host's jobs go on, the other host answers."""
    count = counter(bed, "h1")
    with session(bed, "h1") as one, socket.create_connection((bed.address("h1"), 22), 5) as connection:
        assert connection.recv(100).startswith(b"SSH-")
        bed.refuse("h1")
        with pytest.raises(ConnectionRefusedError):
            greeting(bed, "h1")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert one.process.wait(5) == 255
    before = count()
    wait_for(lambda: count() > before)
    assert greeting(bed, "h2") == b"SSH-"
    bed.refuse("h1")
    bed.accept("h1")
    assert greeting(bed, "h1") == b"SSH-"
    bed.accept("h1")


def test_drop(bed: Bed) -> None:
    """Silence, both ways; an open session outlives it."""
    with session(bed, "h1") as one:
        bed.drop("h1")
        with pytest.raises(TimeoutError):
            greeting(bed, "h1")
        one.tell("into the void")
        assert one.hear(0.5) == ""
        assert greeting(bed, "h2") == b"SSH-"
        bed.drop("h1")
        bed.undrop("h1")
        bed.undrop("h1")
        assert one.hear(20) == "into the void\n"
    assert greeting(bed, "h1") == b"SSH-"


def test_freeze(bed: Bed) -> None:
    """sshd and its sessions stand still, a job's process does not."""
    count = counter(bed, "h1")
    with session(bed, "h1") as one:
        bed.freeze("h1")
        one.tell("hello")
        assert one.hear(0.5) == ""
        assert greeting(bed, "h1") is None  # the kernel takes the connection, nobody speaks
        before = count()
        wait_for(lambda: count() > before)
        bed.thaw("h1")
        assert one.hear(10) == "hello\n"
    assert greeting(bed, "h1", 10) == b"SSH-"


def test_freeze_host(bed: Bed) -> None:
    """Everything stands still, and goes on."""
    count = counter(bed, "h1")
    bed.freeze_host("h1")
    before = count()
    assert greeting(bed, "h1", 0.3) is None
    assert count() == before
    bed.thaw_host("h1")
    wait_for(lambda: count() > before)


def test_delay(bed: Bed) -> None:
    """A round trip takes twice the delay; all is lost with a loss of a hundred per cent; sessions outlive the change."""

    def connecting() -> float:
        began = time.monotonic()
        assert greeting(bed, "h1", 10) == b"SSH-"
        return time.monotonic() - began

    with session(bed, "h1") as one:
        bed.delay("h1", 60)
        assert connecting() >= 0.22  # two round trips, and a little less for the clocks
        bed.delay("h1", 20, 5)
        wait_for(lambda: 0.05 <= connecting() < 0.22)
        bed.delay("h1", 0, 0, 100)
        time.sleep(0.1)  # for the relay to have read that
        with pytest.raises(TimeoutError):
            greeting(bed, "h1")
        bed.undelay("h1")
        bed.undelay("h1")
        wait_for(lambda: connecting() < 0.05)
        one.tell("still here")
        assert one.hear(20) == "still here\n"


def test_fill_blocks(bed: Bed) -> None:
    """No block is left: files can be made, but nothing written into them."""
    bed.say("h1", "truncate -s 0 /small/mine", user="plain")
    bed.fill("h1", "blocks")
    bed.fill("h1", "blocks")
    full = os.strerror(errno.ENOSPC)
    assert failure(bed, "h1", "cat /etc/passwd >>/small/mine") == full
    assert failure(bed, "h1", "touch /small/new") == ""
    assert failure(bed, "h2", "cat /etc/passwd >/small/mine") == ""
    bed.empty("h1")
    assert failure(bed, "h1", "cat /etc/passwd >>/small/mine") == ""
    bed.empty("h1")


def test_fill_inodes(bed: Bed) -> None:
    """No inode is left: a file that is there can be written, none made."""
    bed.say("h1", "echo begun >/small/old", user="plain")
    bed.fill("h1", "inodes")
    assert failure(bed, "h1", "touch /small/another") == os.strerror(errno.ENOSPC)
    assert failure(bed, "h1", "cat /etc/passwd >>/small/old") == ""
    bed.empty("h1")
    assert failure(bed, "h1", "touch /small/another") == ""


def test_only_a_small_disk_is_filled(bed: Bed) -> None:
    """The machine's memory is behind all others."""
    with pytest.raises(AssertionError, match="only small ones"):
        bed.fill("h1", "blocks", "/var/tmp")
    assert ".ballast" not in bed.say("h1", "ls", "-a", "/var/tmp")


@pytest.mark.parametrize("path", ["/small", "/home/plain"])
def test_read_only(bed: Bed, path: str) -> None:
    """A mount or any folder; neither another host nor this machine notices."""
    before = Path("/proc/self/mountinfo").read_text().splitlines()
    bed.read_only("h1", path)
    bed.read_only("h1", path)
    assert failure(bed, "h1", f"touch {path}/x") == os.strerror(errno.EROFS)
    assert failure(bed, "h2", f"touch {path}/x") == ""
    after = Path("/proc/self/mountinfo").read_text().splitlines()
    # of the mounts that are there all the time, none has changed
    assert [line for line in before if line.split()[0] in {one.split()[0] for one in after} and line not in after] == []
    bed.read_write("h1", path)
    bed.read_write("h1", path)
    assert failure(bed, "h1", f"touch {path}/x") == ""


def test_reboot(bed: Bed) -> None:
    """Another boot id and uptime, no process of before; the disk is as it was, /tmp empty."""
    bed.say("h1", "echo kept >/small/kept; echo kept >/home/plain/kept; touch /tmp/lost")
    count = counter(bed, "h1")
    assert count()
    before, machine = bed.say("h1", *BOOT_ID), bed.say("h1", "cat", "/etc/machine-id")
    with session(bed, "h1") as one:
        bed.reboot("h1", off=0.2)
        assert bed.say("h1", *BOOT_ID) != before
        assert one.hear(0.2) == ""
    assert bed.say("h1", "cat /etc/machine-id; cat /small/kept /home/plain/kept; ls /tmp") == f"{machine}kept\nkept\n"
    assert "count-" not in bed.say("h1", "cat /proc/[0-9]*/cmdline")
    assert float(bed.say("h1", "cat", "/proc/uptime").split()[0]) < 10


def test_reboot_from_inside(bed: Bed) -> None:
    """As ansible.builtin.reboot does it."""
    before = bed.say("h2", *BOOT_ID)
    bed.say("h2", "shutdown", "-r", "now")
    asking = bed.ssh("h2", *BOOT_ID)
    wait_for(lambda: subprocess.run(asking, capture_output=True, text=True, check=False).stdout not in ("", before))


def test_power_off(bed: Bed) -> None:
    """A host that is off is silent, until it is switched on."""
    before = bed.say("h1", *BOOT_ID)
    bed.poweroff("h1")
    bed.poweroff("h1")
    with pytest.raises((TimeoutError, OSError)) as caught:
        greeting(bed, "h1")
    assert not isinstance(caught.value, ConnectionError), "it is off, and answers"
    assert re.search("h1 .* off,", bed.status())
    bed.boot("h1")
    bed.boot("h1")
    assert bed.say("h1", *BOOT_ID) != before


def test_restart_container(bed: Bed) -> None:
    """Another pid 1 and no process of before, but the same boot id and uptime. The namespace's number may come again."""
    asked = "cat /proc/sys/kernel/random/boot_id; cut -d' ' -f22 /proc/1/stat; cut -d. -f1 /proc/uptime"
    count = counter(bed, "h1")
    assert count()
    before = bed.say("h1", asked).split()
    bed.restart_container("h1")
    after = bed.say("h1", asked).split()
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    assert int(after[2]) >= int(before[2])
    assert "count-" not in bed.say("h1", "cat /proc/[0-9]*/cmdline")


def test_share(bed: Bed) -> None:
    """One folder on both hosts, beginning with what the first had; also after a reboot."""
    bed.say("h1", "echo mine >here; touch -d @0 here", user="free")
    bed.share("/home/free", "h1", "h2")
    bed.share("/home/free", "h1", "h2")
    assert bed.say("h2", "cat here; stat -c '%Y %U' here; stat -c '%a %U' .", user="free") == "mine\n0 free\n700 free\n"
    bed.say("h2", "echo from the other >there", user="free")
    assert bed.say("h1", "cat there", user="free") == "from the other\n"
    bed.reboot("h1", "h2")
    bed.say("h1", "echo again >there", user="free")
    assert bed.say("h2", "cat there", user="free") == "again\n"


BECOME: dict[str, tuple[str, str, dict[str, t.Any]]] = {  # the play's name of it: login user, who it becomes, variables
    "root": ("root", "root", {}),
    "free": ("free", "free", {}),
    "plain": ("plain", "plain", {}),
    "roofless": ("roofless", "roofless", {}),
    "service": ("service", "service", {}),
    "free by sudo": ("free", "root", {"ansible_become": True}),
    "asked by sudo": ("asked", "root", {"ansible_become": True}),
    "root to nobody": ("root", "nobody", {"ansible_become": True, "ansible_become_user": "nobody"}),
    "plain by su": (
        "plain",
        "root",
        {"ansible_become": True, "ansible_become_method": "su", "ansible_become_password": "{{ bed_password_root }}"},
    ),
    "root by su to plain": ("root", "plain", {"ansible_become": True, "ansible_become_method": "su", "ansible_become_user": "plain"}),
    "free by su to plain": (
        "free",
        "plain",
        {
            "ansible_become": True,
            "ansible_become_method": "su",
            "ansible_become_user": "plain",
            "ansible_become_password": "{{ bed_password_plain }}",
            "ansible_shell_allow_world_readable_temp": True,
        },
    ),
}
REFUSED: dict[str, tuple[str, str, dict[str, t.Any]]] = {
    "plain by sudo": ("plain", "may not", {"ansible_become": True, "ansible_become_password": "plain-in-the-bed"}),
    "asked by sudo with a wrong password": ("asked", "ncorrect", {"ansible_become": True, "ansible_become_password": "wrong"}),
    "asked by sudo without one": ("asked", "password", {"ansible_become": True, "ansible_become_password": ""}),
    "plain by su with a wrong password": (
        "plain",
        "ncorrect|failure",
        {"ansible_become": True, "ansible_become_method": "su", "ansible_become_password": "wrong"},
    ),
}


def test_users(bed: Bed, stage: Stage) -> None:
    """Each logs in; sudo, sudo with a password and su make of them who they should, and nobody else."""
    for name, (user, _expected, variables) in {**BECOME, **REFUSED}.items():
        stage.add_bed_host(bed, "h1", user, name, **variables)
    run = stage.play("- name: Who\n  ansible.builtin.command: whoami\n", "--forks", "4", rc=None)
    who = {name: run.result("Who", name) for name in {**BECOME, **REFUSED}}
    assert {name: who[name].get("stdout", who[name]) for name in BECOME} == {
        name: expected for name, (_user, expected, _vars) in BECOME.items()
    }
    for name in REFUSED:
        assert "stdout" not in who[name] or not who[name]["stdout"], who[name]
