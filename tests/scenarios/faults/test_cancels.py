# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""async_cancel on hosts: S20, S28, S30, S33, S37, S43; in rescue and always, from another host, over links that fail."""

from __future__ import annotations

import json
import time
import zlib

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.support import BIN, Json, Stage, other_cores
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import wait_for

BED_HOSTS = 3


def _there(bed: Bed, host: str, words: str) -> list[str]:
    """The pids of processes with that command line there."""
    return bed.execute(host, "sh", "-c", f"pgrep -fx '{words}' || true").split()


def _sleep(stage: Stage) -> str:
    """A command line that no other test has."""
    return f"sleep 6{zlib.crc32(stage.folder.name.encode()) % 10**6:06d}"


ENDED = """
- name: Start
  longhaul.jobs.async_start:
    cmd: "setsid {{ sleep }} & trap '' TERM; {{ sleep }} & wait; {{ sleep }}"
    name: stubborn
  register: started

- name: Predict
  longhaul.jobs.async_cancel: {jobs: stubborn}
  check_mode: true
  register: predicted

- name: Cancel
  longhaul.jobs.async_cancel: {jobs: "{{ started }}", grace: 1s, reason: maintenance window closed}
  register: cancelled

- name: Cancel again, whatever name
  longhaul.jobs.async_cancel: {jobs: [stubborn, nobody]}
  register: again

- name: Ask
  longhaul.jobs.async_status: {jobs: stubborn}
  register: asked
  ignore_errors: true

- name: Cancel what is not there
  longhaul.jobs.async_cancel: {jobs: j1.1}
  ignore_errors: true
"""


@pytest.mark.parametrize("transport", ["direct", "module"])
def test_a_cancel(stage: Stage, bed: Bed, transport: str) -> None:
    stage.add_bed_host(bed, "h1", longhaul_transport=transport, sleep=_sleep(stage))
    run = stage.play(ENDED)
    predicted, done, again = (run.result(task) for task in ("Predict", "Cancel", "Cancel again, whatever name"))
    assert (predicted["changed"], predicted["jobs"][0]["job"]["state"]) == (True, "running")
    assert (done["changed"], done["finished"], done.get("failed", False)) == (True, True, False)
    assert (done["jobs"][0]["job"]["state"], done["jobs"][0]["job"]["survivors"]) == ("cancelled", [])
    assert (again["changed"], again.get("failed", False), again["jobs"][0]["job"]["state"]) == (False, False, "cancelled")
    assert "could not find a job named nobody" in again["msg"]
    asked = run.result("Ask")["jobs"][0]
    assert (asked["job"]["reason"], asked["msg"]) == (
        "maintenance window closed",
        "the job stubborn was cancelled: maintenance window closed",
    )
    assert run.last("Cancel what is not there")["kind"] == "failed"
    assert "could not find job j1.1" in run.result("Cancel what is not there")["msg"]
    assert _there(bed, "h1", _sleep(stage)) == []


def test_a_loop_and_skipped_items(stage: Stage, bed: Bed) -> None:
    stage.add_bed_host(bed, "h1", sleep=_sleep(stage))
    run = stage.play(
        """
        - name: Start
          longhaul.jobs.async_start: {cmd: "{{ sleep }}"}
          loop: [1, 2, 3, 4]
          when: item != 2
          register: started

        - name: Cancel
          longhaul.jobs.async_cancel: {jobs: "{{ started }}"}

        - name: Start none
          longhaul.jobs.async_start: {cmd: "{{ sleep }}"}
          loop: [1, 2]
          when: false
          register: nobody

        - name: Cancel none
          longhaul.jobs.async_cancel: {jobs: "{{ nobody }}"}

        - name: Cancel by filters
          longhaul.jobs.async_cancel: {filters: {states: running}}
        """
    )
    assert [job["job"]["state"] for job in run.result("Cancel")["jobs"]] == ["cancelled"] * 3
    for task in ("Cancel none", "Cancel by filters"):
        result = run.result(task)
        assert (result["jobs"], result["changed"], result.get("failed", False)) == ([], False, False)
    assert _there(bed, "h1", _sleep(stage)) == []


WHOSE = """
- name: Start
  longhaul.jobs.async_start: {cmd: "{{ sleep }}"}
  become: true
  become_user: plain
  register: started

- name: Status by id
  longhaul.jobs.async_status: {jid: "{{ started.ansible_job_id }}"}
  ignore_errors: true

- name: Status
  longhaul.jobs.async_status: {jobs: "{{ started }}"}
  ignore_errors: true

- name: Wait
  longhaul.jobs.async_wait: {jobs: "{{ started }}"}
  ignore_errors: true

- name: Log
  longhaul.jobs.async_log: {jobs: "{{ started }}"}
  ignore_errors: true

- name: Cancel
  longhaul.jobs.async_cancel: {jobs: "{{ started }}"}
  ignore_errors: true

- name: Cancel as it was started
  longhaul.jobs.async_cancel: {jobs: "{{ started }}"}
  become: true
  become_user: plain
"""


def test_another_user_s_job_says_whose_it_is(stage: Stage, bed: Bed) -> None:
    """S28: by each verb, and by its id alone, since the play has registered it."""
    stage.add_bed_host(bed, "h1", "free", sleep=_sleep(stage))
    run = stage.play(WHOSE)
    for task in ("Status by id", "Status", "Wait", "Log", "Cancel"):
        assert run.last(task)["kind"] == "failed", task
        assert "is one of the user plain and was looked for as free: ask with become_user: plain" in run.result(task)["msg"], task
    assert run.result("Cancel as it was started")["changed"] is True
    assert _there(bed, "h1", _sleep(stage)) == []


ELSEWHERE = """
- name: Start
  longhaul.jobs.async_start: {cmd: "{{ sleep }}"}
  loop: [h1, h2, h3]
  delegate_to: "{{ item }}"
  run_once: true
  register: started

- name: Status by id
  longhaul.jobs.async_status: {jid: "{{ started.results[1].ansible_job_id }}"}
  run_once: true
  ignore_errors: true

- name: Status
  longhaul.jobs.async_status: {jobs: "{{ started }}"}
  run_once: true
  ignore_errors: true

- name: Wait
  longhaul.jobs.async_wait: {jobs: "{{ started }}", timeout: 1s}
  run_once: true
  ignore_errors: true

- name: Log
  longhaul.jobs.async_log: {jobs: "{{ started }}"}
  run_once: true
  ignore_errors: true

- name: Cancel
  longhaul.jobs.async_cancel: {jobs: "{{ started }}"}
  run_once: true
  register: cancelled
  ignore_errors: true

- name: Cancel where they are
  longhaul.jobs.async_cancel: {jobs: "{{ item }}"}
  loop: "{{ started.results }}"
  delegate_to: "{{ item.job.host }}"
  run_once: true
"""


def test_another_host_s_job_says_where_it_is(stage: Stage, bed: Bed) -> None:
    """S43: one sentence that names the host and the delegate_to that it needs."""
    for host in bed.hosts:
        stage.add_bed_host(bed, host, sleep=_sleep(stage))
    run = stage.play(ELSEWHERE)
    for task in ("Status by id", "Status", "Wait", "Log", "Cancel"):
        assert run.last(task)["kind"] == "failed", task
        assert "is one of h2, not of h1: ask with delegate_to: h2" in run.result(task)["msg"], task
    assert [job["job"]["state"] for job in run.result("Cancel")["jobs"]] == ["cancelled", "unknown", "unknown"]
    for host in bed.hosts:
        assert _there(bed, host, _sleep(stage)) == []


CORES = """
- name: Start
  ansible.builtin.shell: "setsid {{ sleep }} & ({{ sleep }} &) ; {{ sleep }}"
  async: 600
  poll: 0
  register: started

- name: Start what is quick
  ansible.builtin.command: echo done
  async: 600
  poll: 0
  register: quick

- name: Wait for that
  ansible.builtin.async_status: {jid: "{{ quick.ansible_job_id }}"}
  register: ended
  until: ended.finished
  retries: 50
  delay: 0.2

- name: Log
  longhaul.jobs.async_log: {jobs: ["{{ started.ansible_job_id }}", "{{ quick.ansible_job_id }}"]}

- name: Predict
  longhaul.jobs.async_cancel: {jobs: "{{ started }}"}
  check_mode: true

- name: Cancel
  longhaul.jobs.async_cancel: {jobs: ["{{ started }}", "{{ quick }}"], grace: 1s, reason: enough}

- name: Core asks
  ansible.builtin.async_status: {jid: "{{ started.ansible_job_id }}"}
  ignore_errors: true

- name: Core asks for the other
  ansible.builtin.async_status: {jid: "{{ quick.ansible_job_id }}"}

- name: Core cleans up
  ansible.builtin.async_status: {jid: "{{ started.ansible_job_id }}", mode: cleanup}

- name: Cancel again
  longhaul.jobs.async_cancel: {jobs: "{{ quick }}"}
"""


@pytest.mark.parametrize("version", ["this", *sorted(other_cores())])
def test_jobs_of_cores_own(stage: Stage, bed: Bed, version: str) -> None:
    """S30: all that belongs to them is ended, and core's own question is told so."""
    programs = other_cores().get(version, BIN)
    stage.add_bed_host(bed, "h1", sleep=_sleep(stage))
    run = stage.play(CORES, programs=programs)
    assert [log["text"] for log in run.result("Log")["logs"]] == ["", ""]
    assert [log["end"] for log in run.result("Log")["logs"]] == [False, True]
    assert all("keeps no output but the job's result" in log["msg"] for log in run.result("Log")["logs"])
    assert run.result("Predict")["changed"] is True
    done = run.result("Cancel")
    assert (done["changed"], done.get("failed", False)) == (True, False)
    assert [(job["job"]["state"], job["changed"]) for job in done["jobs"]] == [("cancelled", True), ("succeeded", False)]
    assert done["jobs"][0]["job"]["survivors"] == []
    assert _there(bed, "h1", _sleep(stage)) == []
    asked = run.result("Core asks")
    assert (bool(asked["finished"]), run.last("Core asks")["kind"]) == (True, "failed")
    assert asked["msg"].endswith("was cancelled: enough")
    assert run.result("Core asks for the other")["stdout"] == "done"
    assert run.result("Cancel again")["changed"] is False


RESCUE = """
- name: A block
  block:
    - name: Start
      longhaul.jobs.async_start: {cmd: "{{ sleep }}", poll: 1, name: long}
      timeout: 3
  rescue:
    - name: Cancel
      longhaul.jobs.async_cancel: {jobs: long, reason: took too long}

- name: Another block
  block:
    - name: Start another
      longhaul.jobs.async_start: {cmd: "{{ sleep }}"}
      register: started
      failed_when: started.started
  rescue:
    - name: Cancel that
      longhaul.jobs.async_cancel: {jobs: "{{ started }}"}

- name: A third block
  block:
    - name: Start badly
      longhaul.jobs.async_start: {cmd: "{{ sleep }}", grace: much}
      register: never
  rescue:
    - name: Cancel nothing
      longhaul.jobs.async_cancel: {jobs: "{{ never }}"}
"""


def test_a_rescue_cancels_after_a_failed_start(stage: Stage, bed: Bed) -> None:
    """S33."""
    stage.add_bed_host(bed, "h1", sleep=_sleep(stage))
    run = stage.play(RESCUE)
    for task in ("Cancel", "Cancel that"):
        result = run.result(task)
        assert (result["changed"], [job["job"]["state"] for job in result["jobs"]]) == (True, ["cancelled"])
    nothing = run.result("Cancel nothing")
    assert (nothing["changed"], nothing.get("failed", False), "the job was never started" in nothing["msg"]) == (False, False, True)
    assert _there(bed, "h1", _sleep(stage)) == []


ALWAYS = """
- name: A play
  hosts: h1
  gather_facts: false
  tasks:
    - name: A block
      block:
        - name: Warm up
          ansible.builtin.raw: 'true'

        - name: Start
          longhaul.jobs.async_start: {cmd: "echo ran >>{{ ran }}; {{ sleep }}; echo late >>{{ ran }}", poll: 1, unreachable_timeout: 4s}
          register: started
          ignore_unreachable: true
      always:
        - name: Cancel
          longhaul.jobs.async_cancel: {jobs: "{{ started }}", reason: not answered}
          ignore_unreachable: true
          register: cancelled
          until: cancelled is reachable and cancelled is not failed
          retries: 30
          delay: 0.5
"""


@pytest.mark.parametrize("way", ["freeze", "drop", "refuse"])
def test_always_cancels_a_start_that_was_not_answered(stage: Stage, bed: Bed, way: str) -> None:
    """S33: whether it arrived, never arrives, or arrives after its cancel: nothing of it runs when the play goes on, nor later."""
    ran = f"/var/tmp/{stage.folder.name}"
    stage.add_bed_host(bed, "h1", sleep=_sleep(stage), ran=ran, longhaul_look_timeout=2)
    run = stage.begin(ALWAYS, PYTHONUNBUFFERED="1")
    run.wait_for(lambda: run.of("Warm up"))
    getattr(bed, way)("h1")
    try:
        run.wait_for(lambda: run.of("Start"))
    finally:
        getattr(bed, {"freeze": "thaw", "drop": "undrop", "refuse": "accept"}[way])("h1")
    run.finish()
    started, done = run.result("Start"), run.result("Cancel")
    (job,) = done["jobs"]
    assert (job["job"]["jid"], job["job"]["state"]) == (started["ansible_job_id"], "cancelled")
    assert run.last("Start")["kind"] == "unreachable" or started["started"]
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert _there(bed, "h1", _sleep(stage)) == []
        time.sleep(0.3)
    lines = bed.execute("h1", "sh", "-c", f"cat {ran} 2>/dev/null || true").split()
    assert lines in ([], ["ran"])
    assert (lines == ["ran"]) is (job["job"]["cause"] == "cancelled"), (lines, job)


FROM_ELSEWHERE = """
- name: A play that loses a host
  hosts: h1, h2
  gather_facts: false
  tasks:
    - name: Start
      longhaul.jobs.async_start: {cmd: "{{ sleep }}", poll: 1, unreachable_timeout: 3s}
      register: started
      when: inventory_hostname == 'h1'

- name: Another host cancels
  hosts: h2
  gather_facts: false
  tasks:
    - name: Cancel here
      longhaul.jobs.async_cancel: {jobs: "{{ hostvars.h1.started }}"}
      ignore_errors: true

    - name: Wait until it is back
      ansible.builtin.wait_for: {path: "{{ back }}", timeout: 60}
      delegate_to: localhost

    - name: Cancel
      longhaul.jobs.async_cancel: {jobs: "{{ hostvars.h1.started }}"}
      delegate_to: h1
"""


def test_another_host_cancels_by_hostvars(stage: Stage, bed: Bed) -> None:
    """S33: after an unreachable start."""
    for host in ("h1", "h2"):
        stage.add_bed_host(bed, host, sleep=_sleep(stage), longhaul_look_timeout=2, back=str(stage.folder / "back"))
    stage.add_local("localhost")
    run = stage.begin(FROM_ELSEWHERE, PYTHONUNBUFFERED="1")
    run.wait_for(lambda: _there(bed, "h1", _sleep(stage)))
    bed.refuse("h1")
    try:
        run.wait_for(lambda: run.of("Cancel here"))
    finally:
        bed.accept("h1")
    (stage.folder / "back").touch()
    run.finish(rc=None)
    assert run.last("Start", "h1")["kind"] == "unreachable"
    assert "ask with delegate_to: h1" in run.result("Cancel here")["msg"]
    (job,) = run.result("Cancel")["jobs"]
    assert (job["job"]["state"], job["changed"]) == ("cancelled", True)
    assert _there(bed, "h1", _sleep(stage)) == []


STOPPED = """
- name: Start
  longhaul.jobs.async_start: {cmd: "{{ sleep }}", time_limit: 8s, grace: 1s}
  register: started

- name: Stop its supervisor
  ansible.builtin.command: kill -STOP {{ started.job.supervisor_pid }}

- name: Ask until it is overdue
  longhaul.jobs.async_status: {jid: "{{ started.ansible_job_id }}"}
  register: asked
  until: asked.job.overdue
  retries: 60
  delay: 0.5

- name: Cancel
  longhaul.jobs.async_cancel: {jobs: "{{ started }}", grace: 1s}
"""


def test_a_stopped_supervisor(stage: Stage, bed: Bed) -> None:
    """S37: past its limit it is overdue, and a cancel ends all of it."""
    stage.add_bed_host(bed, "h1", sleep=_sleep(stage))
    run = stage.play(STOPPED)
    (job,) = run.result("Cancel")["jobs"]
    assert (job["job"]["state"], job["changed"], job["job"]["survivors"]) == ("cancelled", True, [])
    assert _there(bed, "h1", _sleep(stage)) == []
    assert run.result("Start")["job"]["supervisor_pid"] not in map(int, bed.execute("h1", "sh", "-c", "pgrep python3 || true").split())


DENIED = """
- name: Start
  longhaul.jobs.async_start: {cmd: "echo secret; {{ sleep }}", name: mine}
  register: started
"""
TRIES = """
- name: Status
  longhaul.jobs.async_status: {jobs: "{{ target }}"}
  ignore_errors: true

- name: Log
  longhaul.jobs.async_log: {jobs: "{{ target }}"}
  ignore_errors: true

- name: List
  longhaul.jobs.async_info: {}
  ignore_errors: true

- name: Cancel
  longhaul.jobs.async_cancel: {jobs: "{{ target }}"}
  ignore_errors: true

- name: Read
  ansible.builtin.command: cat {{ target.results_file }}
  ignore_errors: true
"""


def test_another_local_user_gets_nothing(stage: Stage, bed: Bed) -> None:
    """S20: two real users; the one may neither read, list nor cancel the other's job, in his own directory or in the owner's."""
    stage.add_bed_host(bed, "h1", "free", sleep=_sleep(stage))
    started: Json = stage.play(DENIED).result("Start")
    stage.hosts.clear()
    stage.add_bed_host(bed, "h1", "plain", sleep=_sleep(stage))
    here = stage.play(TRIES, "-e", json.dumps({"target": started}))
    there = stage.play(
        TRIES.replace("{jobs:", "{async_dir: /home/free/.ansible_async, jobs:").replace("{}", "{async_dir: /home/free/.ansible_async}"),
        "-e",
        json.dumps({"target": started}),
    )
    for run in (here, there):
        for task in ("Status", "Log", "Cancel", "Read"):
            assert run.last(task)["kind"] == "failed", task
        assert "secret" not in json.dumps(run.events)
        assert started["ansible_job_id"] not in [job["ansible_job_id"] for job in run.result("List").get("jobs", [])]
    assert "is one of the user free" in here.result("Cancel")["msg"]
    assert len(_there(bed, "h1", _sleep(stage))) == 1
    stage.hosts.clear()
    stage.add_bed_host(bed, "h1", "free")
    assert stage.play("- name: Cancel\n  longhaul.jobs.async_cancel: {jobs: mine}\n").result("Cancel")["changed"] is True


def test_two_plays_cancel_at_once(stage: Stage, bed: Bed) -> None:
    """One of them has changed something, and both know the same end."""
    stage.add_bed_host(bed, "h1", sleep=_sleep(stage))
    cmd = "trap '' TERM; while :; do {{ sleep }} & wait; done"
    started = stage.play(f'- name: Start\n  longhaul.jobs.async_start: {{cmd: "{cmd}", name: both}}\n').result("Start")
    assert started["started"]
    cancel = "- name: Cancel\n  longhaul.jobs.async_cancel: {jobs: both, grace: 3s, reason: '%s'}\n"
    runs = [stage.begin(cancel % number) for number in range(2)]
    results = [run.finish().result("Cancel") for run in runs]
    assert sorted(result["changed"] for result in results) == [False, True]
    assert len({result["jobs"][0]["job"]["reason"] for result in results}) == 1
    assert [result["jobs"][0]["job"]["state"] for result in results] == ["cancelled"] * 2


def test_a_host_that_is_away(stage: Stage, bed: Bed) -> None:
    """Unreachable, and said that it is not known whether it was done."""
    stage.add_bed_host(bed, "h3", longhaul_look_timeout=1, ansible_timeout=2)
    bed.refuse("h3")
    try:
        run = stage.play(
            "- name: Cancel\n  longhaul.jobs.async_cancel: {jobs: j123456789012.1, grace: 0}\n  ignore_unreachable: true\n  register: r\n"
        )
    finally:
        bed.accept("h3")
    assert run.last("Cancel")["kind"] == "unreachable"
    assert "whether the jobs were cancelled is not known, and to ask again is safe" in run.result("Cancel")["msg"]
    wait_for(lambda: bed.say("h3", "true") == "")
