# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S14, S15, S27, S36: one job of a name on a host, whoever starts it, however often and at what time; also by two playbooks at once."""

from __future__ import annotations

import time
import typing as t

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.support import Json, Run, Stage
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import wait_for

NAMES = 200  # that two playbooks loop over
# Without a writer's end nothing gets past the opening of the gate, at no cost.
START = """
- name: Start
  longhaul.jobs.async_start:
    name: "{{ name_of_it }}"
    cmd: echo $LONGHAUL_JID >>{{ ran }}; read x <{{ ran }}.gate; echo let go
  register: started
"""
AT_ONCE = """
- name: Start
  longhaul.jobs.async_start:
    name: "name-{{ item }}"
    cmd: echo $LONGHAUL_JID >>{{ ran }}; read x <{{ ran }}.gate; echo let go
  loop: "{{ range(count | int) | list }}"
  loop_control: {label: "{{ item }}"}
  register: started

- name: Ask
  longhaul.jobs.async_status: {jobs: "{{ started }}"}
"""


@pytest.fixture
def ran(stage: Stage, bed: Bed) -> t.Iterator[str]:
    """The file on each host that the jobs write their ids to; before the end they are let go."""
    path = f"/var/tmp/{stage.folder.name}"
    for host in bed.hosts:
        stage.add_bed_host(bed, host, ran=path, name_of_it=f"of-{stage.folder.name}")
        bed.execute(host, "mkfifo", f"{path}.gate")
    yield path
    for host in bed.hosts:
        _let_go(bed, host, path)


def _let_go(bed: Bed, host: str, ran: str) -> None:
    """Open the gate, and leave it open."""
    bed.execute(host, "sh", "-c", f"mv {ran}.gate {ran}.old && touch {ran}.gate && exec 3<>{ran}.old && sleep 0.2")


def _lines(bed: Bed, host: str, path: str) -> list[str]:
    return bed.execute(host, "sh", "-c", f"cat {path} 2>/dev/null || true").split()


def test_a_play_that_is_run_twice(stage: Stage, bed: Bed, ran: str) -> None:
    """S14: one job, the second run attached, and unchanged; with poll it is followed to its end."""
    first = stage.play(START).result("Start", "h1")
    again = stage.play(START)
    second = again.result("Start", "h1")
    assert (first["changed"], first["job"]["attached"]) == (True, False)
    assert (second["changed"], second["job"]["attached"], second["started"], second["finished"]) == (False, True, True, False)
    assert second["ansible_job_id"] == first["ansible_job_id"]
    assert "changed=0" in again.output
    third = stage.begin(START.replace("  register", "    poll: 1\n  register"), PYTHONUNBUFFERED="1")
    third.wait_for(lambda: f"job {first['ansible_job_id']} (" in third.output)  # how to come back to the job attached to
    for host in bed.hosts:
        assert len(_lines(bed, host, ran)) == 1
        _let_go(bed, host, ran)
    ended = third.finish().result("Start", "h1")
    assert (ended["stdout"], ended["changed"], ended["job"]["attached"], ended["job"]["state"]) == ("let go", True, True, "succeeded")
    assert ended["ansible_job_id"] == first["ansible_job_id"]


@pytest.mark.parametrize("transport", ["direct", "module"])
def test_other_work_by_the_same_name(stage: Stage, bed: Bed, ran: str, transport: str) -> None:
    """S36. Replaced, the other is ended first."""
    stage.hosts["h1"]["longhaul_transport"] = transport
    other = START.replace("echo let go", "echo other")
    first = stage.play(START, hosts="h1").result("Start")
    refused = stage.play(other, hosts="h1", rc=2).result("Start")
    assert f"is held by job {first['ansible_job_id']}, which is running, with other work" in refused["msg"]
    assert "if_running: replace" in refused["msg"]
    assert refused["changed"] is False
    failed = stage.play(START.replace("  register", "    if_running: fail\n  register"), hosts="h1", rc=2).result("Start")
    assert f"held by job {first['ansible_job_id']}, which is running" in failed["msg"]
    assert len(_lines(bed, "h1", ran)) == 1
    replaced = stage.play(other.replace("  register", "    if_running: replace\n    grace: 1s\n  register"), hosts="h1").result("Start")
    assert (replaced["changed"], replaced["job"]["attached"]) == (True, False)
    wait_for(lambda: _lines(bed, "h1", ran) == [first["ansible_job_id"], replaced["ansible_job_id"]])
    look = f"""
    - name: Ask
      longhaul.jobs.async_status: {{jobs: ["{first["ansible_job_id"]}", "{{{{ name_of_it }}}}"]}}
      ignore_errors: true
    """
    old, new = stage.play(look, hosts="h1").result("Ask")["jobs"]
    assert (old["job"]["state"], old["job"]["reason"]) == ("cancelled", f"replaced by job {replaced['ansible_job_id']}")
    assert (new["job"]["state"], new["ansible_job_id"]) == ("running", replaced["ansible_job_id"])


def test_reuse(stage: Stage, bed: Bed, ran: str) -> None:
    """What has succeeded is not done again, if so asked; its result is there, and nothing has changed."""
    tasks = """
    - name: Start
      longhaul.jobs.async_start:
        name: "{{ name_of_it }}"
        cmd: echo $LONGHAUL_JID | tee -a {{ ran }}
        if_finished: reuse
        reuse_for: 1h
        poll: "{{ seconds }}"
    """
    first = stage.play(tasks, "-e", "seconds=5").result("Start", "h1")
    for seconds in (5, 0):
        again = stage.play(tasks, "-e", f"seconds={seconds}").result("Start", "h1")
        assert again["ansible_job_id"] == first["ansible_job_id"]
        assert (again["changed"], again["finished"], again["job"]["attached"]) == (False, True, True)
        assert again.get("stdout") == (first["stdout"] if seconds else None)
    assert _lines(bed, "h1", ran) == [first["stdout"]]


def test_another_controller_asks_by_name(stage: Stage, bed: Bed, ran: str) -> None:
    """S27: the one that has started it is killed; the other knows no more than the name."""
    first = stage.begin(START.replace("  register", "    poll: 1\n  register"), hosts="h1")
    first.wait_for(lambda: _lines(bed, "h1", ran))
    first.stop()
    (jid,) = _lines(bed, "h1", ran)
    look = """
    - name: Ask
      longhaul.jobs.async_status: {jobs: "{{ name_of_it }}"}
      register: ended
    """
    (job,) = stage.play(look, hosts="h1").result("Ask")["jobs"]
    assert (job["ansible_job_id"], job["job"]["state"]) == (jid, "running")
    _let_go(bed, "h1", ran)
    until = "  until: ended.finished\n      retries: 60\n      delay: 1\n"
    (job,) = stage.play(look.rstrip() + "\n    " + until, hosts="h1").result("Ask")["jobs"]
    assert (job["ansible_job_id"], job["stdout"], job["job"]["state"]) == (jid, "let go", "succeeded")


def test_fifty_starts_of_one_name(stage: Stage, bed: Bed, ran: str) -> None:
    """S15: fifty hosts of the inventory are one."""
    own = stage.hosts.pop("h1")
    stage.hosts.pop("h2")
    stage.hosts.update({f"n{number}": own for number in range(50)})
    run = stage.begin(START, "--forks", "50").finish()
    results = [run.result("Start", host) for host in stage.hosts]
    (jid,) = _lines(bed, "h1", ran)
    assert {result["ansible_job_id"] for result in results} == {jid}
    assert sorted(result["changed"] for result in results) == [False] * 49 + [True]


def _note(runs: list[Run], times: list[dict[str, float]]) -> bool:
    """Note when each run's loop was first and last heard of; whether both are through, or over."""
    for run, seen in zip(runs, times, strict=True):
        items = len([event for event in run.events if event["kind"].startswith("item_")])
        if items:
            seen.setdefault("begun", time.monotonic())
        if items == NAMES:
            seen.setdefault("through", time.monotonic())
    return all("through" in seen or run.process.poll() is not None for run, seen in zip(runs, times, strict=True))


def test_two_playbooks_with_the_same_names_at_once(stage: Stage, bed: Bed, ran: str) -> None:
    """As many jobs as names, and each is known by both."""
    runs = [stage.begin(AT_ONCE, "-e", f"count={NAMES}", hosts="h1") for _run in range(2)]
    times: list[dict[str, float]] = [{}, {}]
    wait_for(lambda: _note(runs, times), seconds=300)
    results: list[list[Json]] = [run.finish().result("Start")["results"] for run in runs]
    overlap = min(seen["through"] for seen in times) - max(seen["begun"] for seen in times)
    begun = [sum(not item["job"]["attached"] for item in items) for items in results]
    print(f"{NAMES} names: the loops overlapped for {overlap:.1f} s; jobs begun by the one and the other: {begun}")
    assert overlap > 0
    assert min(begun) > 0, "they have not raced for the names"
    ids = _lines(bed, "h1", ran)
    assert len(ids) == len(set(ids)) == NAMES == sum(begun)
    for one, other in zip(*results, strict=True):
        assert one["ansible_job_id"] == other["ansible_job_id"]
        assert one["ansible_job_id"] in ids
        assert {one["changed"], one["job"]["attached"]} == {other["changed"], other["job"]["attached"]} == {True, False}
        assert one["changed"] is other["job"]["attached"]
    for run in runs:
        assert {job["job"]["state"] for job in run.result("Ask")["jobs"]} == {"running"}
