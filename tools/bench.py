# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures, measured side by side (``make bench``), each with the bound that is promised; the exit status tells whether all hold.

Times are medians of loop items over an sshd on loopback, or with BENCH_BED=1 on a host of a test bed, the ways alternating
within each round, given as ratios.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bench_listing
from bed import Bed, run
from setting_up import BUILD, Environments, environment, packages, tree
from sshd import Sshd

ROUNDS, COUNT = 5, 10
REST_SECONDS = 0.3  # between two items: what the job before does by itself, a module for 0.2 s of CPU, is not the start's time
ALONE = 5  # jobs whose supervisor is weighed alone, one after another
QUIET_SECONDS = 60  # for which a supervisor without a limit must not wake
Times = dict[str, list[float]]


class Bench:
    """The benchmarks' playbooks on one host: what its inventory says of it, and the pid namespace it is in."""

    def __init__(self, env: dict[str, str], here: Path, scratch: Path, variables: dict[str, object], space: str) -> None:
        self.folder = here / "tests" / "benchmarks"
        self.scratch = scratch
        self.space = space
        self.env = {
            **env,
            "ANSIBLE_CALLBACK_PLUGINS": str(self.folder / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "item_times",
            "LONGHAUL_ITEM_TIMES": str(self.scratch / "times.json"),
            "LONGHAUL_ITEM_REST": str(REST_SECONDS),
        }
        self.inventory = self.scratch / "hosts.yml"
        self.inventory.write_text(json.dumps({"all": {"hosts": {"target": variables}}}))
        self.good = True

    def play(self, name: str, *words: str) -> str:
        """Run a playbook; its output."""
        command = ["ansible-playbook", "-i", str(self.inventory), str(self.folder / name), *words]
        done = subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{name} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def row(self, title: str, figure: str, value: float, most: float | None) -> None:
        """Print one row of the table."""
        holds = most is None or value <= most
        self.good = self.good and holds
        bound = "" if most is None else f"{f'<= {most:g}':>8} {'ok' if holds else 'MISSED'}"
        print(f"{title:46} {figure:>34} {bound}", flush=True)

    def items(self) -> None:
        """Loop items: starts, looks, and looks at a hundred jobs."""
        times: Times = {}
        for number in range(ROUNDS):
            self.play("round.yml", "-e", json.dumps({"count": COUNT, "hundred": number == ROUNDS - 1}))
            for name, some in json.loads((self.scratch / "times.json").read_text()).items():
                times.setdefault(name, []).extend(some)
        times["Raw"] += times.pop("Raw again")
        median = {name: statistics.median(some) for name, some in times.items()}
        for name in sorted(median):
            print(f"{name:46} {median[name]:26.1f} ms (n={len(times[name])})")
        for title, one, other, most in (
            ("start of a command : core's", "Our start of a command", "Core start of a command", 0.25),
            ("start of a module : core's", "Our start of a module", "Core start of a module", 0.25),
            ("status : core's", "Our status", "Core status", 0.20),
            ("status : raw", "Our status", "Raw", 1.6),
            ("  of it, a bare Python : raw", "Raw of a Python that does nothing", "Raw", None),
            ("status of 100 jobs : of one", "Status of a hundred", "Status of one of a hundred", 3.0),
        ):
            ratio = median[one] / median[other]
            self.row(title, f"{median[one]:.1f} / {median[other]:.1f} = {ratio:.2f}", ratio, most)

    def exchanges(self) -> None:
        """Round trips of a start with poll of a short job."""
        said = self.play("exchanges.yml", "-vvv").partition("TASK [Counted]")[2]
        count = len(re.findall(r"SSH: EXEC", said))
        self.row("exchanges of a start with poll, short job", str(count), count, 1)

    def memory(self) -> None:
        """What a running job costs besides its payload, alone and one of a hundred."""
        alone = [self._weighed(1)[0] for _job in range(ALONE - 1)]
        alone += self._weighed(1, self._quiet)
        self.row("supervisor's PSS, alone", f"{statistics.median(alone):.2f} MB", statistics.median(alone), 7.5)
        many = self._weighed(100)
        self.row("supervisor's PSS, 100 at once", f"{statistics.median(many):.2f} MB", statistics.median(many), 4.5)

    def _weighed(self, count: int, look: Callable[[int], None] | None = None) -> list[float]:
        """MB of each of so many supervisors that are there at once; ``look`` at the first of them."""
        pids = self._waiting(count)
        try:
            sizes = [_pss(pid) for pid in pids[:count]]
            if look is not None:
                look(pids[0])
            return sizes
        finally:
            for pid in pids[count:]:
                os.kill(pid, signal.SIGTERM)

    def _quiet(self, pid: int) -> None:
        before = _switches(pid)
        time.sleep(QUIET_SECONDS)
        woken = _switches(pid) - before
        self.row(f"its context switches in {QUIET_SECONDS} s without a limit", str(woken), woken, 0)

    def _waiting(self, count: int) -> list[int]:
        told = self.scratch / "pids"
        self.play("memory.yml", "-e", json.dumps({"count": count, "pids": str(told)}))
        time.sleep(1)  # for the last handshake's steps to be over
        return self._here([int(word) for word in told.read_text().split()])

    def _here(self, pids: list[int]) -> list[int]:
        """The pids that the host's processes have on this machine."""
        found: dict[int, int] = {}
        for one in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(one / "ns" / "pid") == self.space:
                    found[int((one / "status").read_text().partition("NSpid:")[2].split("\n", 1)[0].split()[-1])] = int(one.name)
            except OSError:
                continue
        return [found[pid] for pid in pids]


def _pss(pid: int) -> float:
    """MB (10^6 bytes, the larger figure) of a process's proportional set size."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"no Pss of process {pid}")


def _switches(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def without_login_scripts() -> None:
    """As root: go on in a mount namespace in which ~/.bashrc is empty. It is run for each command, and would flatten every ratio."""
    script = Path.home() / ".bashrc"
    if os.geteuid() == 0 and script.exists() and "LONGHAUL_BENCH" not in os.environ and shutil.which("unshare"):
        words = ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', str(script), sys.executable, "-B", __file__]
        os.execvpe(words[0], words, {**os.environ, "LONGHAUL_BENCH": "inside"})


def main() -> int:
    """The command line."""
    on_bed = bool(os.environ.get("BENCH_BED"))
    if not on_bed:  # root's home on a bed has none
        without_login_scripts()
    absent = [name for name in packages() if name.startswith("openssh")]
    if absent:
        print(f"skipped: {', '.join(absent)} are not here")
        return 0
    version, venv = Environments().newest()
    here = tree("bench")
    scratch = BUILD / "bench"
    shutil.rmtree(scratch, ignore_errors=True)
    env = environment(venv, here.parents[2])
    print(f"ansible-core {version} with its default settings, {os.cpu_count()} processors", flush=True)
    if not on_bed:
        with Sshd(scratch) as server:
            return measure(Bench(env, here, scratch, _reaching(server), os.readlink("/proc/self/ns/pid")))
    scratch.mkdir(parents=True)
    with Bed(1) as bed:
        if bed.cannot:
            print(f"skipped: {bed.cannot}")
            return 0
        variables: dict[str, object] = {**bed.variables, "ansible_host": bed.addresses["h1"], "ansible_async_dir": "/var/tmp/bench"}
        space = run(bed.within("h1", "readlink", "/proc/self/ns/pid")).stdout.strip()
        return measure(Bench(env, here, scratch, variables, space))


def _reaching(server: Sshd) -> dict[str, object]:
    """What the inventory says of this machine."""
    return {
        "ansible_host": "127.0.0.1",
        "ansible_port": server.port,
        "ansible_user": server.user,
        "ansible_ssh_private_key_file": str(server.key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={server.known_hosts} -o IdentitiesOnly=yes",
        "ansible_python_interpreter": "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable,
        "ansible_async_dir": str(server.folder / "spool"),
    }


def measure(bench: Bench) -> int:
    """Measure everything there; the exit status."""
    bench.exchanges()
    bench.items()
    bench.memory()
    bench_listing.measure(bench)
    print("all bounds hold" if bench.good else "a bound was missed")
    return 0 if bench.good else 1


if __name__ == "__main__":
    sys.exit(main())
