# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of lists and of removals ask, and what they do to a spool: jobs that have grown old, or that are another host's."""

from __future__ import annotations

import json
import os
import time
import typing as t
from pathlib import Path

from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, Job

HOUR = 3600.0
ELSEWHERE = {"machine_id": "f" * 32, "hostname": "elsewhere"}


def info(engine: Engine, jobs: list[dict[str, t.Any]] | None = None, check: bool = False, **filters: t.Any) -> list[Job]:
    """The jobs that the verb info tells of."""
    return _jobs(engine.call(engine.request("info", [], check=check) | {"jobs": jobs, "filters": filters or None}))


def prune_request(engine: Engine, check: bool = False, **given: t.Any) -> dict[str, t.Any]:
    options = {key: given.pop(key, None) for key in ("keep_last", "max_bytes")}
    options["include_core"] = given.pop("include_core", False)
    return engine.request("prune", [], check=check, options=options) | {"jobs": None, "filters": given or None}


def prune(engine: Engine, check: bool = False, **given: t.Any) -> list[str]:
    """The ids of the jobs that were removed, in the reply's order; ``given`` are the verb's options and filters."""
    return ids(_jobs(engine.call(prune_request(engine, check, **given))))


def ids(jobs: list[Job]) -> list[str]:
    return [job["ansible_job_id"] for job in jobs]


def _jobs(reply: dict[str, t.Any]) -> list[Job]:
    assert "error" not in reply, reply
    return t.cast("list[Job]", reply["jobs"])


def grow_old(engine: Engine, job: Job, seconds: float) -> Job:
    """Make a job that has ended, or that is lost, have done so that many seconds earlier, by both clocks."""
    started = engine.path(job) / "started.json"
    times = json.loads(started.read_text())
    times.update(clock=times["clock"] - seconds, wall=times["wall"] - seconds)
    started.write_text(json.dumps(times))
    then = time.time() - seconds
    for path in (engine.spool / job["ansible_job_id"], *engine.path(job).iterdir(), engine.path(job)):
        os.utime(path, (then, then))
    return job


def give_away(engine: Engine, job: Job) -> Job:
    """Make a job one of another host that shares the directory."""
    record = engine.path(job) / "job.json"
    changed = json.loads(record.read_text())
    changed.update(host=ELSEWHERE, boot={"boot_id": "other", "pid_namespace": "pid:[1]", "init_start": 1})
    record.write_text(json.dumps(changed))
    return job


def listing(folder: Path) -> dict[str, tuple[int, ...]]:
    """Each file below a folder, with what a write would change of it."""
    found: dict[str, tuple[int, ...]] = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_mode)
    return found
