# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb wait: ends are noticed at once and without work, on real processes; what jobs write is told by whole lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, Job, alive, wait_for
from ansible_collections.longhaul.jobs.tools import pythons

Wait = subprocess.Popen[bytes]
WHEN = ("all_finished", "first_finished", "first_failed")
AT_ONCE = 0.3  # seconds
FOUND = pythons.find()


def _jobs(*jobs: Job | str) -> list[dict[str, str]]:
    """Names and job results as a request has them."""
    return [{"name": job} if isinstance(job, str) else {"jid": job["ansible_job_id"]} for job in jobs]


def _begin(engine: Engine, *jobs: Job | str, when: str = "all_finished", hold: float = 30.0, follow: t.Any = None, **more: t.Any) -> Wait:
    options = {"return_when": when, "follow": follow}
    return engine.launch(engine.request("wait", [], hold=hold, options=options, **more) | {"jobs": _jobs(*jobs)})


def _wait(engine: Engine, *jobs: Job | str, **given: t.Any) -> list[Job]:
    reply = engine.finish(_begin(engine, *jobs, **given))
    assert "error" not in reply, reply
    return t.cast("list[Job]", reply["jobs"])


def _states(jobs: list[Job]) -> list[str]:
    return [job["job"]["state"] for job in jobs]


def _gated(engine: Engine, number: int, rc: int = 0, **options: t.Any) -> Job:
    """A job that ends when its gate is opened."""
    return engine.start(f"while ! test -e {engine.spool}.{number}; do sleep 0.02; done; exit {rc}", **options)


def _open(engine: Engine, number: int) -> None:
    Path(f"{engine.spool}.{number}").touch()


def _until_ended(engine: Engine, job: Job) -> None:
    """Until the end stands in its file, without a look of the engine's."""
    path = engine.spool / job["ansible_job_id"]
    wait_for(lambda: json.loads(path.read_text())["finished"])


def _until_asleep(process: Wait) -> None:
    """Until the engine is in a system call that waits."""
    waits = ("flock", "locks_lock", "poll", "select")

    def sleeps() -> bool:
        if os.geteuid() == 0:
            return any(word in Path(f"/proc/{process.pid}/wchan").read_text() for word in waits)
        return time.monotonic() > began + 1.5

    began = time.monotonic()
    wait_for(sleeps)


def _cpu(pid: int) -> int:
    """Ticks of CPU that the process has used, its own and in the kernel."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


@pytest.mark.parametrize("when", WHEN)
def test_an_end_is_noticed_at_once_and_costs_nothing_until_then(engine: Engine, when: str) -> None:
    took = []
    for _round in range(3):  # best of 3: the machine may have other things to do
        for number in range(3):
            Path(f"{engine.spool}.{number}").unlink(missing_ok=True)
        jobs = [_gated(engine, number, rc=number) for number in range(3)]
        waiting = _begin(engine, *jobs, when=when)
        _until_asleep(waiting)
        before = _cpu(waiting.pid)
        time.sleep(1.0)
        assert _cpu(waiting.pid) - before <= 1, "it uses CPU while it waits"
        opened = {"all_finished": range(3), "first_finished": (2,), "first_failed": (0, 1)}[when]
        for number in opened:
            _open(engine, number)
            _until_ended(engine, jobs[number])
        ended = time.monotonic()
        found = engine.finish(waiting)["jobs"]
        took.append(time.monotonic() - ended)
        assert (
            _states(found)
            == {
                "all_finished": ["succeeded", "failed", "failed"],
                "first_finished": ["running", "running", "failed"],
                "first_failed": ["succeeded", "failed", "running"],
            }[when]
        )
        for number in set(range(3)) - set(opened):
            _open(engine, number)
    assert min(took) < AT_ONCE, took


@pytest.mark.parametrize("when", WHEN)
def test_without_an_end_it_is_answered_when_the_hold_is_over(engine: Engine, when: str) -> None:
    jobs = [engine.start("sleep 30"), engine.start("true")]
    began = time.monotonic()
    found = _wait(engine, *jobs, when=when, hold=1.0)
    took = time.monotonic() - began
    assert _states(found) == ["running", "succeeded"]
    assert took < 1.0 if when == "first_finished" else took >= 1.0
    assert found[0]["job"]["elapsed"] >= took - 1.0  # as it is by the end of the hold
    assert (found[1]["rc"], found[1]["stdout"]) == (0, "")


@pytest.mark.parametrize("when", WHEN)
def test_nobody_and_those_that_are_not_there_are_not_waited_for(engine: Engine, when: str) -> None:
    engine.start("true", hold=10.0)
    began = time.monotonic()
    assert _wait(engine, when=when) == []
    assert _states(_wait(engine, {"ansible_job_id": "j123456789012.1"}, "nobody", when=when)) == ["unknown", "unknown"]
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("when", WHEN)
def test_an_orphan_is_waited_for(engine: Engine, when: str) -> None:
    """S2: its end is nobody's to tell, and is written by who waits."""
    job = _gated(engine, 1)
    engine.kill(job, "supervisor")
    waiting = _begin(engine, job, when=when)
    time.sleep(0.5)
    assert waiting.poll() is None
    _open(engine, 1)
    wait_for(lambda: not alive(job["job"]["payload_pid"]))
    gone = time.monotonic()
    found = engine.finish(waiting)["jobs"][0]
    assert time.monotonic() - gone < 5
    assert (found["job"]["state"], found["job"]["cause"]) == ("lost", "exit_unknown")
    assert json.loads((engine.spool / job["ansible_job_id"]).read_text())["finished"] is True


@pytest.mark.parametrize("when", WHEN)
def test_a_supervisor_that_dies_meanwhile(engine: Engine, when: str) -> None:
    job = engine.start("exec sleep 60")
    waiting = _begin(engine, job, when=when)
    _until_asleep(waiting)
    engine.kill(job, "supervisor")
    time.sleep(0.5)
    assert waiting.poll() is None
    engine.kill(job, "payload")
    assert _states(engine.finish(waiting)["jobs"]) == ["lost"]


@pytest.mark.parametrize("when", WHEN)
def test_the_limit_of_an_orphan_is_enforced_while_it_is_waited_for(engine: Engine, when: str) -> None:
    job = engine.start("exec sleep 60", time_limit=2.0, grace=0.2)
    engine.kill(job, "supervisor")
    assert _states(_wait(engine, job, when=when)) == ["timed_out"]
    assert not alive(job["job"]["payload_pid"])


def test_check_mode_writes_no_end_and_ends_nothing(engine: Engine) -> None:
    """S38"""
    gone, overdue = engine.start("exec sleep 60"), engine.start("exec sleep 60", time_limit=1.0, grace=0.1)
    for who in ("supervisor", "payload"):
        engine.kill(gone, who)
    engine.kill(overdue, "supervisor")
    time.sleep(1.0)
    found = _wait(engine, gone, overdue, hold=0.0, check=True)
    assert _states(found) == ["lost", "orphaned"]
    assert found[1]["job"]["overdue"] is True
    assert alive(overdue["job"]["payload_pid"])
    assert json.loads((engine.spool / gone["ansible_job_id"]).read_text())["finished"] is False


def test_a_job_that_is_removed_meanwhile_is_waited_for_no_longer(engine: Engine) -> None:
    job = _gated(engine, 1)
    waiting = _begin(engine, job)
    _until_asleep(waiting)
    _open(engine, 1)
    wait_for(lambda: engine.status(job)["finished"])
    engine.status(job, mode="cleanup")
    assert _states(engine.finish(waiting)["jobs"])[0] in ("succeeded", "unknown")


def test_a_later_job_of_the_name_does_not_take_the_place_of_the_one_that_is_waited_for(engine: Engine) -> None:
    first = _gated(engine, 1, name="nightly")
    waiting = _begin(engine, "nightly")
    _until_asleep(waiting)
    _open(engine, 1)
    found = engine.finish(waiting)["jobs"]
    second = engine.start("sleep 30", name="nightly")
    assert [job["ansible_job_id"] for job in found] == [first["ansible_job_id"]]
    assert _states(found) == ["succeeded"]
    assert [job["ansible_job_id"] for job in _wait(engine, "nightly", hold=0.0)] == [second["ansible_job_id"]]


def test_a_job_that_is_replaced_meanwhile_has_been_waited_for(engine: Engine) -> None:
    first = engine.start("exec sleep 60", name="nightly")
    waiting = _begin(engine, "nightly")
    _until_asleep(waiting)
    second = engine.start("exec sleep 61", name="nightly", if_running="replace")
    found = engine.finish(waiting)["jobs"][0]
    assert (found["ansible_job_id"], found["job"]["state"]) == (first["ansible_job_id"], "cancelled")
    assert second["job"]["state"] == "running"


@pytest.mark.parametrize("version", [pytest.param(version, id=f"{version[0]}.{version[1]}") for version in FOUND])
@pytest.mark.parametrize("when", WHEN)
def test_with_and_without_pidfds(engine: Engine, version: tuple[int, int], when: str) -> None:
    job, other = _gated(engine, 1, rc=1), engine.start("sleep 60")
    engine.python = FOUND[version].path
    waiting = _begin(engine, *([job] if when == "all_finished" else [job, other]), when=when)
    time.sleep(0.5)
    _open(engine, 1)
    assert _states(engine.finish(waiting)["jobs"])[0] == "failed"


def test_many_are_answered_in_one_look(engine: Engine) -> None:
    jobs = [engine.start(f"sleep 0.{number}") for number in range(10)]
    assert _states(_wait(engine, *jobs)) == ["succeeded"] * 10


class Follower:
    """Looks, one after the other, and keeps what they tell."""

    def __init__(self, engine: Engine, job: Job) -> None:
        self.engine, self.job = engine, job
        self.offsets: list[int] | None = None
        self.text = ["", ""]
        self.more = False

    def look(self, hold: float = 10.0) -> Job:
        follow = {} if self.offsets is None else {self.job["ansible_job_id"]: self.offsets}
        found = _wait(self.engine, self.job, hold=hold, follow=follow)[0]
        output = found["job"].pop("output")
        self.offsets = [end for end, _text, _size in output]
        self.text = [before + text for before, (_end, text, _size) in zip(self.text, output, strict=True)]
        self.more = any(end < size for end, _text, size in output)
        return found


def test_what_a_job_writes_is_told_by_whole_lines(engine: Engine) -> None:
    gate = f"{engine.spool}."
    line = f"printf 'one\\ntw'; echo oops >&2; while ! test -e {gate}1; do sleep 0.02; done; printf 'o\\nthr\\303'; "
    job = engine.start(line + f"while ! test -e {gate}2; do sleep 0.02; done; printf '\\244'")
    follower = Follower(engine, job)
    began = time.monotonic()
    follower.look()
    assert 1.0 <= time.monotonic() - began < 9.0  # early, but not at once
    assert follower.text == ["one\n", "oops\n"]
    _open(engine, 1)
    follower.look()
    assert follower.text == ["one\ntwo\n", "oops\n"]
    assert not follower.look(hold=0.0)["finished"]
    _open(engine, 2)
    assert follower.look()["finished"]
    assert (follower.text, follower.more) == (["one\ntwo\nthrä", "oops\n"], False)


def test_no_line_is_lost_of_much_output(engine: Engine) -> None:
    gate = f"{engine.spool}.1"
    code = f"import os, time\nwhile not os.path.exists({gate!r}): time.sleep(0.02)\n"
    code += "for n in range(60000): print('line', n)\nprint('x' * 200000)\nprint('end', end='')"
    job = engine.start(f'{sys.executable} -c "{code}"')
    follower = Follower(engine, job)
    follower.look(hold=0.0)
    _open(engine, 1)
    wait_for(lambda: engine.status(job)["finished"])
    for _look in range(100):
        if follower.look()["finished"] and not follower.more:
            break
    assert follower.text[0] == "".join(f"line {n}\n" for n in range(60000)) + "x" * 200000 + "\nend"


def test_of_what_was_written_before_only_the_end_is_told(engine: Engine) -> None:
    job = engine.start("seq 1000000; sleep 30")
    wait_for(lambda: (engine.path(job) / "stdout").stat().st_size == 6888896)
    follower = Follower(engine, job)
    follower.look(hold=0.0)
    numbers = [int(word) for word in follower.text[0].split()]
    assert numbers == list(range(numbers[0], 1000001))
    assert 60000 < len(follower.text[0]) <= 65536


def test_the_output_of_a_no_log_job_is_not_told(engine: Engine) -> None:
    job = engine.start("echo secret", no_log=True, hold=10.0)
    assert "output" not in _wait(engine, job, follow={})[0]["job"]
