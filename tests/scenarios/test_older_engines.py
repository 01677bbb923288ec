# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S49: the collection is upgraded while jobs of an older one run, or have ended. The older engines are in the folder `older`,
as they were; they start the jobs for real, their supervisors go on, and today's modules are asked about them.
"""

from __future__ import annotations

import importlib.util
import json
import time
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.support import PYTHON, Run, Stage
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import NONCE, Engine, Job, alive, wait_for

OLDER = sorted((Path(__file__).parent / "older").glob("*.zip"))
# The state of each job once somebody has asked, and whether it then runs.
STATES = {
    "running": "running",
    "orphaned": "orphaned",
    "overdue": "timed_out",  # an orphan whose limit has passed: ended by who asks first
    "succeeded": "succeeded",
    "a-module": "succeeded",
    "failed": "failed",
    "timed-out": "timed_out",
    "cancelled": "cancelled",
    "lost": "lost",
    "rebooted": "lost",
    "called-off": "cancelled",
}
ALIVE = [name for name, state in STATES.items() if state in ("running", "orphaned")]
ENDED = [name for name in STATES if name not in ALIVE]
OUTPUT = "so far"


class OlderEngine(Engine):
    """An engine of an older collection, with that one's own way to send a program."""

    def __init__(self, archive: Path, folder: Path, spool: Path) -> None:
        super().__init__(spool, PYTHON)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        spec = importlib.util.spec_from_file_location(f"longhaul_older_{archive.stem}", folder / "plugins/plugin_utils/_program.py")
        assert spec is not None
        assert spec.loader is not None
        self.older = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.older)

    def program(self, request: dict[str, t.Any], payload: bytes = b"") -> bytes:
        return t.cast(bytes, self.older.build(request["verb"], request, NONCE, payload))


def make_jobs(engine: Engine) -> dict[str, Job]:
    """A job in each state, by its name."""

    def start(name: str, then: str, **options: t.Any) -> Job:
        return engine.start(f"echo {OUTPUT}; {then}", name=name, **options)

    jobs = {"overdue": start("overdue", "sleep 600; true", time_limit=3.0)}
    past_its_limit = time.monotonic() + 3.0
    engine.kill(jobs["overdue"], "supervisor")
    jobs.update((name, start(name, "sleep 600; true")) for name in ("running", "orphaned"))
    jobs["succeeded"] = start("succeeded", "true", hold=10)
    jobs["failed"] = start("failed", "exit 3", hold=10)
    jobs["timed-out"] = start("timed-out", "sleep 600; true", time_limit=0.5, hold=10)
    jobs["cancelled"] = start("cancelled", "sleep 600; true")
    engine.cancel(jobs["cancelled"])
    jobs["lost"] = start("lost", "sleep 600; true")
    jobs["rebooted"] = start("rebooted", "sleep 600; true")
    for name in ("orphaned", "lost", "rebooted"):
        engine.kill(jobs[name], "supervisor")
    for name in ("lost", "rebooted"):
        engine.kill(jobs[name], "payload")
    record = engine.path(jobs["rebooted"]) / "job.json"
    before = json.loads(record.read_text())
    record.write_text(json.dumps({**before, "boot": {**before["boot"], "id": "11111111-2222-3333-4444-555555555555"}}))
    jobs["called-off"] = engine.cancel(engine.new_jid(), unanswered=True)
    jobs["a-module"] = engine.start_module("", {"changed": True, "answer": 42}, name="a-module", hold=10)
    wait_for(lambda: time.monotonic() > past_its_limit)
    return jobs


class Upgraded:
    """A host with jobs of an older engine, and a play of today's collection."""

    def __init__(self, stage: Stage, archive: Path) -> None:
        self.stage = stage
        stage.add_local()
        self.engine = OlderEngine(archive, stage.folder / "older", stage.spool)
        self.jobs = make_jobs(self.engine)

    def play(self, tasks: str, rc: int = 0) -> Run:
        """Run these tasks; they have the ids of the jobs by name in `jids`."""
        jids = {name: job["ansible_job_id"] for name, job in self.jobs.items()}
        return self.stage.play(tasks, "-e", json.dumps({"jids": jids, "ended": ENDED, "alive": ALIVE}), rc=rc)

    def payloads_alive(self) -> list[str]:
        """The names of the jobs whose payloads live."""
        pids = {name: job["job"]["payload_pid"] for name, job in self.jobs.items()}
        return [name for name, pid in pids.items() if pid and alive(pid)]


@pytest.fixture(params=OLDER, ids=lambda archive: archive.stem)
def upgraded(stage: Stage, request: pytest.FixtureRequest) -> Upgraded:
    return Upgraded(stage, request.param)


def states(result: t.Any) -> dict[str, str]:
    """{jid: state} of a list of job results."""
    return {job["job"]["jid"]: job["job"]["state"] for job in result["jobs"]}


def expected(upgraded: Upgraded, **other: str) -> dict[str, str]:
    return {job["ansible_job_id"]: {**STATES, **other}[name] for name, job in upgraded.jobs.items()}


def test_asked_and_removed(upgraded: Upgraded) -> None:
    run = upgraded.play("""
        - name: Ask for all
          longhaul.jobs.async_status:
            jobs: "{{ jids.values() | list }}"
          failed_when: false

        - name: Ask by name
          longhaul.jobs.async_status:
            jobs: [failed, running]
          failed_when: false

        - name: Ask for one
          longhaul.jobs.async_status:
            jid: "{{ jids['a-module'] }}"

        - name: Remove what has ended
          longhaul.jobs.async_status:
            jobs: "{{ ended | map('extract', jids) | list }}"
            mode: cleanup

        - name: Do not remove what runs
          longhaul.jobs.async_status:
            jobs: "{{ alive | map('extract', jids) | list }}"
            mode: cleanup
          failed_when: false
    """)
    result = run.result("Ask for all")
    assert states(result) == expected(upgraded)
    for job in result["jobs"]:
        if job["job"]["name"] in ("succeeded", "failed", "timed-out", "lost"):
            assert job["stdout"] == OUTPUT
    assert [(job["job"]["name"], job["job"]["state"]) for job in run.result("Ask by name")["jobs"]] == [
        ("failed", "failed"),
        ("running", "running"),
    ]
    assert run.result("Ask for one")["answer"] == 42
    assert all("erased" in job for job in run.result("Remove what has ended")["jobs"])
    assert all("it was not removed" in job["msg"] for job in run.result("Do not remove what runs")["jobs"])
    assert upgraded.payloads_alive() == ALIVE


def test_waited_for(upgraded: Upgraded) -> None:
    run = upgraded.play("""
        - name: Wait for what has ended
          longhaul.jobs.async_wait:
            jobs: "{{ ended | map('extract', jids) | list }}"
            timeout: 30s
          failed_when: false

        - name: Wait for what runs
          longhaul.jobs.async_wait:
            jobs: "{{ alive | map('extract', jids) | list }}"
            timeout: 1s
          failed_when: false
    """)
    assert states(run.result("Wait for what has ended")) == {jid: s for jid, s in expected(upgraded).items() if s not in ALIVE}
    assert run.result("Wait for what has ended")["finished"] is True
    assert states(run.result("Wait for what runs")) == {upgraded.jobs[name]["ansible_job_id"]: name for name in ALIVE}
    assert run.result("Wait for what runs")["finished"] is False
    assert upgraded.payloads_alive() == ALIVE


def test_its_end_is_noticed_while_it_is_waited_for(upgraded: Upgraded) -> None:
    """The supervisor of the older engine writes the end, and today's verb holds on to its lock."""
    upgraded.jobs["short"] = upgraded.engine.start("sleep 2; echo done; exit 7", name="short")
    run = upgraded.play("""
        - name: Wait for it
          longhaul.jobs.async_wait:
            jobs: "{{ jids.short }}"
            timeout: 60s
          failed_when: false
    """)
    (job,) = run.result("Wait for it")["jobs"]
    assert (job["job"]["state"], job["rc"], job["stdout"]) == ("failed", 7, "done")


def test_cancelled(upgraded: Upgraded) -> None:
    run = upgraded.play("""
        - name: Cancel what runs
          longhaul.jobs.async_cancel:
            jobs: "{{ alive | map('extract', jids) | list }}"
            reason: an upgrade

        - name: Cancel the others
          longhaul.jobs.async_cancel:
            jobs: "{{ ended | map('extract', jids) | list }}"
          failed_when: false
    """)
    cancelled = run.result("Cancel what runs")
    assert [(job["job"]["state"], job["job"]["reason"], job["changed"]) for job in cancelled["jobs"]] == [
        ("cancelled", "an upgrade", True)
    ] * 2
    wait_for(lambda: not upgraded.payloads_alive())
    # An orphan that is past its limit is ended by the cancel.
    assert states(run.result("Cancel the others")) == {
        jid: s for jid, s in expected(upgraded, overdue="cancelled").items() if s not in ALIVE
    }
    assert upgraded.engine.status(upgraded.jobs["running"])["job"]["state"] == "cancelled"  # as the older engine reads it


def test_listed(upgraded: Upgraded) -> None:
    run = upgraded.play("""
        - name: List all
          longhaul.jobs.async_info:

        - name: List what runs
          longhaul.jobs.async_info:
            filters: {states: [running, orphaned]}

        - name: List some by name
          longhaul.jobs.async_info:
            filters: {names: 'l*'}
    """)
    # A listing writes and ends nothing, so the orphan that is past its limit is one still.
    assert states(run.result("List all")) == expected(upgraded, overdue="orphaned")
    assert sorted(job["job"]["name"] for job in run.result("List what runs")["jobs"]) == sorted([*ALIVE, "overdue"])
    assert [job["job"]["name"] for job in run.result("List some by name")["jobs"]] == ["lost"]
    assert sorted(upgraded.payloads_alive()) == sorted([*ALIVE, "overdue"])


def test_read(upgraded: Upgraded) -> None:
    run = upgraded.play("""
        - name: Read what they have written
          longhaul.jobs.async_log:
            jobs: "{{ ['running', 'orphaned', 'failed', 'lost'] | map('extract', jids) | list }}"
    """)
    assert [log["text"] for log in run.result("Read what they have written")["logs"]] == [f"{OUTPUT}\n"] * 4


def test_pruned(upgraded: Upgraded) -> None:
    # What ended in the last ten minutes stays unless it was named; so all are named, those that run too.
    run = upgraded.play("""
        - name: Prune what has ended
          longhaul.jobs.async_prune:
            filters: {names: "{{ jids.keys() | list }}"}

        - name: List what is left
          longhaul.jobs.async_info:
    """)
    pruned = {reference["name"] for reference in run.result("Prune what has ended")["pruned"]}
    assert pruned == {name for name in ENDED if name not in ("called-off", "overdue")}
    left = {job["job"]["name"] for job in run.result("List what is left")["jobs"]}
    assert set(ALIVE) <= left
    assert not left & pruned
    assert set(ALIVE) <= set(upgraded.payloads_alive())
