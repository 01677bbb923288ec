# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One damaged job costs no other its answer, its cancel or its start; and what cannot be read or be called off is said in a sentence."""

from __future__ import annotations

import json
import os
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _record
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, Job, alive, command
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.spool import HOUR, grow_old, ids, info, prune

CANCEL: dict[str, t.Any] = {"signal": 15, "grace": 1.0, "reason": None, "by": None}


def _cancel(engine: Engine, *jobs: dict[str, t.Any], **given: t.Any) -> list[Job]:
    reply = engine.call(engine.request("cancel", [], options=CANCEL) | {"jobs": list(jobs)} | given)
    assert "error" not in reply, reply
    return t.cast("list[Job]", reply["jobs"])


def _change(path: Path, **changes: t.Any) -> None:
    """Change what a JSON file says, and not its times."""
    before = path.stat()
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "damage",
    [
        {"started.json": {"clock": "x", "pid": 1}},
        {"job.json": {"labels": [1]}},
        {"job.json": {"created": "x", "boot": "y"}},
        {"job.json": {"supervisor": {"pid": -1, "start": None}}},
        {"": {"job": "x"}},
        {"": {"job": {"schema": 1, "elapsed": "x"}}},
    ],
    ids=str,
)
def test_a_damaged_job_is_nobody_elses_trouble(engine: Engine, damage: dict[str, dict[str, t.Any]]) -> None:
    job = grow_old(engine, engine.start("true", retain=HOUR, labels={"a": "b"}, hold=10.0), 2 * HOUR)
    for name, changes in damage.items():
        if isinstance(changes.get("job"), dict):
            changes["job"]["jid"] = job["ansible_job_id"]
        _change(engine.path(job) / name if name else engine.spool / job["ansible_job_id"], **changes)
    other = engine.start("sleep 60", labels={"a": "b"})
    assert other["job"]["state"] == "running"
    for filters in ({}, {"older_than": 0.0}, {"labels": {"a": "b"}}, {"newer_than": 10.0}, {"names": ["*"], "modules": ["s*"]}):
        found = ids(info(engine, **filters))
        assert other["ansible_job_id"] in found or "names" in filters, filters
    prune(engine)
    (ended,) = _cancel(engine, {"jid": other["ansible_job_id"]})
    assert (ended["changed"], ended["job"]["state"]) == (True, "cancelled")


@pytest.mark.parametrize("pid", [-1, 0, 1, True, "1"])
def test_a_record_that_names_no_process_is_none(pid: t.Any) -> None:
    """Who signals -1 ends all that there is."""
    record: dict[str, t.Any] = {**dict.fromkeys(_record.NEEDED), "schema": 1, "boot": {}, "host": {}, "supervisor": {"pid": 7, "start": 1}}
    assert _record.read(json.dumps(record).encode())[0] == record
    assert _record.read(json.dumps({**record, "supervisor": {"pid": pid, "start": None}}).encode()) == (None, False)
    assert _record.started(json.dumps({"pid": pid, "start": 1, "clock": 1.0}).encode()) is None


def test_a_search_that_would_not_end_is_given_up(engine: Engine) -> None:
    job = engine.start("echo " + "x" * 40, hold=10.0)
    options = {"stream": "stdout", "offset": 0, "lines": None, "grep": "(x+x+)+y", "limit": 1 << 20}
    options |= {"characters": True, "first": True, "end": None}
    began = time.monotonic()
    reply = engine.call(engine.request("log", [job["ansible_job_id"]], options=options))
    assert reply["error"].startswith("grep: the pattern takes longer than ")
    assert time.monotonic() - began < 40


def test_what_is_past_its_retain_is_not_reused(engine: Engine) -> None:
    """The start that would have answered with it removes it."""
    job = grow_old(engine, engine.start("true", name="setup", retain=HOUR, hold=10.0), 2 * HOUR)
    again = engine.start("true", name="setup", retain=HOUR, if_finished="reuse", hold=10.0)
    assert again["ansible_job_id"] != job["ansible_job_id"]
    assert engine.status(again)["job"]["state"] == "succeeded"
    assert engine.start("true", name="setup", retain=HOUR, if_finished="reuse")["ansible_job_id"] == again["ansible_job_id"]


def test_a_name_is_the_newest_of_all_async_dirs(engine: Engine) -> None:
    second = Engine(engine.spool.parent / "second")
    try:
        old = engine.start("true", name="n", hold=10.0)
        new = second.start("sleep 60", name="n")
        dirs = [str(engine.spool), str(second.spool)]
        for places in (dirs, dirs[::-1]):
            reply = engine.call(engine.request("status", [], options={"mode": "status"}) | {"async_dirs": places, "jobs": [{"name": "n"}]})
            assert ids(reply["jobs"]) == [new["ansible_job_id"]], f"not the old one, {old['ansible_job_id']}"
        (ended,) = _cancel(engine, {"name": "n"}, async_dirs=dirs)
        assert (ended["changed"], ended["ansible_job_id"]) == (True, new["ansible_job_id"])
    finally:
        second.clean_up()


def test_a_start_that_cannot_be_called_off_costs_the_others_nothing(engine: Engine) -> None:
    job = engine.start("sleep 60")
    late = {"jid": engine.new_jid(), "unanswered": True, "async_dir": "/etc/passwd"}
    refused, ended = _cancel(engine, late, {"jid": job["ansible_job_id"]})
    assert (refused["failed"], refused["changed"], ended["changed"]) == (True, False, True)
    assert refused["msg"] == f"the start of job {late['jid']} was not called off: the async dir /etc/passwd is not a directory"
    assert not alive(job["job"]["payload_pid"])


def test_a_record_is_of_the_job_whose_directory_it_is_in(engine: Engine) -> None:
    """Nor does a claim give a job a name that is not its own."""
    one = engine.start("sleep 60", name="one")
    two = engine.start("sleep 60", name="two")
    claim = next(engine.spool.glob("names/*/two"))
    claim.write_text(one["ansible_job_id"] + "\n")
    assert info(engine, [{"name": "two"}])[0]["ansible_job_id"] == two["ansible_job_id"]
    engine.start("true", name="two", if_running="replace")
    assert engine.status(one)["job"]["state"] == "running"
    (engine.path(two) / "job.json").write_bytes((engine.path(one) / "job.json").read_bytes())
    _cancel(engine, {"jid": two["ansible_job_id"]})
    assert engine.status(one)["job"]["state"] == "running"
    claim.write_text(two["ansible_job_id"] + "\n")
    refused = engine.call(engine.start_request(command(cmd="sleep 60"), name="two"))
    assert "is held by job" in refused["error"], "one that runs is not doubled, whatever its record says"
    os.kill(two["job"]["supervisor_pid"], 9)
    os.kill(two["job"]["payload_pid"], 9)


def test_what_was_called_off_goes_after_a_day(engine: Engine) -> None:
    engine.start("true", hold=10.0)
    jid = engine.new_jid()
    (off,) = _cancel(engine, {"jid": jid, "unanswered": True})
    assert (off["changed"], off["job"]["cause"]) == (True, "never_started")
    for hours, there in ((23, True), (25, False)):
        then = time.time() - hours * HOUR
        for path in (engine.spool / jid, engine.spool / f"{jid}.d", *(engine.spool / f"{jid}.d").iterdir()):
            os.utime(path, (then, then))
        engine.start("true", hold=10.0)
        assert (engine.spool / jid).exists() is there, hours


def test_a_lock_that_is_no_file_holds_nobody_up(engine: Engine) -> None:
    job = engine.start("sleep 60")
    lock = engine.path(job) / "lock"
    lock.unlink()
    os.mkfifo(lock)
    (ended,) = _cancel(engine, {"jid": job["ansible_job_id"]})
    assert ended["changed"] or ended["failed"]


def test_a_folder_in_a_job_files_place_is_not_removed(engine: Engine) -> None:
    engine.start("true", hold=10.0)
    folder = engine.spool / "j123456789012.1"
    folder.mkdir()
    (folder / "precious").write_text("x")
    prune(engine, include_core=True, names=["*"])
    engine.call(engine.request("status", [folder.name], options={"mode": "cleanup"}))
    assert (folder / "precious").exists()


def test_who_follows_a_no_log_job_is_not_answered_early(engine: Engine) -> None:
    job = engine.start("echo secret; sleep 60", no_log=True)
    options = {"return_when": "all_finished", "follow": {}}
    began = time.monotonic()
    reply = engine.call(engine.request("wait", [job["ansible_job_id"]], hold=3.0, options=options))
    assert time.monotonic() - began >= 3.0
    assert "secret" not in str(reply)


def test_a_job_without_a_fingerprint_is_not_attached_to(engine: Engine) -> None:
    """A record without a fingerprint, of an older collection, is other work."""
    job = engine.start("sleep 60", name="n")
    _change(engine.path(job) / "job.json", fingerprint=None)
    reply = engine.call(engine.start_request(command(cmd="sleep 60"), name="n"))
    assert "other work" in reply["error"]
