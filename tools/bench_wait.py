# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for many jobs on many hosts beside core's way (``make bench-wait``), and the connections that are open meanwhile.

What a run takes beyond its longest job is compared: ours and core's alternate, and the ratio of their medians has a bound, which
the exit status tells of. The hosts are those of a test bed.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from bed import Bed
from setting_up import BUILD, Environments, environment, packages, tree

HOSTS, COUNT, SECONDS, FORKS = 8, 10, 30, 5
ROUNDS = 3
MOST = 0.3  # of core's time beyond the longest job
SAMPLE = 0.2  # seconds between two looks at the connections
COLUMN = 3  # seconds that a column of the table of connections stands for
WAYS: dict[str, tuple[str, dict[str, object]]] = {
    "ours, long_poll 20": ("waits_ours.yml", {"long_poll": 20, "close_connection": False}),
    "core": ("waits_core.yml", {}),
    "ours, long_poll 0": ("waits_ours.yml", {"long_poll": 0, "close_connection": False}),
    "ours, close_connection": ("waits_ours.yml", {"long_poll": 0, "close_connection": True}),
}
COMPARED = ("ours, long_poll 20", "core")


class Connections:
    """Counts, while inside ``with``, the connections from this machine to the ssh ports of these addresses."""

    def __init__(self, addresses: list[str]) -> None:
        # As /proc/net/tcp has them: the bytes of the address in the machine's order.
        self._remote = {bytes(map(int, reversed(address.split(".")))).hex().upper() + ":0016" for address in addresses}
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.seen: list[tuple[float, int]] = []  # (seconds since the beginning, how many)

    def __enter__(self) -> Connections:
        self._before = self._open()
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._left.set()
        self._thread.join()

    def _open(self) -> set[str]:
        """The local ends of the connections that are established."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {row[1] for row in rows if row[2] in self._remote and row[3] == "01"}

    def _watch(self) -> None:
        while not self._left.wait(SAMPLE):
            self.seen.append((time.monotonic() - self._began, len(self._open() - self._before)))

    def columns(self) -> list[float]:
        """How many were open, on average, in each COLUMN seconds."""
        found: dict[int, list[int]] = {}
        for when, count in self.seen:
            found.setdefault(int(when / COLUMN), []).append(count)
        return [statistics.mean(found.get(number, [0])) for number in range(max(found, default=0) + 1)]


class Bench:
    """The playbooks on the hosts of a bed."""

    def __init__(self, env: dict[str, str], here: Path, scratch: Path, bed: Bed) -> None:
        self.env = env
        self.folder = here / "tests" / "benchmarks"
        self.scratch = scratch
        self.bed = bed
        self.inventory = scratch / "hosts.yml"
        self.runs = 0

    def play(self, way: str) -> tuple[float, list[float]]:
        """Seconds beyond the longest job that a run takes, and its connections over time."""
        name, given = WAYS[way]
        self.runs += 1
        control = self.scratch / f"cp{self.runs}"  # masters of its own, so that no run finds connections open
        common = {**self.bed.variables, "ansible_control_path_dir": str(control)}
        hosts = {host: {**common, "ansible_host": address} for host, address in self.bed.addresses.items()}
        self.inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
        words = ["ansible-playbook", "-i", str(self.inventory), "--forks", str(FORKS), str(self.folder / name)]
        words += ["-e", json.dumps({"count": COUNT, "seconds": SECONDS, **given})]
        with Connections(list(self.bed.addresses.values())) as connections:
            began = time.monotonic()
            done = subprocess.run(words, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            took = time.monotonic() - began
        for socket in control.glob("*"):  # masters would live on into the next run
            subprocess.run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "host"], capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{name} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return took - SECONDS, connections.columns()


def measure(bench: Bench) -> int:
    """Measure everything; the exit status."""
    beyond: dict[str, list[float]] = {way: [] for way in WAYS}
    open_at_once: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for way in WAYS if number == ROUNDS - 1 else COMPARED:
            seconds, open_at_once[way] = bench.play(way)
            beyond[way].append(seconds)
            print(f"{way:24} {seconds:6.2f} s beyond the longest job (load {os.getloadavg()[0]:.1f})", flush=True)
    ours, core = (statistics.median(beyond[way]) for way in COMPARED)
    holds = ours / core <= MOST
    print(f"\n{HOSTS} hosts, {COUNT} jobs of {SECONDS} s each, forks {FORKS}, {ROUNDS} rounds: ours : core", end=" ")
    print(f"= {ours:.2f} : {core:.2f} = {ours / core:.2f} <= {MOST} {'ok' if holds else 'MISSED'}")
    print(f"\nconnections open at once, on average, in each {COLUMN} seconds from the beginning of the run")
    width = max(map(len, open_at_once.values()))
    print(" " * 24 + "".join(f"{COLUMN * number:5}" for number in range(width)))
    for way, columns in open_at_once.items():
        print(f"{way:24}" + "".join(f"{count:5.1f}" for count in columns))
    return 0 if holds else 1


def main() -> int:
    """The command line."""
    absent = [name for name in packages() if name.startswith("openssh")]
    if absent:
        print(f"skipped: {', '.join(absent)} are not here")
        return 0
    version, venv = Environments().newest()
    here = tree("bench-wait")
    scratch = BUILD / "bench-wait"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    print(f"ansible-core {version} with its default settings, {os.cpu_count()} processors", flush=True)
    with Bed(HOSTS) as bed:
        if bed.cannot:
            print(f"skipped: {bed.cannot}")
            return 0
        return measure(Bench(environment(venv, here.parents[2]), here, scratch, bed))


if __name__ == "__main__":
    sys.exit(main())
