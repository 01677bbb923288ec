# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a list of a thousand jobs costs: the verb on the target beside a list of ten, the whole task beside one that returns the same."""

from __future__ import annotations

import json
import statistics
import subprocess
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from bench import Bench

MANY, ROUNDS = 1000, 9
PROGRAM = """
import sys
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _program
request = {"schema": 1, "verb": "info", "async_dirs": [sys.argv[1]], "jobs": None, "filters": None, "options": {}}
request.update(attempt=1, ago=0.0, hold=0.0, check=False)
sys.stdout.buffer.write(_program.build("info", request, "0" * 32))
"""
# On the target: runs the programs by turns, process start included; prints the medians in milliseconds.
TIMER = """
import json, statistics, subprocess, sys, time
times = {name: [] for name in sys.argv[2:]}
for _round in range(int(sys.argv[1])):
    for name in times:
        with open(name) as program:
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-ISE", "-"], stdin=program, stdout=subprocess.DEVNULL, check=True)
            times[name].append((time.perf_counter() - begun) * 1000)
print("MEDIANS " + json.dumps([statistics.median(some) for some in times.values()]))
"""


def measure(bench: Bench) -> None:
    """The rows of lists, for jobs that run and for the same when they have ended."""
    spool = str(json.loads(bench.inventory.read_text())["all"]["hosts"]["target"]["ansible_async_dir"])
    bench.play("listing_jobs.yml", "-e", json.dumps({"many": MANY}))
    for state in ("running", "ended"):
        ten, many = _on_target(bench, spool, ended=state == "ended")
        bench.row(f"verb info, {MANY} {state} jobs : 10", f"{many:.1f} / {ten:.1f} = {many / ten:.2f}", many / ten, 30.0)
        info, same = _tasks(bench, ended=state == "ended")
        bench.row(f"async_info, {MANY} {state} jobs : constants", f"{info:.1f} / {same:.1f} = {info / same:.2f}", info / same, 2.0)


def _on_target(bench: Bench, spool: str, *, ended: bool) -> tuple[float, float]:
    """Milliseconds of the verb for ten jobs and for many."""
    folder = bench.scratch / "listing"
    folder.mkdir(exist_ok=True)
    (folder / "timer").write_text(TIMER)
    files = [folder / "timer"]
    for which in ("ten", "many"):
        python = ["python", "-c", PROGRAM, f"{spool}-{which}"]
        path = {**bench.env, "PYTHONPATH": bench.env["ANSIBLE_COLLECTIONS_PATH"]}
        files.append(folder / f"program-{which}")
        files[-1].write_bytes(subprocess.run(python, env=path, capture_output=True, check=True).stdout)
    told = folder / "told"
    given: dict[str, object] = {"files": [str(one) for one in files], "ended": ended, "rounds": ROUNDS, "told": str(told)}
    bench.play("listing_target.yml", "-e", json.dumps(given))
    ten, many = json.loads(told.read_text().partition("MEDIANS ")[2])
    return float(ten), float(many)


def _tasks(bench: Bench, *, ended: bool) -> tuple[float, float]:
    """Milliseconds of the whole task async_info, and of one with the same result."""
    constants, times = bench.scratch / "constants.json", bench.scratch / "task_times.json"
    constants.write_text("{}")
    more = {"LONGHAUL_CONSTANTS": str(constants), "LONGHAUL_TASK_TIMES": str(times), "ANSIBLE_CALLBACKS_ENABLED": "task_times"}
    before, bench.env = bench.env, {**bench.env, **more, "ANSIBLE_ACTION_PLUGINS": str(Path(bench.folder) / "action_plugins")}
    try:
        bench.play("listing.yml", "-e", json.dumps({"ended": ended, "rounds": ROUNDS}))
    finally:
        bench.env = before
    found = json.loads(times.read_text())
    return statistics.median(found["Info"]), statistics.median(found["Constants"])
