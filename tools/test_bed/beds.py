# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Beds and their hosts: what they are called, where their things lie, who owns a bed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from machine import processes, start_time

BEDS = Path("/run/longhaul-beds")


class Bed:
    """One bed: its folder is BEDS/<number>-<random>, and all that it has on the machine is named by the number."""

    def __init__(self, folder: Path) -> None:
        if folder.parent != BEDS or not re.fullmatch(r"[1-9][0-9]{0,2}-[0-9a-f]+", folder.name):
            raise ValueError(f"{folder} is not a bed's folder, such as {BEDS}/1-9f3c")
        self.folder = folder
        self.number = int(folder.name.partition("-")[0])
        self.disk = folder / "disk"  # a tmpfs: what the hosts write, their small disks and network namespaces
        self.shared = self.disk / "shared"
        self.key = folder / "key"
        self.subnet = f"10.231.{self.number}.0/24"
        self.gateway = f"10.231.{self.number}.1"
        self.bridge = f"lhb{self.number}"
        self.table = f"longhaul{self.number}"

    @property
    def hosts(self) -> list[Host]:
        """Its hosts; none before they have been named."""
        try:
            names = (self.folder / "hosts").read_text().split()
        except FileNotFoundError:
            return []
        return [Host(self, index, name) for index, name in enumerate(names, 1)]

    def links(self) -> list[str]:
        """The links that it has on this machine now."""
        mine = re.compile(rf"lhb{self.number}|lh[tv]{self.number}-\d+")
        return [name for name in os.listdir("/sys/class/net") if mine.fullmatch(name)]

    def owner(self) -> dict[str, str | int]:
        """Who keeps it: ``boot``, ``pid`` and ``start``, and whether it is ``made``. Empty where a crash left no owner."""
        try:
            found: dict[str, str | int] = json.loads((self.folder / "owner").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def set_owner(self, pid: int, made: bool) -> None:
        """Let it live as long as that process does; 0: until it is taken down."""
        text = json.dumps({"boot": _boot_id(), "pid": pid, "start": start_time(pid) if pid else "", "made": made})
        (self.folder / "owner.new").write_text(text)
        os.replace(self.folder / "owner.new", self.folder / "owner")

    def is_owned(self) -> bool:
        """Whether somebody keeps it still."""
        owner = self.owner()
        if owner.get("boot") != _boot_id():
            return False
        return not owner["pid"] or start_time(int(owner["pid"])) == owner["start"] != ""


class Host:
    """One host of a bed."""

    def __init__(self, bed: Bed, index: int, name: str) -> None:
        self.bed = bed
        self.name = name
        self.folder = bed.disk / name
        self.upper = self.folder / "upper"  # what differs from the machine's own files
        self.net = self.folder / "net"  # its network namespace
        self.console = self.folder / "console.log"
        self.address = f"10.231.{bed.number}.{10 + index}"
        self.mac = f"02:53:48:00:{bed.number:02x}:{index:02x}"
        self.veth = f"lhv{bed.number}-{index}"
        self.tap = f"lht{bed.number}-{index}"
        self.relay = self.folder / "relay.pid"  # there while a relay delays

    @property
    def link(self) -> str:
        """The machine's end of its link."""
        return self.tap if self.relay.exists() else self.veth

    def pid(self) -> int:
        """The pid, seen from here, of its pid 1; 0 while it is off."""
        try:
            pid = int((self.folder / "pid").read_text())
        except FileNotFoundError:
            return 0
        return pid if start_time(pid) else 0

    def processes(self, prefix: str = "") -> set[int]:
        """The pids, seen from here, of all its processes whose name begins so."""
        pid = self.pid()
        if not pid:
            return set()
        space = os.readlink(f"/proc/{pid}/ns/pid")
        found = set()
        for one in processes():
            try:
                if os.readlink(one / "ns" / "pid") == space and (one / "comm").read_text().startswith(prefix):
                    found.add(int(one.name))
            except OSError:
                continue
        return found


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def all_beds() -> list[Bed]:
    """Every bed of this machine, also what is left of one."""
    found = []
    for folder in sorted(BEDS.iterdir()) if BEDS.exists() else []:
        try:
            found.append(Bed(folder))
        except ValueError:
            continue
    return found
