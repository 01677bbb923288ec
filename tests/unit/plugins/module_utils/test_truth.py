# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of jobs whose supervisor, payload, files, host or disk came to harm: always the truth, and always an end."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _answer, _ended, _facts
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, Job, alive, command, wait_for

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, namespaces or other users")


def ended(job: Job) -> tuple[str, str | None]:
    assert job["finished"] is True
    return job["job"]["state"], job["job"]["cause"]


def read_core(path: Path) -> dict[str, t.Any]:
    """A job file as core's async_status reads it."""
    return t.cast(dict[str, t.Any], json.loads(path.read_text()))


def test_all_killed_is_lost_at_once(engine: Engine) -> None:
    """S1."""
    job = engine.start("echo some output; exec sleep 60")
    wait_for(lambda: (engine.path(job) / "stdout").stat().st_size)
    engine.kill(job, "supervisor")
    engine.kill(job, "payload")
    found = engine.status(job)
    assert ended(found) == ("lost", "exit_unknown")
    assert (found["failed"], found["stdout"], found["job"]["survivors"]) == (True, "some output", [])
    assert "is lost: its supervisor was killed" in found["msg"]
    assert found["job"]["ended_at"] is None
    assert read_core(engine.spool / job["ansible_job_id"]) == found
    assert engine.status(job) == found


def test_what_lives_of_a_lost_job_is_named_and_left_alone(engine: Engine) -> None:
    """S2: a job may have started a service; a cancel asked for afterwards changes nothing."""
    job = engine.start("sleep 60 & wait")
    engine.kill(job, "supervisor")
    engine.kill(job, "payload")
    found = engine.status(job)
    assert ended(found) == ("lost", "exit_unknown")
    assert [survivor["command"] for survivor in found["job"]["survivors"]] == ["sleep 60"]
    assert alive(found["job"]["survivors"][0]["pid"])


def test_an_orphan_is_orphaned_until_it_ends(engine: Engine) -> None:
    """S2, a command: how it ended is not known, its output is kept."""
    job = engine.start("echo before; while [ ! -e %s ]; do sleep 0.05; done; echo after" % (engine.spool.parent / "go"))
    engine.kill(job, "supervisor")
    found = engine.status(job)
    assert (found["finished"], found["job"]["state"]) == (False, "orphaned")
    (engine.spool.parent / "go").touch()
    found = engine.status(job, hold=10)
    assert ended(found) == ("lost", "exit_unknown")
    assert found["stdout"] == "before\nafter"


def test_an_orphaned_modules_result_is_recovered(engine: Engine) -> None:
    """S2, a module: what it printed is the end."""
    job = engine.start_module("time.sleep(0.6)", {"changed": False, "answer": 42})
    engine.kill(job, "supervisor")
    assert engine.status(job)["job"]["state"] == "orphaned"
    found = engine.status(job, hold=10)
    assert ended(found) == ("succeeded", "exited")
    assert found["answer"] == 42
    assert not (engine.path(job) / "result.raw").exists()


def test_an_orphaned_module_without_a_result_is_lost(engine: Engine) -> None:
    job = engine.start_module("time.sleep(60)", {})
    engine.kill(job, "supervisor")
    engine.kill(job, "payload")
    assert ended(engine.status(job)) == ("lost", "supervisor_killed")


def test_cancel_ends_an_orphan(engine: Engine) -> None:
    """S2."""
    job = engine.start("setsid sleep 60 & echo out; wait")
    wait_for(lambda: (engine.path(job) / "stdout").stat().st_size)
    engine.kill(job, "supervisor")
    found = engine.cancel(job)
    assert ended(found) == ("cancelled", "cancelled")
    assert (found["changed"], found["failed"], found["job"]["reason"]) == (True, False, "a test")
    assert engine.status(job)["stdout"] == "out"
    assert engine.processes() == []
    again = engine.cancel(job)
    assert (again["changed"], again["job"]["state"]) == (False, "cancelled")


def test_an_orphan_past_its_limit_is_ended_by_who_asks(engine: Engine) -> None:
    job = engine.start("trap 'echo trapped' TERM; while :; do sleep 0.1; done", time_limit=0.4, grace=0.2)
    engine.kill(job, "supervisor")
    assert engine.status(job)["job"]["state"] == "orphaned"
    time.sleep(0.5)
    in_check_mode = engine.status(job, check=True)
    assert (in_check_mode["finished"], in_check_mode["job"]["overdue"]) == (False, True)
    assert alive(job["job"]["payload_pid"])
    found = engine.status(job)
    assert ended(found) == ("timed_out", "time_limit")
    assert found["stdout"].startswith("trapped")
    assert engine.processes() == []


@pytest.mark.parametrize("content", [b"", b'{"started": true, "finis', b"\0\xff\xfe" * 100, b"[1, 2]", b"{" * 5000])
def test_a_job_file_that_cannot_be_read(engine: Engine, content: bytes) -> None:
    """S3: a clear state, of running, dead and core's jobs."""
    running = engine.start("sleep 60")
    dead = engine.start("exec sleep 60")
    for who in ("supervisor", "payload"):
        engine.kill(dead, who)
    for job in (running, dead):
        (engine.spool / job["ansible_job_id"]).write_bytes(content)
    assert engine.status(running)["job"]["state"] == "running"
    assert ended(engine.status(dead)) == ("lost", "exit_unknown")
    of_core = f"j{random.randrange(10**12):012d}.77"  # which no wrapper of core's has that runs here
    (engine.spool / of_core).write_bytes(content)
    found = engine.status(of_core)
    assert ended(found)[0] == "lost"
    assert found["failed"] is True


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 600, b"[]", b'{"schema": "x"}', b'{"schema": 1, "supervisor": 5}'])
def test_a_record_that_cannot_be_read(engine: Engine, content: bytes) -> None:
    job = engine.start("exec sleep 60")
    (engine.path(job) / "job.json").write_bytes(content)
    found = engine.status(job)
    assert (found["job"]["state"], found["job"]["verified"]) == ("running", False)
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    found = engine.status(job)
    assert ended(found) == ("lost", "corrupt_record")


def test_a_record_of_a_newer_schema(engine: Engine) -> None:
    """S45: one sentence, nothing written."""
    job = engine.start("exec sleep 60")
    record = json.loads((engine.path(job) / "job.json").read_text())
    (engine.path(job) / "job.json").write_text(json.dumps(record | {"schema": 2}))
    assert engine.status(job)["job"]["state"] == "running"
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    found = engine.status(job)
    assert "written by a newer longhaul.jobs" in found["msg"]
    assert not read_core(engine.spool / job["ansible_job_id"])["finished"]


@pytest.fixture
def small_disk(engine: Engine) -> t.Iterator[Path]:
    """A file system of 1 MiB that holds the spool."""
    engine.spool.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=64,mode=700", "tmpfs", engine.spool], check=True)
    try:
        yield engine.spool
    finally:
        engine.clean_up()
        subprocess.run(["umount", engine.spool], check=True)


def fill(folder: Path) -> None:
    """Take every block that is left."""
    with open(folder / "filler", "ab", buffering=0) as stream:
        for size in (65536, 4096, 1):
            try:
                while stream.write(b"x" * size):
                    pass
            except OSError:
                continue


@needs_root
@pytest.mark.parametrize("lines", [0, 500])
def test_a_full_disk_does_not_hide_an_end(engine: Engine, small_disk: Path, lines: int) -> None:
    """S4: the job writes 30 kB while the disk is full; also one that had written much before."""
    go = engine.spool.parent / "go"
    line = "x" * 99
    code = f"for n in $(seq {lines}); do echo {line}; done; echo ready >&2; while [ ! -e {go} ]; do sleep 0.02; done; "
    job = engine.start(code + f"for n in $(seq 300); do echo {line}; done; exit 4")
    wait_for(lambda: (engine.path(job) / "stderr").stat().st_size)
    fill(small_disk)
    go.touch()
    found = engine.status(job, hold=20)
    assert ended(found) == ("failed", "exited")
    assert found["rc"] == 4
    assert "file system was full" in found["stdout"]
    assert read_core(small_disk / job["ansible_job_id"])["finished"] is True


@needs_root
def test_a_modules_result_that_does_not_fit_is_a_failure(engine: Engine, small_disk: Path) -> None:
    """S4: cause no_space; the end itself is never lost."""
    go = engine.spool.parent / "go"
    code = f"import os\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
    job = engine.start_module(code + "print(json.dumps({'a': 'x' * 90000})); sys.exit(0)", {})
    fill(small_disk)
    go.touch()
    found = engine.status(job, hold=20)
    assert ended(found) == ("failed", "no_space")
    assert found["failed"] is True
    assert "no space left" in found["msg"]


@needs_root
def test_a_disk_without_inodes(engine: Engine, small_disk: Path) -> None:
    job = engine.start("sleep 0.5; echo done")
    number = 0
    try:
        while True:
            (small_disk / f"filler{number}").touch()
            number += 1
    except OSError:
        pass
    assert ended(engine.status(job, hold=20)) == ("succeeded", "exited")


@needs_root
def test_a_start_on_a_full_disk_is_refused(engine: Engine, small_disk: Path) -> None:
    fill(small_disk)
    marker = engine.spool.parent / "ran"
    reply = engine.call(engine.start_request(command(cmd=f"touch {marker}")))
    assert "No space left on device; nothing was started" in reply["error"]
    assert not marker.exists()
    assert {path.name for path in small_disk.iterdir()} == {"filler"}


def test_unknown(engine: Engine) -> None:
    """S11."""
    engine.spool.mkdir(mode=0o700)
    found = engine.status("j123456789012.1")
    assert (found["started"], found["finished"], found["failed"], found["job"]["state"]) == (False, True, True, "unknown")
    assert found["msg"] == f"could not find job j123456789012.1 in {engine.spool}"
    engine.spool.rmdir()
    assert "there is no async dir" in engine.status("j123456789012.1")["msg"]


def test_cleanup_takes_ended_jobs_only(engine: Engine) -> None:
    """S12."""
    running = engine.start("sleep 60")
    refused = engine.status(running, mode="cleanup")
    assert (refused["failed"], refused["finished"]) == (True, False)
    assert "is still running: it was not removed" in refused["msg"]
    assert engine.status(running)["job"]["state"] == "running"
    engine.cancel(running)
    assert "erased" in engine.status(running, mode="cleanup", check=True)
    assert engine.status(running)["job"]["state"] == "cancelled"
    done = engine.status(running, mode="cleanup")
    assert (done["erased"], done["changed"]) == (str(engine.spool / running["ansible_job_id"]), True)
    assert [path.name for path in engine.path(running).iterdir()] == ["removed"]
    assert engine.status(running)["job"]["state"] == "unknown"
    assert engine.status(running, mode="cleanup")["failed"] is True


def test_a_late_repeat_after_a_cleanup_does_not_run(engine: Engine) -> None:
    """PROTOCOL 3: the mark is kept for a day, then it goes."""
    request = engine.start_request(command(cmd="true"), hold=10)
    job = engine.call(request)["jobs"][0]
    engine.status(job, mode="cleanup")
    late = engine.call(request | {"attempt": 2})["jobs"][0]
    assert (late["started"], late["job"]["state"]) == (False, "unknown")
    two_days_ago = time.time() - 2 * 86400
    os.utime(engine.path(job), (two_days_ago, two_days_ago))
    (engine.spool / ".new-j1.1-abc").mkdir()
    os.utime(engine.spool / ".new-j1.1-abc", (two_days_ago, two_days_ago))
    (engine.spool / ".new-j1.1-def").mkdir()
    engine.start("true", hold=10)
    assert not engine.path(job).exists()
    assert not (engine.spool / ".new-j1.1-abc").exists()
    assert (engine.spool / ".new-j1.1-def").exists()


def test_a_cancel_of_a_start_that_was_never_answered(engine: Engine) -> None:
    """S33: a tombstone; the start that arrives after it is not carried out."""
    jid = engine.new_jid()
    marker = engine.spool.parent / "ran"
    assert engine.cancel(jid)["failed"] is True
    done = engine.cancel(jid, unanswered=True)
    assert (ended(done), done["started"], done["changed"], done["failed"]) == (("cancelled", "never_started"), False, True, False)
    late = engine.start(f"touch {marker}", jid=jid, hold=5)
    assert (late["started"], late["finished"], late["failed"], late["job"]["state"]) == (False, True, True, "cancelled")
    assert not marker.exists()


def test_cancel_of_an_unanswered_start_that_did_arrive(engine: Engine) -> None:
    job = engine.start("sleep 60")
    done = engine.cancel(job, unanswered=True)
    assert (ended(done), done["started"], done["changed"]) == (("cancelled", "cancelled"), True, True)
    assert engine.processes() == []


def test_cancel_of_an_ended_job_changes_nothing(engine: Engine) -> None:
    job = engine.start("echo out", hold=10)
    done = engine.cancel(job)
    assert (done["changed"], done["failed"], ended(done)) == (False, False, ("succeeded", "exited"))
    assert engine.status(job) == job


def test_two_cancels_at_once(engine: Engine) -> None:
    job = engine.start("trap 'sleep 0.3; exit 0' TERM; sleep 60 & wait")
    options = {"signal": 15, "grace": 5.0, "reason": None, "by": "x"}
    requests = [engine.request("cancel", [job["ansible_job_id"]], options=options | {"reason": str(n)}) for n in range(2)]
    replies = [engine.finish(process)["jobs"][0] for process in [engine.launch(request) for request in requests]]
    assert [reply["job"]["state"] for reply in replies] == ["cancelled"] * 2
    assert len({reply["job"]["reason"] for reply in replies}) == 1


def test_cancel_of_a_stopped_supervisor(engine: Engine) -> None:
    """S37: past its limit it is overdue; cancel takes over."""
    job = engine.start("echo out; sleep 60", time_limit=0.3, grace=0.1)
    engine.kill(job, "supervisor", signal.SIGSTOP)
    found = wait_for(lambda: [one for one in [engine.status(job)] if one["job"]["overdue"]])[0]
    assert (found["finished"], found["job"]["state"]) == (False, "running")
    done = engine.cancel(job, grace=0.2)
    assert (ended(done), done["changed"]) == (("cancelled", "cancelled"), True)
    assert engine.status(job)["stdout"] == "out"
    assert engine.processes() == []


def test_the_payloads_own_end_wins_over_a_cancel(engine: Engine) -> None:
    """Stopped in the moment of its end: what the payload did is the end."""
    job = engine.start("exec sleep 0.2")
    engine.kill(job, "supervisor", signal.SIGSTOP)
    wait_for(lambda: not alive(job["job"]["payload_pid"]))
    options = {"signal": 15, "grace": 5.0, "reason": None, "by": "x"}
    process = engine.launch(engine.request("cancel", [job["ansible_job_id"]], options=options))
    wait_for(lambda: (engine.path(job) / "cancel").read_bytes().rstrip(b"\0"))
    engine.kill(job, "supervisor", signal.SIGCONT)
    done = engine.finish(process)["jobs"][0]
    assert (ended(done), done["changed"]) == (("succeeded", "exited"), False)


def test_a_supervisor_told_to_terminate(engine: Engine) -> None:
    job = engine.start("trap 'echo bye; exit 0' TERM; echo hi; sleep 60 & wait", grace=10.0)
    wait_for(lambda: (engine.path(job) / "stdout").stat().st_size)
    engine.kill(job, "supervisor", signal.SIGTERM)
    found = engine.status(job, hold=10)
    assert ended(found) == ("failed", "supervisor_terminated")
    assert found["stdout"] == "hi\nbye"


def test_a_waiting_shell_is_told_before_its_child(engine: Engine) -> None:
    """Else the child's end wakes it first, and it goes on without its trap."""
    script = "trap 'echo trapped; exit 5' TERM; echo ready; sleep 60 & wait"
    jobs = [engine.start(script, grace=10.0) for _number in range(10)]
    wait_for(lambda: all((engine.path(job) / "stdout").stat().st_size for job in jobs))
    for job in jobs:
        engine.cancel(job, grace=10.0)
    done = [engine.status(job) for job in jobs]
    assert [(job["stdout"], job["rc"]) for job in done] == [("ready\ntrapped", 5)] * 10


def test_a_payload_killed_by_a_signal(engine: Engine) -> None:
    job = engine.start("echo out; kill -KILL $$", hold=10)
    assert ended(job) == ("failed", "signaled")
    assert (job["rc"], job["job"]["signal"], job["stdout"], job["msg"]) == (-9, "KILL", "out", "non-zero return code")


def test_a_limit_traps_term_and_keeps_the_output(engine: Engine) -> None:
    """S6."""
    found = engine.start("trap 'echo trapped; exit 5' TERM; echo line; sleep 60 & wait", time_limit=1.5, grace=10.0, hold=20)
    assert ended(found) == ("timed_out", "time_limit")
    assert (found["stdout"], found["rc"], found["failed"], found["changed"]) == ("line\ntrapped", 5, True, True)
    assert found["job"]["elapsed"] < 8
    assert "ran longer than its time limit of 1.5 s" in found["msg"]


@pytest.mark.parametrize("limit", [1, 2, 6, 12])
def test_a_limit_is_punctual(engine: Engine, limit: int) -> None:
    """S7: within half a second of the limit, the best of three."""
    jobs = [engine.start("exec sleep 60", time_limit=float(limit), grace=0.2) for _attempt in range(3)]
    late = [engine.status(job, hold=limit + 5)["job"]["elapsed"] - limit for job in jobs]
    assert 0 <= min(late) <= 0.5


def test_a_gigabyte_of_output(engine: Engine) -> None:
    """S24: head, tail and a mark; the supervisor holds none of it while it runs."""
    job = engine.start("echo first; yes 0123456789abcde | head -c 1073741824; echo last; sleep 0.5")
    wait_for(lambda: (engine.path(job) / "stdout").stat().st_size > 1 << 30, 60)
    memory = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{job['job']['supervisor_pid']}/status").read_text(), re.M)
    assert memory is not None
    assert int(memory.group(1)) < 24_000
    found = engine.status(job, hold=30)
    assert found["stdout"].startswith("first\n0123456789")
    assert found["stdout"].endswith("\nlast")
    left_out = (1 << 30) + 11 - (1 << 20)
    assert f"[longhaul.jobs: {left_out} bytes are left out here" in found["stdout"]
    assert found["job"]["stdout_bytes"] == (1 << 30) + 11


def test_output_that_is_not_utf_8(engine: Engine) -> None:
    """S45: marked in the result, kept in the log."""
    found = engine.start("printf 'a\\377b'", hold=10)
    assert found["stdout"] == "a\ufffdb"
    assert "not UTF-8" in found["warnings"][0]
    assert (engine.path(found) / "stdout").read_bytes() == b"a\xffb"


def test_a_result_of_50_megabytes(engine: Engine) -> None:
    """S45: cut with a mark; short keys stay."""
    found = engine.start_module("print(json.dumps({'big': 'x' * 50000000, 'n': 1})); sys.exit(0)", {}, hold=30)
    assert found["n"] == 1
    assert "bytes are left out here" in found["big"]
    assert len(found["big"]) < 1_100_000
    assert "was cut" in found["warnings"][0]
    found = engine.start_module("print(json.dumps({'many': list(range(6000000)), 'n': 1})); sys.exit(0)", {}, hold=30)
    assert (found["n"], found["many"][:24]) == (1, "[longhaul.jobs: left out")


def in_namespaces(*flags: str) -> tuple[str, ...]:
    return ("unshare", "--fork", "--pid", "--kill-child", "--mount-proc", *flags)


@needs_root
def test_a_restarted_container_is_noticed(engine: Engine) -> None:
    """S32: the same boot id, another pid namespace."""
    engine.prefix = in_namespaces()
    job = engine.start("exec sleep 60")  # the namespace ends with the starter, its pid 1
    engine.prefix = ()
    assert ended(engine.status(job)) == ("lost", "host_rebooted")


@needs_root
def test_a_job_of_another_host_is_foreign(engine: Engine) -> None:
    """S31: one home on two hosts; nothing of the job is touched."""
    other = in_namespaces("--uts", "sh", "-c", 'hostname elsewhere; exec "$0" "$@"')
    engine.prefix = other
    job = engine.start("exec sleep 60")
    engine.prefix = ()
    before = sorted(path.name for path in engine.path(job).iterdir())
    found = engine.status(job)
    assert (found["job"]["state"], found["failed"], found["started"], found["finished"]) == ("foreign", True, True, True)
    assert "is of another host, elsewhere" in found["msg"]
    assert engine.status(job, mode="cleanup")["failed"] is True
    assert engine.cancel(job)["failed"] is True
    assert sorted(path.name for path in engine.path(job).iterdir()) == before
    assert not read_core(engine.spool / job["ansible_job_id"])["finished"]


def _record_of(job: Job, engine: Engine) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], json.loads((engine.path(job) / "job.json").read_text()))


def test_a_reboot(engine: Engine) -> None:
    """S25, as far as a boot can be made here: the record is of another boot id. The test bed reboots hosts for real."""
    job = engine.start("exec sleep 60")
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    record = _record_of(job, engine)
    record["boot"]["boot_id"] = "another"
    (engine.path(job) / "job.json").write_text(json.dumps(record))
    assert ended(engine.status(job)) == ("lost", "host_rebooted")


@pytest.mark.parametrize("cut", [0, 10, None])
def test_an_end_that_lies_ready_is_adopted(engine: Engine, cut: int | None) -> None:
    """Killed between the write of end.new and its rename; what stands behind the document does not matter, half a one does."""
    job = engine.start("exec sleep 60")
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    record = _record_of(job, engine)
    document = json.dumps(_ended.ended(record, None, "succeeded", "exited", {"rc": 0, "stdout": "all"})).encode()
    behind = {0: b"\0" * 100, 10: b"xxxxxxxxxx"}.get(cut if cut is not None else -1, b"")
    (engine.path(job) / "end.new").write_bytes(document + behind if cut is not None else document[:-3])
    found = engine.status(job)
    if cut is None:
        assert ended(found) == ("lost", "exit_unknown")
    else:
        assert (ended(found), found["stdout"]) == (("succeeded", "exited"), "all")
    assert read_core(engine.spool / job["ansible_job_id"]) == found


def test_an_end_that_cannot_be_written_is_answered_all_the_same(engine: Engine) -> None:
    job = engine.start("exec sleep 60")
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    (engine.path(job) / "end.new").unlink()
    (engine.path(job) / "end.new").mkdir()
    assert ended(engine.status(job)) == ("lost", "exit_unknown")


def test_a_job_that_died_in_its_handshake_never_started(engine: Engine) -> None:
    job = engine.start("exec sleep 60")
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    (engine.path(job) / "started.json").unlink()
    (engine.spool / job["ansible_job_id"]).unlink()
    found = engine.status(job)
    assert (ended(found), found["started"]) == (("lost", "never_started"), False)


@needs_root
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_an_async_dir_that_others_may_write_is_refused(engine: Engine, mode: int) -> None:
    """S21."""
    engine.spool.mkdir()
    (engine.spool / "not a job's").touch()
    engine.spool.chmod(mode)
    reply = engine.call(engine.start_request(command(cmd="true")))
    assert f"is writable for others (mode {mode:04o}); nothing was started" in reply["error"]
    reply = engine.call(engine.request("status", ["j1.1"], options={"mode": "status"}))
    assert "is writable for others" in reply["error"]
    assert [path.name for path in engine.spool.iterdir()] == ["not a job's"]


@needs_root
def test_an_async_dir_that_a_login_has_made_writable_for_its_group_is_shut(engine: Engine) -> None:
    """Core makes it with the login's umask, 002 on many systems; a job of core's in it is found all the same."""
    engine.spool.mkdir()
    (engine.spool / "j1.1").write_text('{"started": true, "finished": false, "ansible_job_id": "j1.1"}')
    engine.spool.chmod(0o775)
    for request in (engine.request("info", ["j1.1"]), engine.request("status", ["j1.1"], options={"mode": "status"}, check=True)):
        assert engine.call(request)["jobs"][0]["job"]["state"] != "unknown"
        assert engine.spool.stat().st_mode & 0o777 == 0o775, "what only reads leaves it as it is"
    assert engine.status("j1.1")["job"]["state"] != "unknown"
    assert engine.spool.stat().st_mode & 0o777 == 0o700
    engine.spool.chmod(0o775)
    assert engine.start("true")["started"]
    assert engine.spool.stat().st_mode & 0o777 == 0o700


def test_what_core_has_cleaned_up_of_ours_goes_after_a_day(engine: Engine) -> None:
    """It takes the job file alone."""
    job = engine.start("true", hold=10.0)
    (engine.spool / job["ansible_job_id"]).unlink()
    engine.start("true")
    assert engine.path(job).exists()
    os.utime(engine.path(job), (0, 0))
    engine.start("true")
    assert not engine.path(job).exists()


@needs_root
def test_an_async_dir_of_another_user_is_refused(engine: Engine) -> None:
    """S21; a symbolic link is no way around it."""
    engine.spool.mkdir(mode=0o700)
    os.chown(engine.spool, 65534, 65534)
    link = engine.spool.parent / "link"
    link.symlink_to(engine.spool)
    for path in (engine.spool, link):
        request = engine.start_request(command(cmd="true")) | {"async_dirs": [str(path)]}
        assert "belongs to another user (uid 65534); nothing was started" in engine.call(request)["error"]


HOSTILE = ["../../x", "/etc/passwd", "j1.1\0", "j" * 4096, "j1.1/..", "j\u0661.\u0661", "", "j1", "j1.1.1", "J1.1", "j-1.1", ".new-j1.1"]


@pytest.mark.parametrize("jid", HOSTILE)
def test_hostile_ids(engine: Engine, jid: str) -> None:
    """S22: rejected before anything is opened."""
    engine.spool.mkdir(mode=0o700)
    for request in (
        engine.request("status", [jid], options={"mode": "status"}),
        engine.request("status", [jid], options={"mode": "cleanup"}),
        engine.request("cancel", [jid], options={"signal": 15, "grace": 1.0, "reason": None, "by": "x"}),
        engine.start_request(command(cmd="true"), jid=jid or "\n"),
    ):
        assert "is not a job id" in engine.call(request)["error"]
    assert list(engine.spool.iterdir()) == []


def test_files_that_are_not_plain_or_not_ours(engine: Engine) -> None:
    engine.spool.mkdir(mode=0o700)
    (engine.spool / "j1.1").symlink_to("/etc/passwd")
    os.mkfifo(engine.spool / "j1.2")
    for jid in ("j1.1", "j1.2"):
        found = engine.status(jid)
        assert (found["job"]["state"], found["failed"]) == ("lost", True)
        assert "root" not in json.dumps(found["msg"])


def as_user(name: str, *environment: str) -> tuple[str, ...]:
    return ("setpriv", f"--reuid={name}", "--regid=65534", "--clear-groups", "env", *environment)


@needs_root
@pytest.mark.parametrize("home", ["HOME=/nonexistent", "HOME=/root"])
def test_a_user_without_a_home_gets_the_fallback(engine: Engine, home: str) -> None:
    """S41: a uid without an entry in the password database, one of the test's own; start and status agree."""
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no interpreter that every user may run")
    uid = str(200_000 + os.getpid())
    fallback = Path(f"/var/tmp/.longhaul-{uid}")
    engine.prefix, engine.python = as_user(uid, home), "/usr/bin/python3"
    dirs = {"async_dirs": ["~/.ansible_async", None]}
    try:
        job = engine.call(engine.start_request(command(cmd="id -u"), hold=10.0) | dirs)["jobs"][0]
        assert (job["stdout"], job["job"]["async_dir"], job["job"]["user"]) == (uid, str(fallback), uid)
        request = engine.request("status", [job["ansible_job_id"]], options={"mode": "status"}) | dirs
        assert engine.call(request)["jobs"][0] == job
        request = engine.start_request(command(cmd="true")) | {"async_dirs": ["~/.ansible_async"]}
        assert "no async dir can be used" in engine.call(request)["error"]
    finally:
        shutil.rmtree(fallback, ignore_errors=True)


@needs_root
def test_another_user_gets_nothing(engine: Engine) -> None:
    """S20: neither read nor cancelled."""
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no interpreter that every user may run")
    engine.spool.parent.chmod(0o755)
    job = engine.start("sleep 60")
    engine.prefix, engine.python = as_user("nobody"), "/usr/bin/python3"
    for request in (
        engine.request("status", [job["ansible_job_id"]], options={"mode": "status"}),
        engine.request("cancel", [job["ansible_job_id"]], options={"signal": 15, "grace": 1.0, "reason": None, "by": "x"}),
    ):
        assert "belongs to another user" in engine.call(request)["error"]
    assert alive(job["job"]["payload_pid"])


CORES_WRAPPER = """
import sys, time
time.sleep(60)
"""


def test_cores_own_jobs_are_read(engine: Engine) -> None:
    """S30: running, ended, timed out, without proof of life; cleanup as core does it."""
    engine.spool.mkdir(mode=0o700)
    wrapper = engine.spool.parent / "async_wrapper.py"
    wrapper.write_text(CORES_WRAPPER)
    process = subprocess.Popen([sys.executable, wrapper, "j123456789012", "60", "false", "module"])
    unfinished = {"started": 1, "finished": 0, "ansible_job_id": "j123456789012.9"}
    try:
        (engine.spool / "j123456789012.9").write_text(json.dumps(unfinished))
        found = engine.status("j123456789012.9")
        assert (found["started"], found["finished"], found["job"]["state"], found["job"]["verified"]) == (True, False, "running", True)
        assert engine.status("j123456789012.9", mode="cleanup")["failed"] is True
    finally:
        process.kill()
        process.wait()
    found = engine.status("j123456789012.9")
    assert (found["job"]["state"], found["job"]["verified"]) in (("lost", True), ("running", False))
    assert json.loads((engine.spool / "j123456789012.9").read_text()) == unfinished
    (engine.spool / "j7.8").write_text(json.dumps({"changed": True, "stdout": "s", "rc": 0}))
    found = engine.status("j7.8")
    assert (ended(found), found["stdout"], found["started"], found["job"]["core"]) == (("succeeded", "exited"), "s", True, True)
    (engine.spool / "j7.9").write_text(json.dumps({"msg": "Timeout exceeded", "failed": True, "child_pid": 5}))
    assert ended(engine.status("j7.9")) == ("timed_out", "time_limit")
    assert engine.status("j7.9", mode="cleanup")["erased"] == str(engine.spool / "j7.9")
    assert engine.status("j7.9")["job"]["state"] == "unknown"


def test_no_reader_writes_in_check_mode(engine: Engine) -> None:
    job = engine.start("exec sleep 60")
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    before = {path: path.stat().st_mtime_ns for path in engine.spool.rglob("*")}
    assert ended(engine.status(job, check=True)) == ("lost", "exit_unknown")
    assert {path: path.stat().st_mtime_ns for path in engine.spool.rglob("*")} == before


def test_a_held_lock_without_its_supervisor_is_a_moment(engine: Engine) -> None:
    """A child that was just forked may hold the lock; after half a second it is said to run, unverified."""
    job = engine.start("exec sleep 60")
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    holder = subprocess.Popen(["flock", engine.path(job) / "lock", "sleep", "60"])
    try:
        wait_for(lambda: subprocess.run(["flock", "-n", engine.path(job) / "lock", "true"], check=False).returncode)
        found = engine.status(job)
        assert (found["job"]["state"], found["job"]["verified"]) == ("running", False)
    finally:
        subprocess.run(["kill", *Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()], check=True)
        holder.wait()
    assert ended(engine.status(job)) == ("lost", "exit_unknown")


def test_settle_is_the_same_for_every_reader(engine: Engine) -> None:
    """Twenty at once on a dead job: one end, told by all."""
    job = engine.start("exec sleep 60")
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    request = engine.request("status", [job["ansible_job_id"]], options={"mode": "status"})
    answers = [engine.finish(process)["jobs"][0] for process in [engine.launch(request) for _reader in range(20)]]
    assert all(ended(answer) == ("lost", "exit_unknown") for answer in answers)
    here = _facts.Here()
    assert _answer.settle(str(engine.spool), job["ansible_job_id"], here)[0] == engine.status(job)
