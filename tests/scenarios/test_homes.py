# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S41: homes that cannot be written, are not there, or may not execute. Start and status meet in one directory, or say one sentence."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.faults.core_fails import TABLE
from ansible_collections.longhaul.jobs.tests.scenarios.support import Run, Stage

TASKS = """
- name: Start
  longhaul.jobs.async_start:
    cmd: id -un
    time_limit: 1m
  register: started

- name: Wait
  longhaul.jobs.async_status:
    jid: "{{ started.ansible_job_id }}"
  register: ended
  until: ended is finished
  retries: 60
  delay: 1

- name: Start a module, and wait
  longhaul.jobs.async_start:
    task: {ansible.builtin.stat: {path: /}}
    poll: 1
  register: module

- name: Start a program, and wait
  longhaul.jobs.async_start:
    task: {longhaul.scenario.program: {}}
    poll: 1
  register: program
  ignore_errors: true

- name: Ask in a list
  longhaul.jobs.async_status:
    jobs: ["{{ started.ansible_job_id }}", "{{ module.ansible_job_id }}", "{{ program.ansible_job_id }}"]
  ignore_errors: true

- name: Clean up
  longhaul.jobs.async_status:
    jid: "{{ item.ansible_job_id }}"
    mode: cleanup
  loop: ["{{ started }}", "{{ module }}", "{{ program }}"]
  loop_control: {label: "{{ item.ansible_job_id }}"}
"""
# A module that is an executable of its own (core calls it binary, for the NUL); its file lies in the job's directory.
PROGRAM = b'#!/bin/sh\necho \'{"changed": false, "ran": "here"}\'\nexit 0\n\0'


# The play's name of it: (host, login user, who it becomes, how). free's home on h1 is read-only, that of roofless cannot be made,
# on h2 since a file is in its way, that of service is root's.
WITHOUT_A_HOME = {
    "read-only": ("h1", "free", "free", ""),
    "read-only by sudo": ("h1", "root", "free", "sudo"),
    "missing": ("h1", "roofless", "roofless", ""),
    "missing by sudo": ("h1", "root", "roofless", "sudo"),
    "missing by su": ("h1", "root", "roofless", "su"),
    "a file": ("h2", "roofless", "roofless", ""),
    "a file by sudo": ("h2", "root", "roofless", "sudo"),
    "root's": ("h1", "service", "service", ""),
    "nobody by sudo": ("h1", "root", "nobody", "sudo"),
    "nobody by su": ("h2", "root", "nobody", "su"),
    "www-data by sudo": ("h2", "root", "www-data", "sudo"),
}
# That of plain is a file system of its own, mounted noexec.
WITHOUT_EXEC = {"noexec": ("h1", "plain", "plain", ""), "noexec by sudo": ("h1", "root", "plain", "sudo")}


def _settle(stage: Stage, bed: Bed, people: dict[str, tuple[str, str, str, str]]) -> None:
    for name, (host, login, user, way) in people.items():
        variables: dict[str, t.Any] = {}
        if way:
            variables = {"ansible_become": True, "ansible_become_method": way, "ansible_become_user": user}
        if way == "su" and user == "nobody":
            variables["ansible_become_flags"] = "-s /bin/sh"
        stage.add_bed_host(bed, host, login, name, **variables)


@pytest.fixture(scope="module")
def run(shared_stage: Stage, bed: Bed) -> Run:
    """What came of TASKS for all of them, side by side."""
    bed.read_only("h1", "/home/free")
    bed.execute("h2", "touch", "/home/roofless")
    bed.execute("h1", "sh", "-c", "mount -t tmpfs -o noexec,mode=0700,uid=$(id -u plain) tmpfs /home/plain")
    shared_stage.add_module("program", PROGRAM)
    _settle(shared_stage, bed, {**WITHOUT_A_HOME, **WITHOUT_EXEC})
    return shared_stage.play(TASKS, "--forks", "4")


def _agreed(run: Run, name: str, user: str, where: str) -> None:
    """Everything was found again, and was there."""
    started, ended = run.result("Start", name), run.result("Wait", name)
    assert (ended["stdout"], ended["job"]["user"]) == (user, user)
    assert started["job"]["async_dir"] == ended["job"]["async_dir"] == where
    assert started["results_file"] == ended["results_file"] == f"{where}/{started['ansible_job_id']}"
    assert run.result("Start a module, and wait", name)["stat"]["isdir"] is True
    assert [job["job"]["async_dir"] for job in run.result("Ask in a list", name)["jobs"]] == [where] * 3
    cleaned = [event["result"]["erased"] for event in run.of("Clean up", name) if event["kind"] == "item_ok"]
    assert len(cleaned) == 3
    assert all(path.startswith(f"{where}/j") for path in cleaned)


@pytest.mark.parametrize("name", WITHOUT_A_HOME)
def test_a_home_that_cannot_be_written_is_replaced_by_the_fallback(run: Run, bed: Bed, name: str) -> None:
    """S41"""
    host, _login, user, _way = WITHOUT_A_HOME[name]
    fallback = f"/var/tmp/.longhaul-{bed.execute(host, 'id', '-u', user).strip()}"
    _agreed(run, name, user, fallback)
    assert run.result("Start a program, and wait", name)["ran"] == "here"
    assert bed.execute(host, "stat", "-c", "%a %U", fallback) == f"700 {user}\n"


@pytest.mark.parametrize("name", WITHOUT_EXEC)
def test_a_home_that_may_not_execute_runs_commands_and_modules(run: Run, name: str) -> None:
    """S41: only a module that is a program of its own cannot be run there, and that is said in a sentence."""
    _agreed(run, name, "plain", "/home/plain/.ansible_async")
    assert run.last("Start a program, and wait", name)["kind"] == "failed"
    program = run.result("Start a program, and wait", name)
    assert (program["finished"], program["job"]["state"], program["job"]["cause"]) == (True, "lost", "never_started")
    assert "Permission denied" in program["msg"]
    assert "\n" not in program["msg"]
    assert run.result("Ask in a list", name)["jobs"][2]["msg"] == program["msg"]


def test_a_fallback_that_is_somebody_else_s_is_refused(stage: Stage, bed: Bed) -> None:
    """S41, S21: one sentence that names it, from start and status alike; nothing is started."""
    fallback = f"/var/tmp/.longhaul-{bed.execute('h2', 'id', '-u', 'service').strip()}"
    bed.execute("h2", "mkdir", "-m", "0777", fallback)
    people = {"login": ("h2", "service", "service", ""), "sudo": ("h2", "root", "service", "sudo")}
    _settle(stage, bed, people)
    tasks = """
    - name: Start
      longhaul.jobs.async_start: {cmd: 'true'}
      ignore_errors: true

    - name: Ask
      longhaul.jobs.async_status: {jid: j123456789012.1}
      ignore_errors: true
    """
    run = stage.play(tasks)
    for name in people:
        for task in ("Start", "Ask"):
            assert run.last(task, name)["kind"] == "failed"
            assert fallback in run.result(task, name)["msg"]
            assert "\n" not in run.result(task, name)["msg"]
    assert bed.execute("h2", "ls", "-A", fallback) == ""


def test_what_core_does_without_a_home(run: Run, shared_stage: Stage) -> None:
    """Nothing is started in any other place; it says so, but where the login's own home is read-only. A noexec home does it no harm."""
    start = "- name: Start\n  ansible.builtin.command: id -un\n  async: 60\n  poll: 0\n"
    core = shared_stage.play(start, "--forks", "4", hosts="read-only,missing,nobody by sudo,www-data by sudo,noexec", rc=None)
    for name in ("missing", "nobody by sudo", "www-data by sudo"):
        assert core.last("Start", name)["kind"] == "failed"
        assert "could not create directory" in core.result("Start", name)["msg"]
    assert core.last("Start", "read-only")["kind"] == "unreachable"
    assert core.last("Start", "noexec")["kind"] == "ok"
    TABLE["no home, or none that can be written (nobody, www-data, ...)"] = "FAILED: could not create directory"
    TABLE["a read-only home of the login user"] = "UNREACHABLE"
