# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job came to is what its tasks are judged by; its module's keys stay its own; the documented examples run as they stand."""

from __future__ import annotations

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.support import Run, Stage

OUTCOMES = """
- name: Start and wait for what changes something
  longhaul.jobs.async_start:
    task: {ansible.builtin.file: {path: "{{ ansible_async_dir }}/made", state: directory, mode: '0700'}}
    poll: 1
  notify: A start was notified

- name: Start and wait for what changes nothing
  longhaul.jobs.async_start:
    task: {ansible.builtin.file: {path: "{{ ansible_async_dir }}/made", state: directory, mode: '0700'}}
    poll: 1
  notify: An unchanged start was notified

- name: Start what fails
  longhaul.jobs.async_start:
    cmd: sleep 1.5; echo too bad >&2; exit 7
  register: failing
  notify: A launch was notified
  failed_when: failing is failed
  changed_when: failing is finished

- name: Start what changes nothing
  longhaul.jobs.async_start:
    task: {ansible.builtin.command: {cmd: 'true', creates: /}}
  register: idle

- name: Wait for what fails
  longhaul.jobs.async_status:
    jid: "{{ failing.ansible_job_id }}"
  register: outcome
  until: outcome is finished
  retries: 100
  delay: 1
  ignore_errors: true
  notify: A failed job was notified

- name: Wait for what changes nothing
  longhaul.jobs.async_status:
    jid: "{{ idle.ansible_job_id }}"
  register: idled
  until: idled is finished
  retries: 100
  delay: 1
  notify: An idle job was notified

- name: Wait for what failed in a way that is expected
  longhaul.jobs.async_status:
    jid: "{{ failing.ansible_job_id }}"
  register: expected
  until: expected is finished
  failed_when: expected.rc | default(0) != 7
  changed_when: "'too bad' in expected.stderr"
  notify: An expected failure was notified

- name: Wait in a list for all of them
  longhaul.jobs.async_status:
    jobs: ["{{ failing }}", "{{ idle }}"]
  register: listed
  until: listed is finished
  failed_when: listed.jobs | map(attribute='job.state') | list != ['failed', 'succeeded']
  changed_when: listed.jobs[1] is changed
  notify: An idle list was notified

- name: Run the handlers
  ansible.builtin.meta: flush_handlers

- name: Show what was registered
  ansible.builtin.debug:
    var: outcome

- name: Fail for good
  longhaul.jobs.async_start:
    cmd: exit 3
    poll: 1

- name: Never come here
  ansible.builtin.debug:
    msg: a failed job was taken for a success
"""
NOTIFIED = "A start was notified", "An expected failure was notified"
NOT_NOTIFIED = (
    "An unchanged start was notified",
    "A launch was notified",
    "A failed job was notified",
    "An idle job was notified",
    "An idle list was notified",
)


@pytest.fixture(scope="module")
def outcomes(shared_stage: Stage) -> Run:
    shared_stage.add_local()
    handlers = "\n".join(f"- name: {name}\n  ansible.builtin.debug:\n    msg: run" for name in (*NOTIFIED, *NOT_NOTIFIED))
    return shared_stage.play(OUTCOMES, handlers=handlers, rc=2)


def test_a_start_with_poll_is_changed_by_what_its_job_changed(outcomes: Run) -> None:
    """S17"""
    assert outcomes.result("Start and wait for what changes something")["changed"] is True
    assert outcomes.result("Start and wait for what changes nothing")["changed"] is False


@pytest.mark.parametrize("handler", NOTIFIED)
def test_a_change_notifies(outcomes: Run, handler: str) -> None:
    """S17"""
    assert len(outcomes.of(handler)) == 1


@pytest.mark.parametrize("handler", NOT_NOTIFIED)
def test_no_change_and_no_failure_notifies(outcomes: Run, handler: str) -> None:
    """S17"""
    assert outcomes.of(handler) == []


def test_a_failed_job_fails_the_task_that_waits_for_it_with_until(outcomes: Run) -> None:
    """S17: the last attempt failed, the ones before, while the job ran, did not."""
    looks = outcomes.of("Wait for what fails")
    assert [look["kind"] for look in looks] == ["retry"] * (len(looks) - 1) + ["failed"]
    assert len(looks) >= 2
    assert not any(look["result"].get("failed") for look in looks[:-1])
    assert (looks[-1]["result"]["rc"], looks[-1]["result"]["stderr"]) == (7, "too bad")


def test_what_is_registered_of_a_failed_job_is_its_outcome(outcomes: Run) -> None:
    """S17"""
    registered = outcomes.result("Show what was registered")["outcome"]
    assert (registered["failed"], registered["finished"], registered["rc"]) == (True, True, 7)
    assert registered["job"]["state"] == "failed"


def test_failed_when_and_changed_when_have_the_last_word_in_until(outcomes: Run) -> None:
    """S17"""
    result = outcomes.result("Wait for what failed in a way that is expected")
    assert (outcomes.last("Wait for what failed in a way that is expected")["kind"], result["changed"]) == ("ok", True)
    result = outcomes.result("Wait in a list for all of them")
    assert (outcomes.last("Wait in a list for all of them")["kind"], result["changed"]) == ("ok", False)


def test_a_failed_job_ends_the_play_of_a_start_with_poll(outcomes: Run) -> None:
    """S17"""
    assert outcomes.last("Fail for good")["kind"] == "failed"
    assert outcomes.of("Never come here") == []


KEYS = """
- name: Make a folder
  longhaul.jobs.async_start:
    task: {ansible.builtin.file: {path: "{{ ansible_async_dir }}/folder", state: directory, mode: '0700'}}
    poll: 1

- name: Wait for a time
  longhaul.jobs.async_start:
    task: {ansible.builtin.wait_for: {timeout: 1}}
    poll: 1

- name: Return our keys
  longhaul.jobs.async_start:
    task: {longhaul.scenario.clashing: {}}
  register: clashing

- name: Ask for our keys
  longhaul.jobs.async_status:
    jid: "{{ clashing.ansible_job_id }}"
  register: asked
  until: asked is finished
  retries: 60
  delay: 1

- name: Ask for our keys in a list
  longhaul.jobs.async_status:
    jobs: "{{ clashing }}"

- name: Let core ask for our keys
  ansible.builtin.async_status:
    jid: "{{ clashing.ansible_job_id }}"
"""
CLASHING = """
    #!/usr/bin/python
    import json
    print(json.dumps({
        "changed": False, "state": "mine", "elapsed": 12, "start": "mine", "cause": "mine", "name": "mine", "schema": 7,
        "ansible_job_id": "j1.1", "started": False, "finished": 0, "results_file": "/mine", "job": {"state": "mine", "jid": "j1.1"},
    }))
    raise SystemExit(0)
    # from ansible.module_utils.basic import AnsibleModule
"""


@pytest.fixture(scope="module")
def keys(shared_stage: Stage) -> Run:
    shared_stage.add_local()
    shared_stage.add_module("clashing", CLASHING)
    return shared_stage.play(KEYS)


def test_the_state_of_a_file_is_the_file_s(keys: Run) -> None:
    """S35"""
    result = keys.result("Make a folder")
    assert (result["state"], result["job"]["state"], result["mode"]) == ("directory", "succeeded", "0700")


def test_the_state_and_the_elapsed_time_of_a_wait_are_the_wait_s(keys: Run) -> None:
    """S35"""
    result = keys.result("Wait for a time")
    assert (result["state"], result["job"]["state"]) == ("started", "succeeded")
    assert isinstance(result["elapsed"], int)
    assert result["elapsed"] >= 1
    assert "result" not in result["job"]


@pytest.mark.parametrize("task", ["Ask for our keys", "Ask for our keys in a list"])
def test_keys_that_both_have_are_ours_and_the_module_s_are_kept(keys: Run, task: str) -> None:
    """S35"""
    started = keys.result("Return our keys")
    result = keys.result(task)
    result = result["jobs"][0] if "jobs" in result else result
    assert (result["started"], result["finished"]) == (True, True)
    assert (result["ansible_job_id"], result["results_file"]) == (started["ansible_job_id"], started["results_file"])
    assert (result["job"]["state"], result["job"]["jid"]) == ("succeeded", started["ansible_job_id"])
    assert (result["state"], result["elapsed"], result["start"], result["cause"], result["name"]) == ("mine", 12, "mine", "mine", "mine")
    assert result["job"]["result"] == {
        "ansible_job_id": "j1.1",
        "started": False,
        "finished": 0,
        "results_file": "/mine",
        "job": {"state": "mine", "jid": "j1.1"},
    }


def test_core_gives_up_on_no_job_whose_module_says_that_it_has_not_finished(keys: Run) -> None:
    """S35: to core too it is a job that has ended."""
    assert keys.last("Let core ask for our keys")["kind"] == "ok"
    assert keys.result("Let core ask for our keys")["finished"] in (1, True)


EXAMPLES = """
- name: The text's own example, through the collection
  longhaul.jobs.async_start:
    task: {ansible.builtin.shell: {cmd: ls -l}}
    time_limit: 1920
  register: command_sleeper

- name: Waiting for command to complete
  longhaul.jobs.async_status:
    jid: "{{ command_sleeper.ansible_job_id }}"
  register: job_result
  until: job_result.finished
  retries: 60
  delay: 30
"""


def test_the_first_examples_run_as_they_stand(stage: Stage) -> None:
    """The public face's first two examples, to the letter."""
    stage.add_local()
    run = stage.play(EXAMPLES)
    started = run.result("The text's own example, through the collection")
    ended = run.result("Waiting for command to complete")
    assert (started["started"], started["finished"], started["job"]["time_limit"]) == (True, False, 1920)
    assert (ended["finished"], ended["rc"], ended["cmd"]) == (True, 0, "ls -l")
    assert ended["stdout_lines"]
    assert ended["stdout_lines"] == ended["stdout"].splitlines()
    assert ended["ansible_job_id"] == started["ansible_job_id"]
