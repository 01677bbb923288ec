# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S47: what a play says of its hosts, its failures and its handlers means for a start and a wait what Ansible says it means."""

from __future__ import annotations

import textwrap
import typing as t

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.support import Run, Stage

BED_HOSTS = 4
# A job of h1 takes longer than those of the others, or fails, as the variables say.
TASKS = """
- name: Start
  longhaul.jobs.async_start:
    cmd: sleep {{ seconds | default(0) }}; exit {{ rc | default(0) }}
    name: "job-{{ inventory_hostname }}"
  register: started

- name: Wait
  longhaul.jobs.async_wait:
    jobs: "{{ started }}"

- name: Go on
  ansible.builtin.debug:
    msg: on
"""
LATE, FAILING = {"seconds": 4}, {"rc": 3}


def _play(stage: Stage, bed: Bed, keywords: str, own: dict[str, t.Any], *arguments: str, tasks: str = TASKS, rc: int = 0) -> Run:
    for host in bed.hosts:
        stage.add_bed_host(bed, host, **own.get(host, {}))
    head = "- name: A play\n  hosts: all\n  gather_facts: false\n"
    play = head + textwrap.indent(keywords, "  ") + "  tasks:\n" + textwrap.indent(textwrap.dedent(tasks).strip(), "    ")
    return stage.play(play, *arguments, rc=rc, PYTHONUNBUFFERED="1")


def _order(run: Run, *tasks: str) -> list[tuple[str, str]]:
    """(task, host) of the results of these tasks, in their order."""
    return [(event["task"], event["host"]) for event in run.events if event["task"] in tasks]


def test_free_hosts_do_not_wait_for_each_other(stage: Stage, bed: Bed) -> None:
    run = _play(stage, bed, "strategy: free\n", {"h1": LATE})
    order = _order(run, "Wait", "Go on")
    assert order[-2:] == [("Wait", "h1"), ("Go on", "h1")]
    linear = _play(stage, bed, "", {"h1": LATE})
    assert [task for task, _host in _order(linear, "Wait", "Go on")] == ["Wait"] * 4 + ["Go on"] * 4


def test_a_pinned_host_plays_to_its_end_before_another_begins(stage: Stage, bed: Bed) -> None:
    run = _play(stage, bed, "strategy: host_pinned\n", {"h1": LATE}, "--forks", "2")
    order = _order(run, "Start", "Go on")
    playing: set[str] = set()
    for task, host in order:
        playing.add(host) if task == "Start" else playing.remove(host)
        assert len(playing) <= 2
    assert order.index(("Start", "h3")) < order.index(("Go on", "h1"))  # its turn has come, for h2 was done


def test_one_at_a_time(stage: Stage, bed: Bed) -> None:
    run = _play(stage, bed, "", {}, tasks=TASKS.replace("- name: Wait", "- name: Wait\n  throttle: 1"))
    words = [line.split(":")[0] for line in run.output.partition("TASK [Wait]")[2].splitlines() if ": waiting for 1 job" in line]
    ended = [host for _task, host in _order(run, "Wait")]
    assert (sorted(words), words) == (bed.hosts, ended)


@pytest.mark.parametrize(
    ("keywords", "failing", "goes_on"),
    [
        ("", ["h1"], ["h2", "h3", "h4"]),
        ("any_errors_fatal: true\n", ["h1"], []),
        ("max_fail_percentage: 30\n", ["h1"], ["h2", "h3", "h4"]),
        ("max_fail_percentage: 30\n", ["h1", "h2"], []),
    ],
    ids=["", "any_errors_fatal", "max_fail_percentage kept", "max_fail_percentage passed"],
)
def test_a_job_that_fails_is_a_host_that_fails(stage: Stage, bed: Bed, keywords: str, failing: list[str], goes_on: list[str]) -> None:
    run = _play(stage, bed, keywords, dict.fromkeys(failing, FAILING), rc=2)
    assert sorted(event["host"] for event in run.of("Wait") if event["kind"] == "failed") == failing
    assert sorted(host for _task, host in _order(run, "Go on")) == goes_on


RESCUED = """
- name: Upgrade, with a way back
  block:
    - name: Start
      longhaul.jobs.async_start:
        cmd: echo half way; sleep {{ seconds | default(0) }}; exit {{ rc | default(0) }}
      register: started

    - name: Wait
      longhaul.jobs.async_wait:
        jobs: "{{ started }}"
        timeout: 2s
      register: waited
  rescue:
    - name: Say why
      ansible.builtin.debug:
        msg: "{{ ansible_failed_result.jobs | map(attribute='job.state') | join(',') }}"

    - name: Wait for what still runs
      longhaul.jobs.async_wait:
        jobs: "{{ waited }}"
      failed_when: false
  always:
    - name: Always
      ansible.builtin.debug:
        msg: "{{ waited.finished }}"
"""


def test_a_wait_in_a_block(stage: Stage, bed: Bed) -> None:
    run = _play(stage, bed, "", {"h1": LATE, "h2": FAILING}, tasks=RESCUED)
    assert {event["host"]: event["result"]["msg"] for event in run.of("Say why")} == {"h1": "running", "h2": "failed"}
    assert run.result("Wait for what still runs", "h1")["jobs"][0]["stdout"] == "half way"
    assert {event["host"]: event["result"]["msg"] for event in run.of("Always")} == {"h1": False, "h2": True, "h3": True, "h4": True}
    assert "rescued=1" in run.output


HANDLED = """
- name: Start
  longhaul.jobs.async_start:
    cmd: sleep 1; echo {{ inventory_hostname }}
    name: handled
  notify: Wait for it

- name: Go on
  ansible.builtin.debug:
    msg: on
"""
HANDLERS = """
- name: Wait for it
  longhaul.jobs.async_wait:
    jobs: handled
  notify: Then this

- name: Then this
  ansible.builtin.debug:
    msg: handled
"""


def test_a_handler_may_wait_and_notify(stage: Stage, bed: Bed) -> None:
    for host in bed.hosts:
        stage.add_bed_host(bed, host)
    run = stage.play(HANDLED, handlers=HANDLERS)
    order = [task for task, _host in _order(run, "Go on", "Wait for it", "Then this")]
    assert order == ["Go on"] * 4 + ["Wait for it"] * 4 + ["Then this"] * 4
    assert [run.result("Wait for it", host)["jobs"][0]["stdout"] for host in bed.hosts] == bed.hosts


def test_unreachable_hosts_are_ignored_where_that_is_asked_for(stage: Stage, bed: Bed) -> None:
    tasks = TASKS.replace(
        "- name: Wait\n", "- name: Cut\n  ansible.builtin.wait_for: {path: '{{ cut }}'}\n  delegate_to: controller\n\n- name: Wait\n"
    )
    tasks = tasks.replace('jobs: "{{ started }}"\n', 'jobs: "{{ started }}"\n    unreachable_timeout: 1s\n  ignore_unreachable: true\n')
    cut = stage.folder / "cut"
    for host in bed.hosts:
        stage.add_bed_host(bed, host, cut=str(cut))
    stage.add_local("controller")
    run = stage.begin(tasks, hosts="all:!controller")
    run.wait_for(lambda: len(run.of("Start")) == len(bed.hosts))
    bed.refuse("h2")
    try:
        cut.touch()
        run.finish()
    finally:
        bed.accept("h2")
    assert run.last("Wait", "h2")["kind"] == "unreachable"
    assert sorted(host for _task, host in _order(run, "Go on")) == bed.hosts
