# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a careful reader found that the engine did wrong, each kept from coming back: odd callers, odd inputs, odd disks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _commit, _disk, _ended, _hold, _record
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, alive, command, end_all, wait_for
from ansible_collections.longhaul.jobs.tools import pythons

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts and namespaces")
MOUNTED_ELSEWHERE = ("unshare", "--mount", "sh", "-c")


@needs_root
def test_a_repeat_looks_in_all_async_dirs(engine: Engine) -> None:
    """The first attempt's directory has become read-only meanwhile: the payload still runs once."""
    second, marker = engine.spool.parent / "second", engine.spool.parent / "ran"
    request = engine.start_request(command(cmd=f"echo x >> {marker}; sleep 0.3")) | {"async_dirs": [str(engine.spool), str(second)]}
    first = engine.call(request)["jobs"][0]
    engine.prefix = (
        *MOUNTED_ELSEWHERE,
        f'mount --bind {engine.spool} {engine.spool}; mount -o remount,bind,ro {engine.spool}; exec "$0" "$@"',
    )
    again = engine.call(request | {"attempt": 2, "ago": 1.0})["jobs"][0]
    engine.prefix = ()
    assert again["job"]["async_dir"] == first["job"]["async_dir"] == str(engine.spool)
    assert engine.status(first, hold=10)["job"]["state"] == "succeeded"
    assert (marker.read_text(), second.exists()) == ("x\n", False)


@needs_root
def test_a_limit_without_proc(engine: Engine) -> None:
    """An empty /proc is none: the payload's own process and group are ended, and nothing is called certain."""
    engine.prefix = (*MOUNTED_ELSEWHERE, 'mount -t tmpfs none /proc; exec "$0" "$@"')
    marker = f"sleep 6{os.getpid()}"
    done = engine.start(f"{marker} & {marker}", time_limit=0.5, grace=0.2, hold=10)
    engine.prefix = ()
    assert (done["job"]["state"], done["job"]["verified"]) == ("timed_out", False)
    assert subprocess.run(["pgrep", "-f", marker], stdout=subprocess.DEVNULL, check=False).returncode == 1


def test_an_explicit_cancel_ends_what_lives_of_a_lost_job(engine: Engine) -> None:
    """PROTOCOL 4, the last row."""
    job = engine.start("setsid sleep 60 & wait")
    wait_for(lambda: len(engine.processes()) == 3)
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    lost = engine.status(job)
    assert (lost["job"]["state"], len(lost["job"]["survivors"])) == ("lost", 1)
    done = engine.cancel(job, grace=0.2)
    assert (done["job"]["state"], done["changed"], done["failed"], done["job"]["survivors"]) == ("lost", True, False, [])
    assert engine.processes() == []
    assert engine.cancel(job)["changed"] is False


def test_a_module_that_goes_on_after_its_result_is_an_orphan(engine: Engine) -> None:
    """Its result alone is no end: it runs, its limit holds, and cancel ends it."""
    job = engine.start_module("print(json.dumps({'changed': True}), flush=True); time.sleep(60)", {})
    wait_for(lambda: (engine.path(job) / "result.raw").stat().st_size)
    engine.kill(job, "supervisor")
    assert engine.status(job)["job"]["state"] == "orphaned"
    assert engine.cancel(job, grace=0.2)["job"]["state"] == "cancelled"
    assert not alive(job["job"]["payload_pid"])


def test_half_a_pretty_printed_result_is_none(engine: Engine) -> None:
    code = "sys.stdout.write(json.dumps({'a': {'b': 1}, 'c': [{'d': 2}]}, indent=1)[:-3]); sys.stdout.flush()"
    code += "; import os; os.kill(os.getpid(), 9)"
    done = engine.start_module(code, {}, hold=10)
    assert (done["job"]["state"], done["job"]["cause"], done["job"]["signal"]) == ("failed", "signaled", "KILL")


def test_much_that_looks_like_a_result_does_not_hold_the_end(engine: Engine) -> None:
    code = "[sys.stdout.write(repr({'line': n, 'text': 'x' * 50}) + chr(10)) for n in range(100000)]; sys.exit(3)"
    began = time.monotonic()
    done = engine.start_module(code, {}, hold=30)
    assert (done["job"]["state"], done["job"]["rc"]) == ("failed", 3)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("text", ["\U0001f600", "\u6f22", "x", "\x00", "\ufffd"])
def test_a_short_end_fits_its_reserve(text: str) -> None:
    class Here:
        boot = host = None

    record = _record.blank("j1.1", "/spool", Here) | {"labels": {f"label{n}": text * 5000 for n in range(100)}}
    survivors = [{"pid": n, "user": "u", "command": text * 200} for n in range(1000)]
    result = {"stdout": text * 500_000, "stderr": text * 500_000, "rc": 4, "msg": text * 90_000}
    document = _ended.ended(record, None, "failed", "exited", result, survivors=survivors, reason=text * 90_000)
    short = _commit.short(document, command=True)
    assert len(json.dumps(short)) <= _commit.RESERVE
    assert (short["rc"], short["job"]["state"], short["finished"]) == (4, "failed", True)
    assert "file system was full" in short["stdout"]


def test_a_file_size_limit_does_not_hide_an_end(engine: Engine) -> None:
    engine.prefix = ("bash", "-c", 'ulimit -f 200; exec "$0" "$@"')
    done = engine.start("yes 0123456789 | head -c 150000; yes 0123456789 | head -c 150000 >&2; exit 3", hold=10)
    assert (done["job"]["state"], done["rc"]) == ("failed", 3)


@pytest.mark.parametrize(
    "given",
    [
        {"payload": command(cmd="echo \0")},
        {"payload": command(argv=["echo", "\0"])},
        {"payload": command(argv=["echo", "\ud800"])},
        {"payload": command(argv=[""])},
        {"payload": command(cmd="true", chdir="/\0")},
        {"payload": command(cmd="true"), "environment": {"A=B": "x"}},
        {"payload": command(cmd="true"), "environment": {"A": "\0"}},
        {"payload": command(cmd="true"), "environment": {"": "x"}},
    ],
)
def test_what_can_never_be_executed_is_refused(engine: Engine, given: dict[str, t.Any]) -> None:
    reply = engine.call(engine.start_request(given.pop("payload"), **given))
    assert reply["error"].endswith("nothing was started")
    assert list(engine.spool.iterdir()) == []


def test_an_old_python_in_the_c_locale(engine: Engine) -> None:
    oldest = next(iter(pythons.find().values()))
    engine.python = oldest.path
    engine.environment = {key: value for key, value in engine.environment.items() if not key.startswith(("LC_", "LANG"))} | {"LC_ALL": "C"}
    folder = engine.spool.parent / "é"
    folder.mkdir()
    engine.spool = folder / "spool"
    done = engine.start(command(cmd="echo ü $X; pwd", chdir=str(folder)), environment={"X": "ß"}, hold=10)
    assert done["stdout"] == f"ü ß\n{folder}"


def test_a_directory_with_other_things_in_it_keeps_its_mode(tmp_path: Path) -> None:
    for name, mode in (("program", 0o755), ("j1.1", 0o700), ("j123456789012.1.d", 0o700)):
        folder = tmp_path / f"of-{name}"
        folder.mkdir(mode=0o755)
        (folder / name).touch()
        assert _disk.for_start([str(folder)]) == str(folder)
        assert folder.stat().st_mode & 0o777 == mode


def test_a_reader_does_not_wait_for_who_enforces(engine: Engine) -> None:
    job = engine.start("trap '' TERM; while :; do sleep 0.1; done", time_limit=0.2, grace=4.0)
    engine.kill(job, "supervisor")
    time.sleep(0.3)
    request = engine.request("status", [job["ansible_job_id"]], options={"mode": "status"})
    enforcing = engine.launch(request)
    time.sleep(0.3)
    began = time.monotonic()
    other = engine.status(job)
    assert time.monotonic() - began < 3.5
    assert (other["finished"], other["job"]["overdue"]) == (False, True)
    assert engine.finish(enforcing)["jobs"][0]["job"]["state"] == "timed_out"
    assert engine.status(job)["job"]["state"] == "timed_out"


@pytest.mark.parametrize("trick", ["$SIG{CHLD}='IGNORE'", "close STDERR", "umask 0777", "umask 0277"])
def test_odd_callers(engine: Engine, trick: str) -> None:
    engine.prefix = ("perl", "-e", f"{trick}; exec @ARGV")
    done = engine.start("umask; echo out; echo err >&2", hold=10)
    mask = trick.removeprefix("umask ") if trick.startswith("umask") else f"{os.umask(os.umask(0o022)):04o}"
    assert (done["stdout"], done["stderr"]) == (f"{mask}\nout", "err")


def test_a_sleep_with_its_alarm_blocked(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    held = _disk.lock(str(tmp_path / "lock"), 0)
    assert held is not None
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    try:
        began = time.monotonic()
        _hold.sleep_on(str(tmp_path / "lock"), 0.2)
        assert time.monotonic() - began < 5
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        os.close(held)


def test_pipes_in_the_jobs_directory_hold_nobody(engine: Engine) -> None:
    job = engine.start("rm $OUT; mkfifo $OUT; sleep 0.2", environment={"OUT": str(engine.spool / "x")})
    engine.cancel(job)
    job = engine.start("cd $(dirname $LONGHAUL_PROGRESS); rm stdout; mkfifo stdout", hold=10)
    assert job["job"]["state"] == "succeeded"
    running = engine.start("exec sleep 60")
    (engine.path(running) / "lock").unlink()
    os.mkfifo(engine.path(running) / "lock")
    assert engine.status(running)["job"]["state"] == "running"


@needs_root
def test_what_cannot_be_read_is_not_called_lost(engine: Engine) -> None:
    engine.spool.parent.chmod(0o755)
    engine.spool.mkdir(mode=0o700)
    os.chown(engine.spool, 65534, 65534)
    engine.prefix, engine.python = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"), "/usr/bin/python3"
    if not Path(engine.python).exists():
        pytest.skip("no interpreter that every user may run")
    job = engine.start("exec sleep 60")
    (engine.path(job) / "job.json").chmod(0)
    found = engine.status(job)
    assert (found["job"]["state"], found["job"]["verified"]) == ("running", False)
    (engine.path(job) / "job.json").chmod(0o600)
    engine.path(job).chmod(0)
    assert engine.status(job)["job"]["state"] == "running"
    engine.path(job).chmod(0o700)
    assert engine.status(job)["job"]["verified"] is True


def test_one_odd_record_does_not_cost_the_others_their_answer(engine: Engine) -> None:
    odd, good = engine.start("exec sleep 60"), engine.start("exec sleep 60")
    record = json.loads((engine.path(odd) / "job.json").read_text())
    record.pop("time_limit")
    (engine.path(odd) / "job.json").write_text(json.dumps(record))
    jids = [odd["ansible_job_id"], good["ansible_job_id"]]
    answers = engine.call(engine.request("status", jids, options={"mode": "status"}))["jobs"]
    assert [answer["job"]["state"] for answer in answers] == ["running", "running"]
    assert [answer["job"]["verified"] for answer in answers] == [False, True]


def test_signals_by_their_usual_names(engine: Engine) -> None:
    assert engine.start("kill -ABRT $$", hold=10)["job"]["signal"] == "ABRT"


def test_a_cleanup_takes_folders_that_the_job_made(engine: Engine) -> None:
    done = engine.start("cd $(dirname $LONGHAUL_PROGRESS); mkdir -p sub/deeper; ln -s /etc sub/link; touch sub/file", hold=10)
    assert engine.status(done, mode="cleanup")["changed"] is True
    assert [path.name for path in engine.path(done).iterdir()] == ["removed"]
    assert Path("/etc/passwd").exists()


def test_only_one_of_two_cancels_has_changed_something(engine: Engine) -> None:
    options = {"signal": 15, "grace": 5.0, "reason": None, "by": "x"}
    for _round in range(5):
        job = engine.start("exec sleep 60")
        request = engine.request("cancel", [job["ansible_job_id"]], options=options)
        replies = [engine.finish(process)["jobs"][0] for process in [engine.launch(request) for _canceller in range(3)]]
        assert sorted(reply["changed"] for reply in replies) == [False, False, True]


def test_a_long_reason_is_cut(engine: Engine) -> None:
    job = engine.start("exec sleep 60")
    done = engine.cancel(job, reason="\U0001f600" * 100_000)
    assert (done["job"]["state"], done["job"]["reason"]) == ("cancelled", "\U0001f600" * 500)


@needs_root
def test_a_disk_that_fills_up_in_the_handshake(engine: Engine) -> None:
    """All that the handshake writes has been laid down before: it succeeds, or says why it does not."""
    engine.spool.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k,mode=700", "tmpfs", engine.spool], check=True)
    try:
        done = engine.start("echo ran", hold=10)
        assert done["job"]["state"] == "succeeded"
    finally:
        engine.clean_up()
        subprocess.run(["umount", engine.spool], check=True)


@needs_root
def test_hidden_processes_are_not_called_gone(sudoer: Engine) -> None:
    """hidepid: a payload that has become another user is not ours to see, and not taken for dead."""
    hide = 'mount -t proc -o hidepid=2 proc /proc; exec "$0" "$@"'  # a /proc of its own: a remount would be the machine's
    sudoer.prefix = (*MOUNTED_ELSEWHERE, hide, *sudoer.prefix)
    try:
        job = sudoer.start(command(argv=["sudo", "-n", "sleep", f"6{os.getpid()}"]))
        wait_for(lambda: subprocess.run(["pgrep", "-x", "sleep"], stdout=subprocess.DEVNULL, check=False).returncode == 0)
        done = sudoer.cancel(job, grace=0.2)
        assert done["failed"] is True
        assert done["job"]["survivors"]
        assert done["job"]["verified"] is False
    finally:
        end_all(f"sleep 6{os.getpid()}")


@pytest.mark.parametrize("spoil", ["rmdir {0}", "chmod 0 {0}"])
def test_a_working_directory_that_is_gone_or_cannot_be_read(engine: Engine, spoil: str) -> None:
    """As in the home of who has logged in, for another user: the job runs at home, as core's modules do then."""
    folder = engine.spool.parent / "left"
    folder.mkdir()
    user: tuple[str, ...] = ()
    if os.getuid() == 0:  # which may read everything
        engine.spool.mkdir(mode=0o700)
        os.chown(engine.spool, 65534, -1)
        engine.spool.parent.chmod(0o755)
        user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        engine.python = "/usr/bin/python3"
    engine.prefix = ("sh", "-c", f'mkdir -p {folder}; cd {folder} && {spoil.format(folder)} && exec "$0" "$@"', *user)
    expected = {os.path.expanduser("~"), "/tmp"}
    assert engine.start("pwd; ls >/dev/null", hold=10.0)["stdout"] in expected
