# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing ended jobs: which go and which stay, by the verb and by starts, and what two at once, a kill or a jumping clock do to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _prune
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, Job, alive, command, wait_for
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.spool import (
    HOUR,
    give_away,
    grow_old,
    ids,
    info,
    listing,
    prune,
    prune_request,
)
from ansible_collections.longhaul.jobs.tools import pythons

DAY = 24 * HOUR


def old(engine: Engine, hours: float, cmd: str = "true", **options: t.Any) -> Job:
    """A job that ended so many hours ago."""
    return grow_old(engine, engine.start(cmd, hold=10.0, **options), hours * HOUR)


def removed(engine: Engine, job: Job) -> bool:
    """Whether nothing but the mark of its removal is left of a job."""
    files = sorted(path.name for path in engine.path(job).iterdir())
    return files == ["removed"] and not (engine.spool / job["ansible_job_id"]).exists()


def test_ended_jobs_go_but_for_their_marks(engine: Engine) -> None:
    jobs = [old(engine, 3, name="one"), old(engine, 5), old(engine, 1)]
    size = sum(one["bytes"] for one in info(engine, older_than=2 * HOUR))
    reply = engine.call(prune_request(engine, older_than=2 * HOUR))
    assert ids(reply["jobs"]) == ids([jobs[1], jobs[0]]), "not the oldest first"
    assert sum(one["bytes"] for one in reply["jobs"]) == size
    assert [removed(engine, job) for job in jobs] == [True, True, False]
    assert [engine.status(job)["job"]["state"] for job in jobs] == ["unknown", "unknown", "succeeded"]
    assert not list(engine.spool.glob("names/*/one"))
    assert prune(engine, older_than=2 * HOUR) == []
    again = engine.call(engine.start_request(command(cmd="true"), jid=jobs[0]["ansible_job_id"], attempt=2))
    assert again["jobs"][0]["job"]["state"] == "unknown", "a late repeat of its start has run it again"


def test_what_has_not_ended_or_is_not_ours_stays(engine: Engine) -> None:
    """S12, S31: running, orphaned, foreign, and an ended one of another host."""
    running = engine.start("exec sleep 60", name="running")
    orphaned = engine.start("exec sleep 60", name="orphaned")
    engine.kill(orphaned, "supervisor")
    foreign = give_away(engine, engine.start("exec sleep 60", name="foreign"))
    theirs = give_away(engine, old(engine, 9, name="theirs"))
    for job in (running, orphaned, foreign):
        grow_old(engine, job, 2 * HOUR)
    before = listing(engine.spool)
    for given in ({"names": ["*"]}, {"older_than": HOUR}, {"keep_last": 0}, {"max_bytes": 0, "include_core": True}):
        assert prune(engine, check=True, **given) == prune(engine, **given) == []
    assert listing(engine.spool) == before
    for job in (running, orphaned, foreign):
        assert alive(job["job"]["payload_pid"])
    assert engine.status(theirs)["job"]["state"] == "succeeded"


def test_what_has_just_ended_stays_unless_it_is_named(engine: Engine) -> None:
    job = engine.start("true", hold=10.0, name="one")
    for given in ({"older_than": 0.0}, {"states": ["succeeded"]}, {"keep_last": 0}, {"max_bytes": 0}, {"names": ["two"]}):
        assert prune(engine, **given) == []
    grow_old(engine, job, _prune.RECENT - 60)
    assert prune(engine, keep_last=0) == []
    assert prune(engine, names=["o*"], check=True) == ids([job])
    grow_old(engine, job, _prune.RECENT + 60)
    assert prune(engine, keep_last=0) == ids([job])
    named = engine.start("true", hold=10.0, name="one")
    assert prune(engine, names=["one"]) == ids([named])


@pytest.mark.parametrize(
    ("given", "gone"),
    [
        ({"keep_last": 0}, "abcd"),
        ({"keep_last": 1}, "abc"),
        ({"keep_last": 3}, "a"),
        ({"keep_last": 9}, ""),
        ({"keep_last": 1, "states": ["failed"]}, "b"),
        ({"max_bytes": 0}, "abcd"),
        ({"max_bytes": "two"}, "ab"),
        ({"max_bytes": 1 << 40}, ""),
        ({"max_bytes": 0, "keep_last": 2}, "ab"),
        ({"max_bytes": "two", "keep_last": 1}, "ab"),
        ({"labels": {"kind": "dump"}, "older_than": 2.5 * HOUR}, "a"),
    ],
)
def test_number_size_and_filters(engine: Engine, given: dict[str, t.Any], gone: str) -> None:
    """The same answer in check mode, which touches nothing."""
    jobs = {
        "a": old(engine, 4, labels={"kind": "dump"}),
        "b": old(engine, 3, "false"),
        "c": old(engine, 2, labels={"kind": "dump"}),
        "d": old(engine, 1, "false"),
    }
    just_ended = engine.start("true", hold=10.0) if given.get("keep_last") is None and not given.get("max_bytes") else None
    if given.get("max_bytes") == "two":
        given = {**given, "max_bytes": sum(one["bytes"] for one in info(engine, newer_than=2.5 * HOUR))}
    before = listing(engine.spool)
    dry = engine.call(prune_request(engine, check=True, **given))
    assert listing(engine.spool) == before
    assert ids(dry["jobs"]) == [jobs[letter]["ansible_job_id"] for letter in gone]
    assert engine.call(prune_request(engine, **given)) == dry
    left = {one["ansible_job_id"] for one in info(engine)} - ({just_ended["ansible_job_id"]} if just_ended else set())
    assert left == {jobs[letter]["ansible_job_id"] for letter in "abcd" if letter not in gone}


def test_cores_files_go_only_when_asked(engine: Engine) -> None:
    """S30: ended ones; of one that may run nothing is removed."""
    ours = old(engine, 2)
    (engine.spool / "j7.8").write_text(json.dumps({"changed": True, "rc": 0, "ansible_job_id": "j7.8", "finished": 1}))
    (engine.spool / "j7.9").write_text(json.dumps({"started": 1, "finished": 0, "ansible_job_id": "j7.9"}))
    for name in ("j7.8", "j7.9"):
        os.utime(engine.spool / name, (time.time() - HOUR, time.time() - HOUR))
    assert prune(engine, keep_last=0, check=True) == ids([ours])
    found = prune(engine, keep_last=0, include_core=True)
    lost = info(engine, [{"jid": "j7.9"}])[0]["job"]["state"] in ("lost", "unknown")  # where this machine can tell
    assert sorted(found) == sorted([ours["ansible_job_id"], "j7.8", *(["j7.9"] if lost else [])])
    assert not (engine.spool / "j7.8").exists()
    assert (engine.spool / "j7.9").exists() is not lost


def test_a_lost_job_whose_end_nobody_has_written_goes_too(engine: Engine) -> None:
    """It has ended when its files were last changed, and no end is written for it."""
    job = engine.start("exec sleep 60")
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    grow_old(engine, job, 2 * HOUR)
    (engine.path(job) / "stdout").write_text("a sign of life")
    before = listing(engine.spool)
    assert prune(engine, states=["lost"]) == []
    assert listing(engine.spool) == before
    grow_old(engine, job, 0.5 * HOUR)
    assert prune(engine, states=["lost"]) == ids([job])
    assert removed(engine, job)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_removal_cut_short_is_gone_on_with(engine: Engine, steps: int) -> None:
    """After so many of its steps; by any prune, whatever that one is to remove."""
    job = old(engine, 1, "echo secret", name="one")
    path = engine.path(job)
    (path / "job.json").rename(path / "removed")
    if steps > 1:
        (engine.spool / job["ansible_job_id"]).unlink()
    for name in sorted((path.name for path in path.iterdir()), key="verdict.lock".__eq__)[: max(0, steps - 2)]:
        if name != "removed":
            (path / name).unlink()
    assert prune(engine, names=["other"], check=True) == []
    assert not removed(engine, job)
    assert prune(engine, names=["other"]) == []
    assert removed(engine, job)
    assert not list(engine.spool.glob("names/*/one"))


def test_a_killed_pruner_leaves_nothing_half(engine: Engine) -> None:
    """The next one finishes, and all that ended is gone."""
    job = old(engine, 2)
    jobs = [job, *(_copy(engine, job) for _number in range(200))]
    pruner = engine.launch(prune_request(engine, keep_last=0))
    wait_for(lambda: sum((engine.path(one) / "removed").exists() for one in jobs) > 20)
    pruner.send_signal(signal.SIGKILL)
    pruner.communicate()
    begun = {one["ansible_job_id"] for one in jobs if (engine.path(one) / "removed").exists()}
    assert len(begun) < len(jobs), "the pruner was faster than its killer"
    assert set(prune(engine, keep_last=0)) == {one["ansible_job_id"] for one in jobs} - begun
    assert all(removed(engine, one) for one in jobs)


def test_two_prunes_at_once(engine: Engine) -> None:
    """Each job is removed once, and told of by one of them."""
    job = old(engine, 2)
    jobs = [job, *(_copy(engine, job) for _number in range(100))]
    pruners = [engine.launch(prune_request(engine, keep_last=0)) for _number in range(2)]
    replies = [engine.finish(pruner) for pruner in pruners]
    told = [jid for reply in replies for jid in ids(reply["jobs"])]
    assert sorted(told) == sorted(ids(jobs))
    assert [reply["warnings"] for reply in replies] == [[], []]
    assert all(removed(engine, one) for one in jobs)


def test_a_start_removes_what_is_past_its_own_retain(engine: Engine) -> None:
    """Counted from the end; by nobody who may look at it only, and never what runs, is recent or is another host's."""
    past, kept = old(engine, 3, retain=2 * HOUR), old(engine, 3, retain=4 * HOUR)
    running = grow_old(engine, engine.start("exec sleep 60", retain=1.0), 3 * HOUR)
    theirs = give_away(engine, old(engine, 3, retain=HOUR))
    recent = engine.start("true", hold=10.0, retain=0.0)
    lost = engine.start("exec sleep 60", retain=2 * HOUR)
    for who in ("supervisor", "payload"):
        engine.kill(lost, who)
    grow_old(engine, lost, 3 * HOUR)
    engine.start("true", hold=10.0)
    assert removed(engine, past)
    assert removed(engine, lost)
    assert [engine.status(job)["job"]["state"] for job in (kept, running, theirs, recent)] == [
        "succeeded",
        "running",
        "succeeded",
        "succeeded",
    ]


def test_a_start_looks_at_a_few_of_many(engine: Engine) -> None:
    longer, job = old(engine, 3, retain=4 * HOUR), old(engine, 3, retain=2 * HOUR)
    jobs = [job, *(_copy(engine, job) for _number in range(30))]
    kept = [longer, *(_copy(engine, longer) for _number in range(30))]
    engine.start("true", hold=10.0)
    gone = sum(removed(engine, one) for one in jobs)
    assert 1 <= gone <= _prune.MOST
    for _start in range(200):
        _prune.sweep(str(engine.spool), time.time())
    assert all(removed(engine, one) for one in jobs)
    assert not any(removed(engine, one) for one in kept)


FAKETIME = sorted(Path("/usr").glob("lib*/faketime/libfaketime.so.1")) + sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@pytest.mark.skipif(not FAKETIME, reason="needs faketime")
def test_a_clock_that_jumps_a_day_ahead_and_back(engine: Engine, tmp_path: Path) -> None:
    """S26: limits are unaffected, and nothing is removed by an absurd age, neither by the verb nor by a start."""
    job = old(engine, 1, retain=2 * HOUR)
    clock = tmp_path / "clock"
    clock.write_text("+0")
    # As where the clock was set: files keep the times that they have, and the monotonic clocks go on.
    faked = {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
    # An old Python, since faketime now and then makes an invalid time (EINVAL) of the absolute ones that newer ones sleep until.
    engine.python = pythons.find()[min(pythons.find())].path
    real = dict(engine.environment)
    engine.environment.update(faked, LD_PRELOAD=str(FAKETIME[0]), DONT_FAKE_MONOTONIC="1")
    limited = engine.start("exec sleep 60", time_limit=3.0)
    unlimited = engine.start("exec sleep 60", time_limit=HOUR)
    clock.write_text("+1d")
    there = engine.start("true", hold=10.0, retain=2 * HOUR)
    assert there["job"]["started_at"] > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + HOUR)), "the clock is not faked"
    assert engine.status(unlimited)["job"]["overdue"] is False
    assert prune(engine, older_than=2 * HOUR) == []
    assert info(engine, older_than=2 * HOUR) == []
    found = engine.status(limited, hold=20.0)["job"]
    assert found["state"] == "timed_out"
    assert 2.9 < found["elapsed"] < 10.0
    clock.write_text("+0")
    engine.environment = real
    assert prune(engine, older_than=2 * HOUR) == []
    engine.start("true", hold=10.0)
    assert [engine.status(one)["job"]["state"] for one in (job, there, unlimited)] == ["succeeded", "succeeded", "running"]
    assert ids(info(engine, newer_than=0.5 * HOUR, states=["succeeded"], names=["*"])) == []
    assert prune(engine, older_than=0.5 * HOUR) == ids([job])


def _copy(engine: Engine, job: Job) -> Job:
    """Another ended job, as old as that one."""
    jid = engine.new_jid()
    shutil.copytree(engine.path(job), engine.spool / f"{jid}.d", symlinks=True)
    shutil.copy2(engine.spool / job["ansible_job_id"], engine.spool / jid)
    for path in (engine.spool / f"{jid}.d" / "job.json", engine.spool / jid):
        then = path.stat().st_mtime
        path.write_text(path.read_text().replace(job["ansible_job_id"], jid))
        os.utime(path, (then, then))
    return {"ansible_job_id": jid, "job": {**job["job"], "jid": jid}}
