# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""async_wait over real SSH: one deadline for hosts in batches, jobs in loops, outcomes, check mode, and what it shows meanwhile."""

from __future__ import annotations

import math
import time

from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.support import Json, Run, Stage

BED_HOSTS = 4
RUNS = 3  # of which the best counts


def _took(run: Run, task: str) -> float:
    """Seconds that the task has told of; its play measures with the facts of no host."""
    return float(run.result(task)["msg"])


TIMED = """
- name: Start three
  longhaul.jobs.async_start:
    cmd: sleep 3
  loop: [1, 2, 3]
  register: sleepers

- name: Note when
  ansible.builtin.set_fact:
    begun: "{{ lookup('ansible.builtin.pipe', 'date +%s.%N') }}"

- name: Wait for the three
  longhaul.jobs.async_wait:
    jobs: "{{ sleepers }}"
  register: slept

- name: Took
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.pipe', 'date +%s.%N') | float - begun | float }}"
"""


def test_a_loop_takes_as_long_as_its_longest(stage: Stage, bed: Bed) -> None:
    """S16: core's loop with poll takes 17 s here."""
    stage.add_bed_host(bed, "h1")
    runs = [stage.play(TIMED) for _run in range(RUNS)]
    for run in runs:
        assert [job["job"]["state"] for job in run.result("Wait for the three")["jobs"]] == ["succeeded"] * 3
    assert min(_took(run, "Took") for run in runs) < 3.5


MANY = """
- name: Make the gate
  ansible.builtin.raw: mkfifo {{ gate }}

- name: Start many
  longhaul.jobs.async_start:
    cmd: cat {{ gate }}; date +%s.%N
  loop: "{{ range(count | int) | list }}"
  register: many

- name: Open the gate in a while
  longhaul.jobs.async_start:
    cmd: sleep 6; true > {{ gate }}

- name: Wait for all of them
  longhaul.jobs.async_wait:
    jobs: "{{ many }}"
    long_poll: 4s

- name: Note when
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.pipe', 'date +%s.%N') }}"
"""


def test_a_hundred_jobs_are_no_more_looks_than_ten(stage: Stage, bed: Bed) -> None:
    """A wait is over within 1.5 s of the last job's end (best of 3), in as many looks for a hundred as for ten."""
    stage.add_bed_host(bed, "h1")
    looks, late = set(), math.inf
    for number, count in enumerate((10, *[100] * RUNS)):
        if number > 1 and late < 1.5:
            break
        run = stage.play(MANY, "-e", f"count={count}", "-e", f"gate=/var/tmp/{stage.folder.name}-{number}")
        result = run.result("Wait for all of them")
        assert [job["job"]["state"] for job in result["jobs"]] == ["succeeded"] * count
        looks.add(result["looks"])
        late = float(run.result("Note when")["msg"]) - max(float(job["stdout"]) for job in result["jobs"])
        print(f"{count} jobs: {result['looks']} looks, over {late:.2f} s after the last job's end")
    assert looks == {2}
    assert late < 1.5


HUNG = """
- name: Hosts in batches
  hosts: all
  gather_facts: false
  strategy: free
  tasks:
    - name: Start what hangs
      longhaul.jobs.async_start:
        name: hung
        cmd: sleep 1000

- name: One deadline
  hosts: all
  gather_facts: false
  serial: 2
  tasks:
    - name: Wait under one deadline
      longhaul.jobs.async_wait:
        jobs: hung
        timeout: 20s
        timeout_from: start
        on_timeout: cancel
      register: waited
      ignore_errors: true
"""


def test_hosts_in_batches_have_one_deadline(stage: Stage, bed: Bed) -> None:
    """S44: later batches do not get more time."""
    names = [f"{host}-{user}" for host in bed.hosts for user in ("root", "plain")]
    for name in names:
        stage.add_bed_host(bed, name.partition("-")[0], user=name.partition("-")[2], name=name)
    began = time.monotonic()
    run = stage.play(HUNG, "--forks", "2")
    assert time.monotonic() - began < 20 + 15
    for name in names:
        result = run.result("Wait under one deadline", name)
        assert (run.last("Wait under one deadline", name)["kind"], result["jobs"][0]["job"]["state"]) == ("failed", "cancelled")
        assert "1 of 1 job had not ended 20 s after its start: hung" in result["msg"]
    assert max(job["elapsed"] for job in (run.result("Wait under one deadline", name)["jobs"][0]["job"] for name in names)) < 35


DEADLINES = """
- name: Start one that ends, and two that do not
  longhaul.jobs.async_start:
    cmd: "{{ item }}"
    name: "{{ item | regex_replace('[^a-z0-9]+', '-') }}"
  loop: ["true", "sleep 600", "sleep 601"]
  register: jobs

- name: Wait and leave
  longhaul.jobs.async_wait:
    jobs: "{{ jobs }}"
    timeout: 2s
  ignore_errors: true
  register: left

- name: Wait and cancel
  longhaul.jobs.async_wait:
    jobs: "{{ left }}"
    timeout: 2s
    on_timeout: cancel
  ignore_errors: true

- name: Fail for good
  longhaul.jobs.async_wait:
    jobs: "{{ jobs }}"
"""


def test_a_deadline_is_told_of_in_words(stage: Stage, bed: Bed) -> None:
    """S10: what still runs is left, or cancelled, as the user chose; the message names it."""
    stage.add_bed_host(bed, "h1")
    run = stage.play(DEADLINES, rc=2)
    left, cancelled = run.result("Wait and leave"), run.result("Wait and cancel")
    jids = [job["ansible_job_id"] for job in left["jobs"]]
    named = f"sleep-600 ({jids[1]}), sleep-601 ({jids[2]})"
    assert left["msg"] == f"2 of 3 jobs had not ended 2 s after the waiting began: {named}; left running"
    assert (run.last("Wait and leave")["kind"], left["finished"]) == ("failed", False)
    assert [job["job"]["state"] for job in left["jobs"]] == ["succeeded", "running", "running"]
    assert f"{named}; cancelled: {named}" in cancelled["msg"]
    assert [job["job"]["state"] for job in cancelled["jobs"]] == ["succeeded", "cancelled", "cancelled"]
    assert [job["job"]["reason"] for job in cancelled["jobs"][1:]] == ["the wait's timeout of 2 s passed"] * 2
    assert (run.last("Fail for good")["kind"], run.result("Fail for good")["finished"]) == ("failed", True)


OUTCOMES = """
- name: Start what changes nothing
  longhaul.jobs.async_start:
    task: {ansible.builtin.command: {cmd: 'true', creates: /}}
  register: idle

- name: Start what fails
  longhaul.jobs.async_start:
    cmd: echo too bad >&2; exit 7
  register: failing

- name: Start what changes something
  longhaul.jobs.async_start:
    cmd: 'true'
  register: changing

- name: Wait for what changes nothing
  longhaul.jobs.async_wait:
    jobs: "{{ idle }}"
  notify: An idle wait was notified

- name: Wait for what changes something
  longhaul.jobs.async_wait:
    jobs: ["{{ idle }}", "{{ changing }}"]
  notify: A change was notified

- name: Wait for what fails
  longhaul.jobs.async_wait:
    jobs: "{{ failing }}"
  ignore_errors: true
  notify: A failure was notified

- name: Wait for what fails in a way that is expected
  longhaul.jobs.async_wait:
    jobs: ["{{ failing }}", "{{ idle }}"]
  register: expected
  failed_when: expected.jobs[0].rc != 7
  changed_when: "'too bad' in expected.jobs[0].stderr"
  notify: An expected failure was notified

- name: Wait for one of a loop with skipped items
  longhaul.jobs.async_start:
    cmd: "exit {{ item }}"
  loop: [0, 1, 0]
  when: item == 0
  register: looped

- name: Wait for those that were not skipped
  longhaul.jobs.async_wait:
    jobs: "{{ looped }}"
    follow: true

- name: Wait for those of a filter
  longhaul.jobs.async_wait:
    filters: {states: [succeeded]}

- name: Start by core's own means
  ansible.builtin.command: sleep 1
  async: 60
  poll: 0
  register: of_core

- name: Wait for a job of core's
  longhaul.jobs.async_wait:
    jobs: "{{ of_core }}"
    return_when: first_finished

- name: Wait for nobody
  longhaul.jobs.async_wait:
    jobs: []

- name: Wait for a name that nobody has
  longhaul.jobs.async_wait:
    jobs: nobody-has-it
  ignore_errors: true

- name: Run the handlers
  ansible.builtin.meta: flush_handlers
"""
NOTIFIED, NOT_NOTIFIED = (
    ("A change was notified", "An expected failure was notified"),
    ("An idle wait was notified", "A failure was notified"),
)


def test_a_wait_is_judged_by_what_its_jobs_came_to(stage: Stage, bed: Bed) -> None:
    """S17"""
    stage.add_bed_host(bed, "h2", user="plain")
    handlers = "\n".join(f"- name: {name}\n  ansible.builtin.debug:\n    msg: run" for name in (*NOTIFIED, *NOT_NOTIFIED))
    run = stage.play(OUTCOMES, handlers=handlers)

    def outcome(task: str) -> tuple[bool, bool]:
        return run.result(task)["changed"], run.last(task)["kind"] == "failed"

    assert outcome("Wait for what changes nothing") == (False, False)
    assert outcome("Wait for what changes something") == (True, False)
    assert outcome("Wait for what fails") == (True, True)
    assert outcome("Wait for what fails in a way that is expected") == (True, False)
    assert [len(run.of(name)) for name in NOTIFIED] == [1, 1]
    assert [len(run.of(name)) for name in NOT_NOTIFIED] == [0, 0]
    assert len(run.result("Wait for those that were not skipped")["jobs"]) == 2
    assert len(run.result("Wait for those of a filter")["jobs"]) == 4
    assert run.result("Wait for a job of core's")["jobs"][0]["delta"].startswith("0:00:01")
    assert run.result("Wait for nobody")["jobs"] == []
    nobody = run.result("Wait for a name that nobody has")
    assert (nobody["finished"], nobody["jobs"][0]["job"]["state"], nobody["jobs"][0]["started"]) == (True, "unknown", False)


CHECKED = """
- name: Start
  longhaul.jobs.async_start:
    cmd: touch {{ gate }}
    name: checked
  register: started

- name: Wait for it
  longhaul.jobs.async_wait:
    jobs: "{{ started }}"
    timeout: 10s

- name: Wait for what runs
  longhaul.jobs.async_wait:
    filters: {names: really-runs}
    timeout: 1s
    on_timeout: cancel
"""


def test_check_mode_waits_for_nothing(stage: Stage, bed: Bed) -> None:
    """S13: the play passes, and there is no process and no file; S38: what runs is let alone."""
    stage.add_bed_host(bed, "h3")
    stage.play("- name: Log in\n  ansible.builtin.raw: 'true'")
    before = bed.say("h3", "find", "/root", "/var/tmp")
    run = stage.play(CHECKED, "--check", "-e", f"gate=/var/tmp/{stage.folder.name}")
    result = run.result("Wait for it")
    assert (run.last("Wait for it")["kind"], result["finished"], result["looks"]) == ("ok", True, 0)
    assert "check mode" in result["jobs"][0]["msg"]
    assert bed.say("h3", "find", "/root", "/var/tmp") == before
    runs = stage.play("- name: Start\n  longhaul.jobs.async_start: {name: really-runs, cmd: sleep 1000}").result("Start")
    run = stage.play(CHECKED, "--check", "-e", f"gate=/var/tmp/{stage.folder.name}")
    jobs: list[Json] = run.result("Wait for what runs")["jobs"]
    assert [(job["ansible_job_id"], job["finished"]) for job in jobs] == [(runs["ansible_job_id"], False)]
    assert run.last("Wait for what runs")["kind"] == "ok"


FOLLOWED = """
- name: Start
  longhaul.jobs.async_start:
    cmd: "for n in 1 2 3; do echo line $n of {{ item }}; sleep 1.2; done; echo done >&2"
    name: "{{ item }}"
  loop: [first, second]
  register: writers

- name: Start what is secret
  longhaul.jobs.async_start:
    cmd: echo s3cret; sleep 2
  no_log: true
  register: secret

- name: Wait
  longhaul.jobs.async_wait:
    jobs: ["{{ writers }}", "{{ secret }}"]
    follow: true
"""


def test_what_jobs_write_is_shown_meanwhile(stage: Stage, bed: Bed) -> None:
    stage.add_bed_host(bed, "h4")
    run = stage.begin(FOLLOWED, PYTHONUNBUFFERED="1")
    run.wait_for(lambda: "h4 | first: line 1 of first" in run.output)
    assert not run.of("Wait")
    run.finish()
    lines = [line for line in run.output.splitlines() if line.startswith("h4 | ")]
    for name in ("first", "second"):
        mine = [line for line in lines if f" | {name}" in line]
        assert mine == [*[f"h4 | {name}: line {n} of {name}" for n in (1, 2, 3)], f"h4 | {name} (stderr): done"]
    assert sum("its output is not shown, for it was started with no_log" in line for line in lines) == 1
    assert "s3cret" not in run.output


CLOSED = """
- name: Start
  longhaul.jobs.async_start:
    cmd: while ! test -e {{ gate }}; do sleep 0.1; done
  register: started

- name: Wait
  longhaul.jobs.async_wait:
    jobs: "{{ started }}"
    close_connection: true
    poll_interval: 3s
"""


def test_between_looks_no_connection_is_open(stage: Stage, bed: Bed) -> None:
    stage.add_bed_host(bed, "h1")
    gate = f"/var/tmp/{stage.folder.name}-closed"
    run = stage.begin(CLOSED, "-e", f"gate={gate}", PYTHONUNBUFFERED="1")
    run.wait_for(lambda: "waiting for 1 job" in run.output)
    seen = []
    until = time.monotonic() + 10
    while time.monotonic() < until:
        seen.append(bool(bed.execute("h1", "ss", "-tnH", "state", "established", "( sport = :22 )").strip()))
        time.sleep(0.2)
    bed.execute("h1", "touch", gate)
    run.finish()
    assert seen.count(False) > len(seen) / 2, seen
    assert run.result("Wait")["looks"] >= 2
