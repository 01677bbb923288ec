# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and payloads: the handshake, idempotence, commands as core runs them, modules of every style."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _program
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, alive, command, wait_for

CORE_KEYS = {"ansible_job_id", "started", "finished", "results_file", "job"}


def test_a_command_runs_detached_and_its_result_comes_back(engine: Engine) -> None:
    started = engine.start("echo hello; echo oops >&2; sleep 0.2; exit 3", name="greet", labels={"team": "db"})
    assert (started["started"], started["finished"]) == (True, False)
    assert set(started) == CORE_KEYS
    assert started["job"]["state"] == "running"
    assert alive(started["job"]["supervisor_pid"])
    ended = engine.status(started, hold=10)
    assert (ended["started"], ended["finished"], ended["failed"]) == (True, True, True)
    assert (ended["rc"], ended["stdout"], ended["stderr"]) == (3, "hello", "oops")
    assert ended["msg"] == "non-zero return code"
    job = ended["job"]
    assert (job["state"], job["cause"], job["rc"], job["signal"]) == ("failed", "exited", 3, None)
    assert (job["name"], job["labels"], job["stdout_bytes"], job["stderr_bytes"]) == ("greet", {"team": "db"}, 6, 5)
    assert 0.2 <= job["elapsed"] < 5
    assert job["cpu_seconds"] >= 0
    assert job["peak_memory_bytes"] > 100_000
    assert job["started_at"] < job["ended_at"]
    wait_for(lambda: not alive(job["supervisor_pid"]))


def test_hold_answers_as_soon_as_the_job_has_ended(engine: Engine) -> None:
    ended = engine.start("sleep 0.3; echo done", hold=20)
    assert ended["finished"]
    assert ended["stdout"] == "done"
    assert engine.start("sleep 30", hold=0.3)["finished"] is False


def test_the_keys_of_a_command_are_cores(engine: Engine) -> None:
    ended = engine.start("true", hold=10)
    assert set(ended) - CORE_KEYS == {"changed", "cmd", "delta", "end", "msg", "rc", "start", "stderr", "stdout"}
    assert ended["changed"] is True
    assert ended["cmd"] == "true"
    assert engine.start(command(argv=["echo", "a b"]), hold=10)["cmd"] == ["echo", "a b"]


@pytest.mark.parametrize(
    ("given", "stdout"),
    [
        ({"cmd": "cat", "stdin": "in"}, "in"),
        ({"cmd": "cat | od -c | head -1", "stdin": "x", "stdin_add_newline": False}, "0000000   x"),
        ({"cmd": "cat; echo end"}, "end"),
        ({"cmd": "pwd", "chdir": "/usr"}, "/usr"),
        ({"cmd": "echo $0", "executable": "/bin/bash"}, "/bin/bash"),
        ({"argv": ["echo", "$GREETING", "~"]}, "hey {home}"),
        ({"argv": ["echo", "$GREETING"], "expand_argument_vars": False}, "$GREETING"),
        ({"cmd": "printf 'a\\n\\n'", "strip_empty_ends": False}, "a\n\n"),
        ({"cmd": "echo ran", "creates": "/etc/pass*"}, "skipped, since /etc/pass* exists"),
        ({"cmd": "echo ran", "removes": "/no/such"}, "skipped, since /no/such does not exist"),
        ({"cmd": "echo ran", "creates": "/no/such", "removes": "/etc/passwd"}, "ran"),
    ],
)
def test_arguments_of_command_and_shell(engine: Engine, given: dict[str, t.Any], stdout: str) -> None:
    engine.environment["GREETING"] = "hey"
    ended = engine.start(command(**given), hold=10)
    assert ended["stdout"] == stdout.replace("{home}", os.path.expanduser("~"))
    assert ended["changed"] is not stdout.startswith("skipped")
    assert ended["job"]["state"] == "succeeded"


def test_a_large_stdin_does_not_hold_the_start(engine: Engine) -> None:
    """More than any pipe takes: a process of its own feeds it."""
    ended = engine.start(command(cmd="sleep 0.2; wc -c", stdin="x" * 3_000_000), hold=20)
    assert ended["stdout"].strip() == "3000001"


def test_the_environment_is_the_payloads_alone(engine: Engine) -> None:
    environment = {"HOME": "/nowhere", "PYTHONSTARTUP": "/x", "COLOUR": 'it\'s "$x"'}
    ended = engine.start("printenv HOME COLOUR LONGHAUL_JID; dirname $LONGHAUL_PROGRESS", environment=environment, hold=10)
    jid = ended["ansible_job_id"]
    assert ended["stdout"].split("\n") == ["/nowhere", 'it\'s "$x"', jid, str(engine.path(ended))]
    assert ended["job"]["async_dir"] == str(engine.spool)


def test_what_a_payload_inherits(engine: Engine) -> None:
    """S46: no signal blocked or ignored, TERM least of all; stdin empty; umask, cwd and niceness as the starter's."""
    engine.prefix = ("nice", "-n", "5")
    code = "cat /proc/self/status | egrep 'Sig(Blk|Ign)'; umask; pwd; nice; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l"
    lines = engine.start(code, hold=10)["stdout"].split("\n")
    own = re.search(r"^SigIgn:\s+(\w+)", Path("/proc/self/status").read_text(), re.M)
    assert own is not None
    # What Python ignores, and what a shell does for its background jobs, is not handed on.
    of_python = sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT))
    assert [int(line.split()[1], 16) for line in lines[:2]] == [0, int(own.group(1), 16) & ~of_python]
    assert lines[2:] == [f"{os.umask(os.umask(0o022)):04o}", os.getcwd(), "5", "/dev/null", "4"]


def test_a_chdir_that_cannot_be_entered_starts_nothing(engine: Engine) -> None:
    reply = engine.call(engine.start_request(command(cmd="true", chdir="/no/such")))
    assert reply["error"] == ("Unable to change directory before execution: /no/such: No such file or directory; nothing was started")
    assert list(engine.spool.iterdir()) == []


@pytest.mark.parametrize("argv", [["no-such-command"], ["/no/such/command"], ["/etc"]])
def test_what_cannot_be_executed_never_started(engine: Engine, argv: list[str]) -> None:
    first = engine.start(command(argv=argv), hold=10)
    assert (first["started"], first["finished"], first["failed"]) == (False, True, True)
    assert first["msg"].startswith(f"Error executing {argv[0]}: ")
    assert first["rc"] > 0
    assert (first["job"]["state"], first["job"]["cause"]) == ("lost", "never_started")
    assert engine.status(first) == first


def test_a_repeated_start_meets_the_first(engine: Engine) -> None:
    """S33: one job, however often its start arrives; also at once, and after its end."""
    jid = engine.new_jid()
    marker = engine.spool.parent / "ran"
    request = engine.start_request(command(cmd=f"echo x >> {marker}; sleep 0.5"), jid=jid)
    racing = [engine.launch(request | {"attempt": number + 1}) for number in range(6)]
    replies = [engine.finish(process)["jobs"][0] for process in racing]
    assert {reply["ansible_job_id"] for reply in replies} == {jid}
    assert all(reply["started"] for reply in replies)
    ended = engine.status(jid, hold=10)
    assert ended["job"]["state"] == "succeeded"
    assert engine.call(request)["jobs"][0] == ended
    assert marker.read_text() == "x\n"
    assert [entry.name for entry in engine.spool.iterdir() if entry.name.startswith(".")] == []


def test_a_start_older_than_a_tombstone_is_refused(engine: Engine) -> None:
    reply = engine.call(engine.start_request(command(cmd="true"), attempt=2, ago=90000.0))
    assert "more than a day ago" in reply["error"]
    assert not engine.spool.exists()


def test_many_at_once(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda number: engine.start(f"echo {number}; sleep 0.1"), range(24)))
    answers = engine.call(engine.request("status", [job["ansible_job_id"] for job in jobs], hold=20, options={"mode": "status"}))["jobs"]
    assert [answer["stdout"] for answer in answers] == [str(number) for number in range(24)]


def test_modes_of_all_that_is_written(engine: Engine) -> None:
    """S19, S20: nothing of a job can be read by anybody else."""
    engine.environment["SECRET"] = "sesame"
    os.umask(os.umask(0))
    job = engine.start("sleep 5", no_log=True)
    found = [engine.spool, *engine.spool.rglob("*")]
    assert len(found) > 8
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert engine.status(job)["job"]["no_log"] is True
    for path in engine.path(job).iterdir():
        assert b"sleep 5" not in path.read_bytes()


def test_a_module_of_style_new(engine: Engine) -> None:
    started = engine.start_module("time.sleep(0.2)", {"changed": True, "who": "me"})
    assert started["finished"] is False
    ended = engine.status(started, hold=10)
    assert (ended["changed"], ended["who"], ended["job"]["state"], ended["job"]["module"]) == (True, "me", "succeeded", "test.module")
    assert not (engine.path(ended) / "result.raw").exists()


def test_a_large_module_comes_whole_and_is_never_on_the_disk(engine: Engine) -> None:
    for size in (200_000, 3_000_000):
        code = f"size = len({'x' * size!r}); print('noise before'); sys.stderr.write('warned')"
        ended = engine.start_module(code, {"failed": True, "msg": "no"}, hold=20)
        assert (ended["failed"], ended["msg"], ended["stderr"]) == (True, "no", "warned")
        assert ended["job"]["state"] == "failed"
        assert sum(path.stat().st_size for path in engine.path(ended).iterdir()) < 100_000


@pytest.mark.parametrize("words", [[], [sys.executable]])
def test_modules_of_file_styles(engine: Engine, words: list[str]) -> None:
    script = f"#!{sys.executable}\nimport json, sys\nprint(json.dumps({{'args': open(sys.argv[1]).read()}}))\n"
    payload = {"kind": "module", "style": "file", "words": words, "args": '{"a": 1}'}
    ended = engine.start(payload, script.encode(), hold=10)
    assert ended["args"] == '{"a": 1}'
    assert not {"module", "args"} & {path.name for path in engine.path(ended).iterdir()}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print('no json')", "the module left no result in JSON (rc 0)"),
        ("print('{\"half\": ')", "the module left no result in JSON (rc 1)"),
        ("sys.exit(7)", "the module left no result in JSON (rc 7)"),
        ("import os; os.kill(os.getpid(), 9)", "the module was ended by signal KILL and left no result"),
    ],
)
def test_a_module_that_leaves_no_result_has_failed(engine: Engine, code: str, expected: str) -> None:
    ended = engine.start_module(code + "\nsys.exit(1 if 'half' in %r else 0)" % code, None, hold=10)
    assert (ended["failed"], ended["job"]["state"], ended["msg"]) == (True, "failed", expected)


@pytest.mark.parametrize(
    ("result", "state"),
    [
        ({"rc": 7}, "failed"),
        ({"rc": 7, "failed": False}, "succeeded"),
        ({"rc": 0}, "succeeded"),
        ({"rc": "0"}, "succeeded"),
        ({}, "succeeded"),
    ],
)
def test_a_return_code_is_a_failure_by_cores_rule(engine: Engine, result: dict[str, t.Any], state: str) -> None:
    assert engine.start_module("", result, hold=10)["job"]["state"] == state


def test_a_modules_own_keys_are_untouched(engine: Engine) -> None:
    """S35: what clashes with core's keys or ours stands in job.result."""
    result = {"state": "directory", "elapsed": 3, "start": 1, "job": "mine", "started": "s", "finished": "f", "results_file": "r"}
    ended = engine.start_module("", result, hold=10)
    assert {key: ended[key] for key in ("state", "elapsed", "start")} == {"state": "directory", "elapsed": 3, "start": 1}
    assert ended["job"]["result"] == {"job": "mine", "started": "s", "finished": "f", "results_file": "r"}
    assert (ended["started"], ended["finished"]) == (True, True)


def test_nested_jobs_are_two(engine: Engine) -> None:
    """A job that starts a job: ending the outer one leaves the inner one alone."""
    inner = engine.start_request(command(cmd="sleep 30"))
    program = engine.spool.parent / "inner.py"
    program.parent.mkdir(exist_ok=True)
    program.write_bytes(engine.program(inner))
    outer = engine.start(f"{sys.executable} -ISE - < {program}; sleep 30")
    wait_for(lambda: engine.status(inner["jobs"][0]["jid"])["started"])
    assert engine.cancel(outer)["job"]["state"] == "cancelled"
    found = engine.status(inner["jobs"][0]["jid"])
    assert found["job"]["state"] == "running"
    assert alive(found["job"]["payload_pid"])


def test_a_daemon_that_a_job_leaves_behind_lives(engine: Engine) -> None:
    """S42."""
    ended = engine.start("setsid sleep 30 > /dev/null 2>&1 & echo $!", hold=10)
    pid = int(ended["stdout"])
    assert (ended["job"]["state"], ended["job"]["survivors"]) == ("succeeded", [])
    wait_for(lambda: not alive(ended["job"]["supervisor_pid"]))
    assert alive(pid)


def test_the_supervisor_sleeps_and_is_small(engine: Engine) -> None:
    """Without a limit nothing wakes it."""
    job = engine.start("sleep 30")
    pid = job["job"]["supervisor_pid"]

    def switches() -> int:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

    wait_for(lambda: Path(f"/proc/{pid}/wchan").exists())
    before = wait_for(lambda: _settled(switches))
    time.sleep(1)
    assert switches() == before
    assert Path(f"/proc/{pid}/comm").read_text().strip() == "longhaul-job"
    assert os.readlink(f"/proc/{pid}/cwd") == "/"


def _settled(read: t.Callable[[], int]) -> int | None:
    first = read()
    time.sleep(0.3)
    return first if read() == first else None


def test_a_start_by_a_fresh_interpreter(engine: Engine) -> None:
    """The module way: the starter has imported much, so the supervisor is a process of its own making."""
    code = (
        "import json, sys; from ansible_collections.longhaul.jobs.plugins.module_utils._boot import answer;"
        "from ansible_collections.longhaul.jobs.plugins.module_utils._verbs import start;"
        "sys.stdout.write(json.dumps(answer(start.run, json.load(sys.stdin), payload=b'')))"
    )
    request = engine.start_request(command(cmd="echo fresh; ls /proc/self/fd | wc -l; sleep 0.1"), hold=10)
    words = [sys.executable, "-c", code]
    environment = engine.environment | {"PYTHONPATH": str(_program.ENGINE.parents[4])}
    done = subprocess.run(words, input=json.dumps(request), capture_output=True, text=True, check=True, env=environment, timeout=30)
    ended = json.loads(done.stdout)["jobs"][0]
    assert (ended["stdout"], ended["job"]["state"]) == ("fresh\n4", "succeeded")


def test_a_start_whose_program_is_ended_leaves_one_truth(engine: Engine) -> None:
    """S33: SIGKILL of the starter at some moment; the repeat answers, and the job ran once."""
    for number in range(12):
        marker = engine.spool.parent / f"ran{number}"
        request = engine.start_request(command(cmd=f"echo x >> {marker}"))
        process = engine.launch(request)
        time.sleep(0.004 * number)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        answer = engine.call(request | {"attempt": 2, "ago": 0.1, "hold": 10.0})["jobs"][0]
        assert answer["job"]["state"] == "succeeded", answer
        assert marker.read_text() == "x\n"
    assert [entry.name for entry in engine.spool.iterdir() if entry.name.startswith(".")] == []
