# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts by a name: one job of it on one host for one user, however many start it, and what becomes of the one that holds it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import shutil
import stat
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _claim, _facts
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, Job, alive, command, end_all, wait_for

NAME = "nightly"
HELD = ".*the name nightly is held by job {}, which is running"
STUBBORN = "trap '' TERM; echo x; while :; do sleep 1; done"


def claim(engine: Engine, name: str = NAME) -> Path:
    return Path(_claim.path(str(engine.spool), _facts.Here(), name))


def by_name(engine: Engine, cmd: str = "sleep 30", **options: t.Any) -> dict[str, t.Any]:
    """The reply to a start by the name."""
    return engine.call(engine.start_request(command(cmd=cmd), **{"name": NAME, **options}))


def started(engine: Engine, cmd: str = "sleep 30", **options: t.Any) -> Job:
    reply = by_name(engine, cmd, **options)
    assert "error" not in reply, reply
    return t.cast(Job, reply["jobs"][0])


def jobs_in(engine: Engine) -> list[str]:
    return [path.name[:-2] for path in engine.spool.glob("*.d")]


def test_a_start_by_a_name_claims_it(engine: Engine) -> None:
    """S20: modes and content of what is written besides."""
    job = started(engine)
    assert (job["job"]["name"], job["job"]["attached"]) == (NAME, False)
    assert claim(engine).read_text() == f"{job['ansible_job_id']}\n"
    for path in (engine.spool / "names", claim(engine).parent, claim(engine), engine.spool / ".key"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert (engine.spool / ".key").stat().st_size == 32
    record = json.loads((engine.path(job) / "job.json").read_text())
    assert len(record["fingerprint"]) == 32
    assert "fingerprint" not in job["job"]


def test_an_unnamed_start_claims_nothing(engine: Engine) -> None:
    job = engine.start("sleep 30")
    assert json.loads((engine.path(job) / "job.json").read_text())["fingerprint"] is None
    assert not (engine.spool / "names").exists()
    assert not (engine.spool / ".key").exists()


def test_attach(engine: Engine) -> None:
    """S14."""
    first = started(engine)
    second = started(engine)
    assert second["ansible_job_id"] == first["ansible_job_id"]
    assert (second["job"]["attached"], second["started"], second["finished"]) == (True, True, False)
    assert "changed" not in second
    assert jobs_in(engine) == [first["ansible_job_id"]]
    engine.cancel(first)
    third = started(engine)
    assert third["ansible_job_id"] != first["ansible_job_id"]
    assert third["job"]["attached"] is False
    assert claim(engine).read_text() == f"{third['ansible_job_id']}\n"


def test_attach_holds_until_the_end_of_the_one_attached_to(engine: Engine) -> None:
    started(engine, "sleep 1; echo done")
    ended = started(engine, "sleep 1; echo done", hold=20.0)
    assert (ended["finished"], ended["stdout"], ended["changed"], ended["job"]["attached"]) == (True, "done", True, True)


def test_attach_to_an_orphan_and_to_one_whose_record_says_nothing(engine: Engine) -> None:
    job = started(engine)
    engine.kill(job, "supervisor")
    assert started(engine)["job"]["state"] == "orphaned"
    record = json.loads((engine.path(job) / "job.json").read_text())
    (engine.path(job) / "job.json").write_text(json.dumps(record | {"fingerprint": None}))
    assert "if_running: replace" in by_name(engine)["error"]
    assert len(jobs_in(engine)) == 1


@pytest.mark.parametrize("other", [{"cmd": "sleep 31"}, {"cmd": "sleep 30", "cwd": "/tmp"}])
def test_other_work_is_refused(engine: Engine, other: dict[str, str]) -> None:
    """S36: other arguments, or the same in another directory."""
    job = started(engine)
    if "cwd" in other:
        engine.prefix = ("env", "-C", other["cwd"])
    error = by_name(engine, other["cmd"])["error"]
    assert f"the name nightly is held by job {job['ansible_job_id']}, which is running, with other work" in error
    assert "if_running: replace" in error
    assert error.endswith("nothing was started")
    assert jobs_in(engine) == [job["ansible_job_id"]]


def test_another_limit_is_the_same_work(engine: Engine) -> None:
    job = started(engine, time_limit=60.0)
    reply = by_name(engine, grace=3.0)
    assert reply["jobs"][0]["ansible_job_id"] == job["ansible_job_id"]
    start = f"job {job['ansible_job_id']}, which this start is attached to, keeps its "
    assert reply["warnings"] == [f"{start}time_limit: 60 s, not none", f"{start}grace: 1 s, not 3 s"]
    assert by_name(engine, time_limit=60.0)["warnings"] == []


def test_fail(engine: Engine) -> None:
    job = started(engine, if_running="fail")
    error = by_name(engine, "true", if_running="fail")["error"]
    assert error == f"the name nightly is held by job {job['ansible_job_id']}, which is running (if_running: fail); nothing was started"
    assert jobs_in(engine) == [job["ansible_job_id"]]
    engine.cancel(job)
    assert started(engine, "true", if_running="fail", hold=10.0)["job"]["state"] == "succeeded"


@pytest.mark.parametrize("cmd", ["sleep 30", STUBBORN])
def test_replace(engine: Engine, cmd: str) -> None:
    first = started(engine, cmd)
    second = started(engine, "sleep 31", if_running="replace", grace=0.3)
    assert second["ansible_job_id"] != first["ansible_job_id"]
    assert (second["job"]["state"], second["job"]["attached"]) == ("running", False)
    ended = engine.status(first)
    assert (ended["job"]["state"], ended["job"]["reason"]) == ("cancelled", f"replaced by job {second['ansible_job_id']}")
    assert not alive(first["job"]["payload_pid"])
    assert not alive(first["job"]["supervisor_pid"])
    assert claim(engine).read_text() == f"{second['ansible_job_id']}\n"


@pytest.mark.parametrize("who", ["supervisor", "payload"])
def test_replace_one_whose_supervisor_is_stopped_or_dead(engine: Engine, who: str) -> None:
    first = started(engine)
    engine.kill(first, "supervisor", 19 if who == "payload" else 9)
    second = started(engine, if_running="replace", grace=0.2)
    assert second["job"]["state"] == "running"
    assert engine.status(first)["job"]["state"] == "cancelled"
    assert not alive(first["job"]["payload_pid"])


def test_replace_is_refused_where_something_survives(sudoer: Engine) -> None:
    """What has become another user may not be signalled: two at once is what a name is to prevent."""
    deaf = f'trap "" TERM; : {random.randrange(10**9)}; while :; do sleep 1; done'
    try:
        first = started(sudoer, f"sudo -n sh -c '{deaf}' & sleep 60 & wait")
        wait_for(lambda: any(line.startswith("sh -c") and deaf in line for line in _command_lines()))
        error = by_name(sudoer, if_running="replace", grace=0.2)["error"]
        assert f"held by job {first['ansible_job_id']}, which could not be replaced: " in error
        assert deaf in error
        assert error.endswith("nothing was started")
        assert len(jobs_in(sudoer)) == 1
    finally:
        end_all(deaf)


def _command_lines() -> t.Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def test_reuse(engine: Engine) -> None:
    first = started(engine, "echo once", hold=10.0)
    again = started(engine, "echo once", if_finished="reuse")
    assert again["ansible_job_id"] == first["ansible_job_id"]
    assert (again["finished"], again["changed"], again["job"]["attached"], again["stdout"]) == (True, False, True, "once")
    assert started(engine, "echo once", if_finished="reuse", hold=10.0)["changed"] is False
    assert started(engine, "echo once", if_finished="reuse", reuse_for=60.0)["ansible_job_id"] == first["ansible_job_id"]
    other = started(engine, "echo other", if_finished="reuse", hold=10.0)
    assert (other["stdout"], other["job"]["attached"], other["changed"]) == ("other", False, True)
    assert started(engine, "echo other", hold=10.0)["ansible_job_id"] != other["ansible_job_id"], "restart is the default"


@pytest.mark.parametrize("cmd", ["exit 3", "sleep 9"])
def test_what_has_not_succeeded_is_not_reused(engine: Engine, cmd: str) -> None:
    first = started(engine, cmd, if_finished="reuse", time_limit=0.3 if cmd == "sleep 9" else None, hold=10.0)
    assert first["failed"] is True
    again = started(engine, cmd, if_finished="reuse", hold=0.1)
    assert again["ansible_job_id"] != first["ansible_job_id"]
    assert again["job"]["attached"] is False


def _change(path: Path, **values: t.Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _age(engine: Engine, job: Job, *, wall: float, boot: float) -> None:
    """Let the job have ended so many seconds ago, by the two clocks."""
    clock = time.clock_gettime(time.CLOCK_BOOTTIME) - boot - job["job"]["elapsed"]
    _change(engine.path(job) / "started.json", clock=clock)
    os.utime(job["results_file"], (time.time() - wall,) * 2)


@pytest.mark.parametrize(
    ("wall", "boot", "other_boot", "is_reused"),
    [
        (0, 0, False, True),
        (61, 61, False, False),
        (90000, 0, False, True),
        (-90000, 61, False, True),
        (0, 90000, False, True),
        (90000, 0, True, False),
        (30, 0, True, True),
    ],
)
def test_reuse_for(engine: Engine, wall: float, boot: float, other_boot: bool, is_reused: bool) -> None:
    """S26: the smaller of two ages counts, so that a wall clock a day ahead does not matter; of another boot only the wall clock tells."""
    first = started(engine, "echo once", hold=10.0)
    _age(engine, first, wall=wall, boot=boot)
    if other_boot:
        record = engine.path(first) / "job.json"
        _change(record, boot=json.loads(record.read_text())["boot"] | {"boot_id": "another"})
    again = started(engine, "echo once", if_finished="reuse", reuse_for=60.0)
    assert (again["ansible_job_id"] == first["ansible_job_id"]) is is_reused


def test_a_repeat_meets_its_own_job_whatever_the_claim_holds(engine: Engine) -> None:
    request = engine.start_request(command(cmd="true"), name=NAME, hold=10.0)
    first = engine.call(request)["jobs"][0]
    second = started(engine)
    for mode in ("attach", "fail", "replace"):
        again = engine.call(request | {"attempt": 2, "ago": 1.0, "options": request["options"] | {"if_running": mode}})["jobs"][0]
        assert again == first
    assert engine.status(second)["job"]["state"] == "running"


@pytest.mark.parametrize("content", [b"", b"\n", b"garbage\n", b"j1.1", b"../../etc/passwd\n", b"\xff\x00" * 500, b"j123456789012.9\n"])
def test_a_claim_that_names_nothing_is_free(engine: Engine, content: bytes) -> None:
    """A start that died between claim and rename, a torn write, and what somebody else has put there."""
    started(engine, "true", hold=10.0)
    claim(engine).write_bytes(content)
    job = started(engine)
    assert (job["job"]["state"], job["job"]["attached"]) == ("running", False)
    assert claim(engine).read_bytes() == f"{job['ansible_job_id']}\n".encode()


def test_the_claim_of_a_start_that_died_is_its_repeats(engine: Engine) -> None:
    request = engine.start_request(command(cmd="sleep 30"), name=NAME)
    started(engine, "true", hold=10.0)
    claim(engine).write_text(f"{request['jobs'][0]['jid']}\n")
    job = engine.call(request | {"attempt": 2, "ago": 1.0})["jobs"][0]
    assert (job["job"]["state"], job["job"]["attached"]) == ("running", False)


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_what_is_no_claim_is_refused(engine: Engine, kind: str) -> None:
    target = engine.spool.parent / "target"
    claim(engine).parent.mkdir(mode=0o700, parents=True)
    engine.spool.chmod(0o700)
    if kind == "folder":
        claim(engine).mkdir()
    elif kind == "pipe":
        os.mkfifo(claim(engine))
    else:
        claim(engine).symlink_to(target)
    if kind == "link":
        target.write_text("mine\n")
    assert by_name(engine)["error"].endswith("nothing was started")
    assert jobs_in(engine) == []
    assert [path.name for path in engine.spool.glob(".new*")] == []
    assert (target.read_text() == "mine\n") if kind == "link" else not target.exists()


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_key_that_was_cut_short_is_made_anew(engine: Engine, content: bytes) -> None:
    engine.spool.mkdir(mode=0o700)
    (engine.spool / ".key").write_bytes(content)
    (engine.spool / ".key").chmod(0o600)
    first = started(engine)
    assert (engine.spool / ".key").stat().st_size == 32
    assert started(engine)["ansible_job_id"] == first["ansible_job_id"]


def test_names_of_users_and_of_hosts_do_not_meet(engine: Engine) -> None:
    """S31. Another host is another folder of names; another user, another async dir."""
    job = started(engine)
    own = claim(engine)
    others = own.parent.parent / "0123456789abcdef0123456789abcdef"
    own.parent.rename(others)
    second = started(engine)
    assert second["ansible_job_id"] != job["ansible_job_id"]
    assert (others / NAME).read_text() == f"{job['ansible_job_id']}\n"
    other_user = Engine(engine.spool.parent / "other")
    try:
        assert started(other_user)["job"]["attached"] is False
    finally:
        other_user.clean_up()


def test_a_claim_that_names_a_foreign_job_is_free(engine: Engine) -> None:
    """S31: a machine that was cloned with its machine id has the same folder of names."""
    job = started(engine)
    record = engine.path(job) / "job.json"
    was = json.loads(record.read_text())
    _change(record, host=was["host"] | {"hostname": "elsewhere"}, boot=was["boot"] | {"boot_id": "another"})
    assert engine.status(job)["job"]["state"] == "foreign"
    assert started(engine, if_running="replace")["job"]["attached"] is False
    assert alive(job["job"]["payload_pid"])


def test_a_cleanup_takes_the_claim_along(engine: Engine) -> None:
    first = started(engine, "true", hold=10.0)
    second = started(engine, "true", hold=10.0)
    engine.status(first, mode="cleanup")
    assert claim(engine).read_text() == f"{second['ansible_job_id']}\n", "that names a newer job"
    engine.status(second, mode="cleanup")
    assert not claim(engine).exists()
    assert started(engine)["job"]["state"] == "running"


def test_a_cleanup_leaves_the_claim_of_who_starts_by_it(engine: Engine) -> None:
    job = started(engine, "true", hold=10.0)
    held = _claim.Claim(str(engine.spool), _facts.Here(), NAME)
    try:
        assert engine.status(job, mode="cleanup")["erased"]
        assert claim(engine).exists()
    finally:
        held.close()
    assert started(engine)["job"]["attached"] is False


def test_who_waits_for_a_claim_that_is_removed_claims_anew(engine: Engine) -> None:
    """Else what is locked is no longer the file that the next one finds."""
    started(engine, "true", hold=10.0)
    held = _claim.Claim(str(engine.spool), _facts.Here(), NAME)
    waiting = [engine.launch(engine.start_request(command(cmd="sleep 30"), name=NAME)) for _start in range(2)]
    for process in waiting:
        wait_for(functools.partial(_has_open, process.pid, claim(engine)))
    claim(engine).unlink()
    held.close()
    jids = {engine.finish(process)["jobs"][0]["ansible_job_id"] for process in waiting} | {started(engine)["ansible_job_id"]}
    assert len(jids) == len(_running(engine)) == 1


def _has_open(pid: int, path: Path) -> bool:
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{fd}") == str(path):
                return True
    return False


def test_a_claim_that_is_held_for_long_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    job = started(engine, "true", hold=10.0)
    held = _claim.Claim(str(engine.spool), _facts.Here(), NAME)
    source = _claim.__file__
    assert source is not None
    engine.status(job)  # who only asks does not wait
    patched = Path(source).read_text().replace("LOCK_SECONDS = 20.0", "LOCK_SECONDS = 0.2")
    from ansible_collections.longhaul.jobs.plugins.plugin_utils import _program

    known = _program._text
    _program._sources.cache_clear()
    monkeypatch.setattr(_program, "_text", lambda name: patched if name == "_claim" else known(name))
    try:
        assert by_name(engine)["error"] == "the name nightly is being started by another and that takes long; nothing was started"
        request = engine.start_request(command(cmd="true"), name=NAME, attempt=2, ago=1.0)
        assert f"ask for job {request['jobs'][0]['jid']}" in engine.call(request)["error"]
        assert jobs_in(engine) == [job["ansible_job_id"]]
    finally:
        _program._sources.cache_clear()
        held.close()


def _racing(engine: Engine, count: int, modes: tuple[str, ...]) -> tuple[list[Job], list[str]]:
    """Jobs and refusals of so many starts of one name at the same time."""
    requests = [engine.start_request(command(cmd="sleep 60"), name=NAME, if_running=modes[n % len(modes)], grace=0.2) for n in range(count)]
    replies = [engine.finish(process) for process in [engine.launch(request) for request in requests]]
    errors = [reply["error"] for reply in replies if "error" in reply]
    return [reply["jobs"][0] for reply in replies if "jobs" in reply], errors


def _running(engine: Engine) -> list[Job]:
    return [job for job in map(engine.status, jobs_in(engine)) if not job["finished"]]


@pytest.mark.parametrize("modes", [("attach",), ("attach", "fail")])
def test_fifty_at_once_are_one_job(engine: Engine, modes: tuple[str, ...]) -> None:
    """S15."""
    answers, errors = _racing(engine, 50, modes)
    assert len(jobs_in(engine)) == 1
    assert {job["ansible_job_id"] for job in answers} == set(jobs_in(engine))
    assert sum(not job["job"]["attached"] for job in answers) == 1
    assert len(answers) + len(errors) == 50
    assert (len(errors) > 20) is ("fail" in modes)
    assert all("(if_running: fail)" in error for error in errors)


def test_many_at_once_that_replace_each_other_leave_one(engine: Engine) -> None:
    answers, errors = _racing(engine, 20, ("attach", "fail", "replace", "replace"))
    assert all("(if_running: fail)" in error for error in errors), errors
    (running,) = _running(engine)
    assert claim(engine).read_text() == f"{running['ansible_job_id']}\n"
    known = {job["ansible_job_id"] for job in answers}
    assert known == set(jobs_in(engine))
    ended = [engine.status(jid)["job"]["state"] for jid in known - {running["ansible_job_id"]}]
    assert ended.count("cancelled") == len(ended) >= 8


def test_a_start_is_killed_at_some_moment_and_the_name_is_free_or_its_jobs(engine: Engine) -> None:
    for number in range(12):
        request = engine.start_request(command(cmd="sleep 60"), name=NAME)
        process = engine.launch(request)
        time.sleep(0.005 * number)
        process.kill()
        process.communicate()
        job = started(engine, "sleep 60")
        assert len(_running(engine)) == 1
        assert job["job"]["attached"] is (job["ansible_job_id"] == request["jobs"][0]["jid"])
        engine.cancel(job)
        shutil.rmtree(engine.spool)


def test_an_ended_job_of_another_host_is_not_removed(engine: Engine) -> None:
    """S31."""
    job = started(engine, "true", hold=10.0)
    record = engine.path(job) / "job.json"
    was = json.loads(record.read_text())
    _change(record, host=was["host"] | {"hostname": "elsewhere"}, boot=was["boot"] | {"boot_id": "another"})
    refused = engine.status(job, mode="cleanup")
    assert refused["failed"] is True
    assert "it was not removed" in refused["msg"]
    assert engine.status(job)["job"]["state"] == "succeeded"
    assert claim(engine).exists()
