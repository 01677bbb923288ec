# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S31: two hosts with one home. The jobs of h1 are foreign to h2, which leaves them alone, and starts its own beside them."""

from __future__ import annotations

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.faults.core_fails import TABLE
from ansible_collections.longhaul.jobs.tests.scenarios.support import Json, Stage
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import wait_for

HOME = "/home/free"
SPOOL = f"{HOME}/.ansible_async"
# All files of a job, with inode numbers, times and sums.
FILES = "cd {spool} && ls -lid --full-time {jid} {jid}.d {jid}.d/* && sha1sum {jid} {jid}.d/*"
START = """
- name: Start
  longhaul.jobs.async_start: {cmd: echo begun; sleep 3600}
  register: started

- name: Start core's
  ansible.builtin.command: sleep 3600
  async: 3600
  poll: 0
"""
# h2 asks in every way and cleans up; then h1 judges; then h2 asks again. What is on the disk, before and after h2 was at it.
ASK = """
- name: Before
  ansible.builtin.raw: "{{ files }}"
  when: inventory_hostname == 'h2'

- name: Ask
  longhaul.jobs.async_status: {jid: "{{ jid }}"}
  register: ended
  until: ended.finished
  retries: 3
  delay: 1
  ignore_errors: true
  when: inventory_hostname == 'h2'

- name: Ask in a list
  longhaul.jobs.async_status: {jobs: "{{ jid }}"}
  ignore_errors: true
  when: inventory_hostname == 'h2'

- name: Clean up
  longhaul.jobs.async_status: {jid: "{{ jid }}", mode: cleanup}
  ignore_errors: true
  when: inventory_hostname == 'h2'

- name: After
  ansible.builtin.raw: "{{ files }}"
  when: inventory_hostname == 'h2'

- name: Judge
  longhaul.jobs.async_status: {jid: "{{ jid }}"}
  ignore_errors: true
  when: inventory_hostname == 'h1'

- name: Ask again
  longhaul.jobs.async_status: {jid: "{{ jid }}"}
  ignore_errors: true
  when: inventory_hostname == 'h2'
"""


@pytest.fixture(scope="module")
def home(bed: Bed) -> Bed:
    """The bed, in which free has the same home on both hosts."""
    bed.share(HOME, *bed.hosts)
    return bed


@pytest.fixture
def jobs(home: Bed, stage: Stage) -> dict[str, Json]:
    """A job of ours and one of core's on h1: the results of their starts."""
    for host in home.hosts:
        stage.add_bed_host(home, host, "free")
    run = stage.play(START, hosts="h1")
    found = {"ours": run.result("Start"), "core": run.result("Start core's")}
    jid = found["ours"]["ansible_job_id"]
    for host in home.hosts:
        stage.hosts[host].update(jid=jid, core=found["core"]["ansible_job_id"], files=FILES.format(spool=SPOOL, jid=jid))
    return found


def _kill(bed: Bed, pid: int) -> None:
    bed.execute("h1", "kill", "-KILL", str(pid))
    wait_for(lambda: not bed.execute("h1", "sh", "-c", f"cat /proc/{pid}/stat 2>/dev/null | grep -v ' Z ' || true"))


def _judged(stage: Stage) -> tuple[Json, Json]:
    """What h1 says of the job, after h2 has found it foreign and left it alone; and what h2 says then."""
    run = stage.play(ASK)
    (look,) = run.of("Ask", "h2")
    cleaned = run.result("Clean up", "h2")
    for job in (look["result"], *run.result("Ask in a list", "h2")["jobs"], cleaned):
        assert (job["started"], job["finished"], job["job"]["state"]) == (True, True, "foreign")
        assert f"{job['ansible_job_id']} is of another host, h1," in job["msg"]
        assert "\n" not in job["msg"]
    assert "erased" not in cleaned
    assert {run.last(task, "h2")["kind"] for task in ("Ask", "Ask in a list", "Clean up")} == {"failed"}
    assert run.result("Before", "h2")["stdout"] == run.result("After", "h2")["stdout"]
    return run.result("Judge", "h1"), run.result("Ask again", "h2")


def test_the_jobs_of_another_host_are_foreign(home: Bed, jobs: dict[str, Json], stage: Stage) -> None:
    """Whatever becomes of it, h2 writes no end for it and removes nothing of it; h1 judges, and that end stands for h2 too."""
    own, other = _judged(stage)
    assert (own["job"]["state"], other["job"]["state"]) == ("running", "foreign")
    _kill(home, jobs["ours"]["job"]["supervisor_pid"])
    own, other = _judged(stage)
    assert (own["job"]["state"], other["job"]["state"]) == ("orphaned", "foreign")
    _kill(home, jobs["ours"]["job"]["payload_pid"])
    for ended in _judged(stage):
        assert (ended["job"]["state"], ended["job"]["cause"], ended["stdout"]) == ("lost", "exit_unknown", "begun")


def test_each_host_has_jobs_of_its_own(home: Bed, jobs: dict[str, Json], stage: Stage) -> None:
    """Side by side in one async dir. Core judges by what it sees: it removes the record of another host's running job."""
    tasks = """
    - name: Start
      longhaul.jobs.async_start: {cmd: hostname, poll: 1}

    - name: Ask for core's
      longhaul.jobs.async_status: {jid: "{{ core }}"}
      when: inventory_hostname == 'h2'

    - name: Clean up core's
      ansible.builtin.async_status: {jid: "{{ core }}", mode: cleanup}
      when: inventory_hostname == 'h2'
    """
    run = stage.play(tasks)
    for host in home.hosts:
        job = run.result("Start", host)
        assert (job["stdout"], job["job"]["state"], job["job"]["async_dir"], job["job"]["host"]) == (host, "succeeded", SPOOL, host)
    seen = run.result("Ask for core's", "h2")
    assert (seen["finished"], seen["job"]["state"], seen["job"]["verified"]) == (False, "running", False)
    record = f"{SPOOL}/{jobs['core']['ansible_job_id']}"
    assert run.result("Clean up core's", "h2")["erased"] == record
    assert home.execute("h1", "sh", "-c", f"test -e {record} || echo gone") == "gone\n"
    assert "sleep 3600" in home.execute("h1", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    TABLE["another host with the same home cleans a running job up"] = "its record is deleted, it runs on, unknown to all"


def test_a_name_is_one_host_s(home: Bed, stage: Stage) -> None:
    """Both start the same name at once, and again: each has a job of its own, attaches to that, and finds that by the name."""
    for host in home.hosts:
        stage.add_bed_host(home, host, "free")
    tasks = """
    - name: Start
      longhaul.jobs.async_start: {name: shared, cmd: hostname; sleep 3600}
      register: started

    - name: Start again
      longhaul.jobs.async_start: {name: shared, cmd: hostname; sleep 3600}

    - name: Ask
      longhaul.jobs.async_status: {jobs: shared}

    - name: Replace
      longhaul.jobs.async_start: {name: shared, cmd: sleep 3600, if_running: replace, grace: 1s}
      when: inventory_hostname == 'h2'

    - name: Ask h1
      longhaul.jobs.async_status: {jobs: shared}
      when: inventory_hostname == 'h1'
    """
    run = stage.play(tasks)
    own = {host: run.result("Start", host)["ansible_job_id"] for host in home.hosts}
    assert len(set(own.values())) == 2
    for host, jid in own.items():
        assert run.result("Start", host)["changed"] is True
        again = run.result("Start again", host)
        assert (again["ansible_job_id"], again["changed"]) == (jid, False)
        (job,) = run.result("Ask", host)["jobs"]
        assert (job["ansible_job_id"], job["job"]["state"]) == (jid, "running")
    (job,) = run.result("Ask h1", "h1")["jobs"]
    assert (job["ansible_job_id"], job["job"]["state"]) == (own["h1"], "running"), "h2 has replaced a job of h1"
