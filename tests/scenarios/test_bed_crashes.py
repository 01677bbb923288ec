# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test bed leaves nothing behind: after a crash of what made it or took it down, without its owner, where it cannot be made."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import CANNOT, Bed, command_line
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import wait_for

BEDS = Path("/run/longhaul-beds")
HOSTS = 2


def _said(*words: str) -> list[str]:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def traces(folder: Path) -> list[str]:
    """All that there is of a bed on this machine; nothing of another that has its number now."""
    number = folder.name.partition("-")[0]
    found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{folder}/" in line]
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(folder).encode() in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                found.append(f"process {entry.name}")
    if folder.exists():
        found.append(str(folder))
    if not any(one != folder for one in BEDS.glob(f"{number}-*")):
        found += [
            name for name in os.listdir("/sys/class/net") if name == f"lhb{number}" or name.startswith((f"lhv{number}-", f"lht{number}-"))
        ]
        found += [line for line in _said("ip", "route", "show", "root", f"10.231.{number}.0/24") if line]
        found += [line for line in _said("nft", "list", "tables") if line.split()[-1] == f"longhaul{number}"]
    return found


def namespaces() -> set[str]:
    """The network namespaces of all processes."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                found.add(os.readlink(entry / "ns" / "net"))
    return found


def begun(*words: str) -> tuple[subprocess.Popen[str], t.Callable[[], Path | None]]:
    """An `up` that has just been started, and what tells its bed's folder as soon as it has one."""
    up = subprocess.Popen(command_line("up", str(HOSTS), *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def folder() -> Path | None:
        for one in BEDS.glob("*-*"):
            with contextlib.suppress(OSError, ValueError):
                if json.loads((one / "owner").read_text())["pid"] == up.pid:
                    return one
        return None

    return up, folder


def done(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """A verb carried out."""
    return subprocess.run(command_line(*words), capture_output=True, text=True, check=False)


def has_come(folder: Path, what: str) -> bool:
    """Whether an `up` has come so far."""
    disk = folder / "disk"
    if what in ("probe", "h1", "h1/pid"):
        return (disk / what).exists()
    return {"claimed": folder.exists(), "key": (folder / "key").exists(), "link": len(traces_of_links(folder)) > 1}[what]


def traces_of_links(folder: Path) -> list[str]:
    """Its bridge and what is on it."""
    number = folder.name.partition("-")[0]
    return [name for name in os.listdir("/sys/class/net") if name.startswith((f"lhb{number}", f"lhv{number}-"))]


@pytest.mark.parametrize("moment", ["claimed", "probe", "key", "h1", "link", "h1/pid"])
def test_down_after_up_was_killed(bed: Bed, moment: str) -> None:
    """SIGKILL at any moment; down removes all, and may be asked twice. Another bed is left alone."""
    spaces, beds = namespaces(), set(BEDS.iterdir())
    up, find = begun()
    folder = wait_for(find)
    wait_for(lambda: has_come(folder, moment))
    up.kill()
    up.communicate()
    assert traces(folder)
    for _time in range(2):
        down = done("down", "--bed", folder)
        assert (down.returncode, down.stderr) == (0, "")
    assert traces(folder) == []
    wait_for(lambda: namespaces() <= spaces or beds != set(BEDS.iterdir()))  # those of a bed that others have made
    assert bed.say("h1", "hostname") == "h1\n"


def test_down_after_down_was_killed(bed: Bed) -> None:
    """At several moments of it."""
    other = Bed(HOSTS).__enter__()
    try:
        other.delay("h1", 1)
        for seconds in (0.1, 0.15, 0.2, 0.25, 0.3):
            down = subprocess.Popen(command_line("down", "--bed", other.folder))
            time.sleep(seconds)
            down.kill()
            down.wait()
    finally:
        other.__exit__()
    assert traces(other.folder) == []


def test_down_while_up_goes_on(bed: Bed) -> None:
    """It ends the `up` first."""
    up, find = begun()
    folder = wait_for(find)
    assert done("down", "--bed", folder).returncode == 0
    up.communicate()
    assert up.returncode == -signal.SIGKILL
    assert traces(folder) == []


def test_up_that_is_told_to_end_leaves_nothing(bed: Bed) -> None:
    """SIGTERM: it removes what it has made."""
    up, find = begun()
    folder = wait_for(find)
    wait_for(lambda: has_come(folder, "key"))
    up.terminate()
    up.communicate()
    assert up.returncode == 128 + signal.SIGTERM
    assert traces(folder) == []


def test_a_bed_in_use_is_taken_down_whole(bed: Bed) -> None:
    """With sessions, jobs, a master connection, a shell in its folder, all verbs in force."""
    with Bed(HOSTS, share=["/home/free"]) as other:
        socket = other.folder / "cp" / "one"
        subprocess.run(
            [*other.ssh("h2", "true", options=[f"ControlPath={socket}", "ControlMaster=auto", "ControlPersist=60"])],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        assert socket.exists()
        here = subprocess.Popen(["sleep", "60"], cwd=other.folder / "disk")
        there = subprocess.Popen(other.ssh("h1", "sleep 60"), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        other.fill("h2", "blocks")
        other.read_only("h2", "/small")
        other.refuse("h1")
        other.delay("h2", 5)
        other.freeze_host("h2")
        other.drop("h2")
    here.kill()
    here.wait()
    there.kill()
    there.wait()
    assert traces(other.folder) == []


def test_a_bed_goes_with_its_owner(bed: Bed) -> None:
    """The next `up` removes what has no owner any more, made whole or not, and says so."""
    owner = subprocess.Popen(["sleep", "60"])
    folder = Path(done("up", "1", f"--owner={owner.pid}").stdout.strip())
    up, find = begun()
    half = wait_for(find)
    up.kill()
    up.communicate()
    with Bed(1):
        assert (half.exists(), folder.exists()) == (False, True)
    owner.kill()
    owner.wait()
    another = done("up", "1")
    assert str(folder) in another.stderr
    assert traces(folder) == traces(half) == []
    assert done("down", "--bed", another.stdout.strip()).returncode == 0
    assert bed.say("h1", "hostname") == "h1\n"


# Each: the words before an `up`, what it says.
CANNOT_HERE = {
    "another user": (["setpriv", "--reuid=nobody", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"], "needs root"),
    "a capability": (["setpriv", "--bounding-set=-sys_admin"], "CAP_SYS_ADMIN"),
    "a program": (
        ["unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {shutil.which("nft")}; exec "$@"', "sh"],
        "nft (package nftables)",
    ),
    "mounting": (["unshare", "--mount", "sh", "-c", f'mount --bind /bin/false {shutil.which("mount")}; exec "$@"', "sh"], "mount -t tmpfs"),
}


@pytest.mark.parametrize("lacking", CANNOT_HERE)
def test_a_machine_that_cannot(bed: Bed, lacking: str) -> None:
    """One sentence, exit status 3, nothing left."""
    before, sentence = CANNOT_HERE[lacking]
    program = subprocess.run([*before, *command_line("up", "1")], capture_output=True, text=True, check=False)
    assert program.returncode == CANNOT, program.stderr
    assert sentence in program.stderr
    assert program.stderr.count("\n") == 1
    if program.stdout:
        assert traces(Path(program.stdout.strip())) == []


def test_what_is_not_understood(bed: Bed) -> None:
    """One sentence, and nothing is done."""
    for words, sentence in (
        (("refuse", "--bed", bed.folder, "h9"), "has no host 'h9': it has h1, h2"),
        (("down", "--bed", "/etc"), "/etc is not a bed's folder"),
        (("up", "0"), "1 to 60 hosts"),
        (("share", "--bed", bed.folder, "relative", "h1"), "'relative' is no path"),
    ):
        refused = done(*words)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
        assert sentence in refused.stderr
