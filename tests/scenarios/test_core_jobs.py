# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both ways of compatibility: core's own async_status reads our jobs at every moment, and ours reads what core's wrapper leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.support import Json, Run, Stage, processes
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import alive, wait_for

# Calls core's module in one process, as often as it can, for the first job that shows in a directory, from before its
# job file is there until it has seen an end twenty times over, or has been told to stop. Writes one line for each new answer.
WATCHER = """
import contextlib, io, json, os, sys, time
from ansible.module_utils import basic
from ansible.modules import async_status

folder, log, stop, proof = sys.argv[1:]

def ask(jid):
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": {"jid": jid, "_async_dir": folder}}).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        async_status.main()
    return json.loads(said.getvalue())

jid, before, ends = None, None, 0
with open(log, "w") as out:
    while ends < 20 and not os.path.exists(stop):
        if jid is None:
            names = os.listdir(folder) if os.path.isdir(folder) else []
            found = [name[5:].rpartition("-")[0] for name in names if name.startswith(".new-j")]
            found += [name.split(".d")[0] for name in names if name.startswith("j")]
            jid = found[0] if found else None
            continue
        answer = ask(jid)
        answer["proof"] = os.path.exists(proof)
        if answer != before:
            out.write(json.dumps(answer) + "\\n")
            out.flush()
            before = answer
        time.sleep(0.002)
        there = answer.get("msg") != "could not find job"
        ends += bool(there and answer.get("finished"))
"""


class Watcher:
    """Core's module at work on the first job of an async dir."""

    def __init__(self, stage: Stage, case: str) -> None:
        self.folder = stage.folder / f"async-{case}"
        stage.spools.append(self.folder)
        self.proof = stage.folder / f"proof-{case}"  # made by the payload's last act
        self.stop = stage.folder / f"stop-{case}"
        self._log = stage.folder / f"answers-{case}"
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON"))}
        words = [sys.executable, "-c", WATCHER, str(self.folder), str(self._log), str(self.stop), str(self.proof)]
        self._process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def said(self) -> list[Json]:
        """Its different answers up to now, in their order."""
        lines = self._log.read_text().splitlines(keepends=True) if self._log.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def end(self) -> list[Json]:
        """Its answers, once it has seen the end."""
        try:
            errors = self._process.communicate(timeout=30)[1].decode()
        finally:
            self._process.kill()
            self._process.wait()
        assert self._process.returncode == 0, errors
        return self.said()


START = """
- name: Start
  longhaul.jobs.async_start:
    cmd: "{{ cmd }}"
    time_limit: "{{ limit | default(omit) }}"
    grace: 1
    async_dir: "{{ watched }}"
  register: started

- name: Wait
  longhaul.jobs.async_status:
    jid: "{{ started.ansible_job_id }}"
    async_dir: "{{ watched }}"
  register: ended
  until: ended is finished
  retries: 60
  delay: 1
  ignore_errors: true
"""


def _truthful(answers: list[Json]) -> None:
    """What holds of all that core says of a job: first it may not be there, then it runs, then it has ended."""
    kinds = ["missing" if one.get("msg") == "could not find job" else "ended" if one.get("finished") else "running" for one in answers]
    assert kinds == sorted(kinds, key=("missing", "running", "ended").index), answers
    assert "running" in kinds, answers
    assert kinds.count("ended") == 1, answers  # and the end never changes
    for one, kind in zip(answers, kinds, strict=True):
        assert "Could not parse" not in str(one.get("msg")), one
        if kind == "running":
            assert one["started"]
            assert not one.get("failed")
            assert one["ansible_job_id"]
            assert "job" in one, "core met a job file that is there but cannot be read"


@pytest.mark.parametrize("case", ["succeeded", "failed", "large"])
def test_core_reads_our_job_at_every_moment_of_its_life(stage: Stage, case: str) -> None:
    """From before the start's reply until after the end; never broken, never finished before the end."""
    watcher = Watcher(stage, case)
    ends = {"succeeded": "echo done", "failed": "echo done; exit 5", "large": "echo done; yes 1234567 | head -c 900000"}
    last = f"sleep 1; {ends[case].replace('exit 5', 'true')}; touch {watcher.proof}" + ("; exit 5" if case == "failed" else "")
    stage.add_local(cmd=last, watched=str(watcher.folder))
    run = stage.play(START)
    answers = watcher.end()
    _truthful(answers)
    end = answers[-1]
    assert end["proof"], "it was finished before its last act"
    ours = run.result("Wait")
    assert end["job"]["state"] == ours["job"]["state"] == ("failed" if case == "failed" else "succeeded")
    assert (end["rc"], end["stdout"]) == (ours["rc"], ours["stdout"])
    assert bool(end.get("failed")) == (case == "failed")
    assert end["stdout"].startswith("done")


def test_core_reads_our_job_that_ran_out_of_time(stage: Stage) -> None:
    """The same for timed_out: failed and finished for core too."""
    watcher = Watcher(stage, "limit")
    stage.add_local(cmd="echo begun; sleep 600", watched=str(watcher.folder), limit=2)
    stage.play(START)
    answers = watcher.end()
    _truthful(answers)
    end = answers[-1]
    assert (end["job"]["state"], end["failed"], end["stdout"]) == ("timed_out", True, "begun")
    assert end["msg"]


def test_core_reads_our_job_that_was_lost_once_somebody_has_looked(stage: Stage) -> None:
    """Killed: running for core until one of ours has judged it, then failed and finished."""
    watcher = Watcher(stage, "killed")
    stage.add_local(cmd="echo begun; sleep 600", watched=str(watcher.folder))
    run = stage.begin(START)
    run.wait_for(lambda: run.of("Wait"))
    job = run.result("Start")["job"]
    os.kill(job["supervisor_pid"], signal.SIGKILL)
    os.killpg(job["payload_pid"], signal.SIGKILL)
    run.finish()
    answers = watcher.end()
    _truthful(answers)
    assert (answers[-1]["job"]["state"], answers[-1]["failed"]) == ("lost", True)


@pytest.mark.parametrize("case", ["command", "module"])
def test_core_never_finds_a_start_that_was_none(stage: Stage, case: str) -> None:
    """A payload that cannot be exec'ed: core sees nothing, or the end at once, but no job that runs."""
    watcher = Watcher(stage, case)
    task = "{ansible.builtin.command: {cmd: /nowhere/at/all}}"
    if case == "module":
        task = "{longhaul.scenario.headless: {}}"
        stage.add_module("headless", "#!/nowhere/at/all\n# WANT_JSON\n")
    stage.add_local(watched=str(watcher.folder))
    run = stage.play(
        f"""
        - name: Start
          longhaul.jobs.async_start:
            task: {task}
            async_dir: "{{{{ watched }}}}"
          ignore_errors: true
        """
    )
    answers = watcher.end()
    assert [one for one in answers if one.get("msg") != "could not find job"][0]["failed"] is True
    assert not any(one.get("started") and not one.get("finished") for one in answers)
    assert run.result("Start")["job"]["cause"] == "never_started"


CORE_ASKS = """
- name: Start the ones that end
  longhaul.jobs.async_start: "{{ item }}"
  loop:
    - {cmd: sleep 1; echo well}
    - {cmd: exit 5}
    - {cmd: sleep 600, time_limit: 1, grace: 1}
    - {task: {ansible.builtin.stat: {path: /}}}
  register: ours

- name: Start one that runs on
  longhaul.jobs.async_start:
    cmd: echo begun; while ! test -e "{{ ansible_async_dir }}/gate"; do sleep 0.1; done; echo let go
  register: long

- name: Let core wait for each of them
  ansible.builtin.async_status:
    jid: "{{ item.ansible_job_id }}"
  loop: "{{ ours.results }}"
  loop_control: {label: "{{ item.ansible_job_id }}"}
  register: ended
  until: ended is finished
  retries: 60
  delay: 1
  ignore_errors: true

- name: Let core clean each of them up
  ansible.builtin.async_status:
    jid: "{{ item.ansible_job_id }}"
    mode: cleanup
  loop: "{{ ours.results }}"
  loop_control: {label: "{{ item.ansible_job_id }}"}

- name: Ask what is left of them
  longhaul.jobs.async_status:
    jobs: "{{ ours }}"
  ignore_errors: true

- name: Let core take the record of the one that runs
  ansible.builtin.async_status:
    jid: "{{ long.ansible_job_id }}"
    mode: cleanup

- name: Ask for it nevertheless
  longhaul.jobs.async_status:
    jid: "{{ long.ansible_job_id }}"

- name: Let it go
  ansible.builtin.file: {path: "{{ ansible_async_dir }}/gate", state: touch, mode: '0600'}

- name: Wait for it
  longhaul.jobs.async_status:
    jid: "{{ long.ansible_job_id }}"
  register: waited
  until: waited is finished
  retries: 60
  delay: 1
"""


@pytest.fixture(scope="module")
def core_asks(shared_stage: Stage) -> Run:
    shared_stage.add_local()
    return shared_stage.play(CORE_ASKS)


def test_core_s_tasks_wait_for_our_jobs(core_asks: Run) -> None:
    """Succeeded, failed, timed out, and a module."""
    events = [event for event in core_asks.of("Let core wait for each of them") if event["kind"].startswith("item_")]
    assert [event["kind"] for event in events] == ["item_ok", "item_failed", "item_failed", "item_ok"]
    results = [event["result"] for event in events]
    assert [result["job"]["state"] for result in results] == ["succeeded", "failed", "timed_out", "succeeded"]
    assert results[0]["stdout_lines"] == ["well"]
    assert results[1]["rc"] == 5
    assert "limit" in results[2]["msg"]
    assert results[3]["stat"]["isdir"] is True


def test_what_core_has_cleaned_up_is_gone_for_us(core_asks: Run) -> None:
    """S12's neighbour."""
    assert [job["job"]["state"] for job in core_asks.result("Ask what is left of them")["jobs"]] == ["unknown"] * 4


def test_a_running_job_whose_record_core_took_away_is_still_known(core_asks: Run) -> None:
    """S12: core deletes what it should not; the job runs on, is told so, and its end comes."""
    assert core_asks.result("Ask for it nevertheless")["job"]["state"] == "running"
    assert core_asks.result("Wait for it")["stdout_lines"] == ["begun", "let go"]


CORE_STARTS = """
- name: Start by core's keyword
  ansible.builtin.shell: "{{ item }}"
  async: 60
  poll: 0
  loop:
    - sleep 1; echo of core
    - echo bad >&2; exit 6
    - echo kill me; sleep 600
    - echo refuse me; sleep 600
  register: theirs

- name: Start a module by core's keyword that fails
  ansible.builtin.file: {path: /nowhere/at/all, state: directory, recurse: true, owner: nobody-of-that-name}
  async: 60
  poll: 0
  register: module

- name: Start one by core's keyword that takes too long
  ansible.builtin.command: sleep 600
  async: 2
  poll: 0
  register: late

- name: Ask for one that runs
  longhaul.jobs.async_status:
    jid: "{{ theirs.results[3].ansible_job_id }}"

- name: Refuse to clean up one that runs
  longhaul.jobs.async_status:
    jid: "{{ theirs.results[3].ansible_job_id }}"
    mode: cleanup
  ignore_errors: true

- name: Ask for the one that is killed
  longhaul.jobs.async_status:
    jid: "{{ theirs.results[2].ansible_job_id }}"
  register: killed
  until: killed is finished
  retries: 60
  delay: 1
  ignore_errors: true

- name: Clean up the one that was killed
  longhaul.jobs.async_status:
    jid: "{{ theirs.results[2].ansible_job_id }}"
    mode: cleanup

- name: Wait for the one that succeeds
  longhaul.jobs.async_status:
    jid: "{{ theirs.results[0].ansible_job_id }}"
  register: well
  until: well.finished
  retries: 60
  delay: 1

- name: Wait for the one that fails
  longhaul.jobs.async_status:
    jid: "{{ theirs.results[1].ansible_job_id }}"
  register: bad
  until: bad.finished
  retries: 60
  delay: 1
  ignore_errors: true

- name: Wait for the module
  longhaul.jobs.async_status:
    jid: "{{ module.ansible_job_id }}"
  register: moduled
  until: moduled.finished
  retries: 60
  delay: 1
  ignore_errors: true

- name: Wait for the late one
  longhaul.jobs.async_status:
    jid: "{{ late.ansible_job_id }}"
  register: lated
  until: lated.finished
  retries: 60
  delay: 1
  ignore_errors: true

- name: Clean up
  longhaul.jobs.async_status:
    jid: "{{ theirs.results[0].ansible_job_id }}"
    mode: cleanup

- name: Ask again
  longhaul.jobs.async_status:
    jid: "{{ theirs.results[0].ansible_job_id }}"
  ignore_errors: true
"""


def _wrappers(result: Json) -> t.Iterator[int]:
    """The pids of core's wrapper and its monitor for a job, and of what they run."""
    for pid, line in processes():
        if "async_wrapper" in line and result["ansible_job_id"].split(".")[0] in line:
            yield pid


@pytest.fixture(scope="module")
def core_starts(shared_stage: Stage) -> Run:
    shared_stage.add_local()
    run = shared_stage.begin(CORE_STARTS)
    run.wait_for(lambda: run.of("Ask for the one that is killed"), 60)
    loop = [event["result"] for event in run.of("Start by core's keyword") if event["kind"].startswith("item_")]
    victims = list(_wrappers(loop[2]))
    assert victims
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(map(alive, victims)))
    return run.finish()


def test_core_s_job_that_runs_is_running_and_is_not_cleaned_up(core_starts: Run) -> None:
    """S30, S12"""
    asked = core_starts.result("Ask for one that runs")
    assert (asked["started"], asked["finished"], asked["job"]["state"]) == (True, False, "running")
    assert core_starts.last("Refuse to clean up one that runs")["kind"] == "failed"
    assert "erased" not in core_starts.result("Refuse to clean up one that runs")
    assert Path(asked["results_file"]).exists()


def test_core_s_job_whose_wrapper_was_killed_is_lost_at_once(core_starts: Run) -> None:
    """S30: where core says running for ever."""
    assert core_starts.last("Ask for the one that is killed")["kind"] == "failed"
    result = core_starts.result("Ask for the one that is killed")
    assert (result["finished"], result["job"]["state"]) == (True, "lost")
    assert result["msg"]
    assert core_starts.result("Clean up the one that was killed")["erased"] == result["results_file"]


def test_core_s_job_that_succeeded_has_its_result(core_starts: Run) -> None:
    """S30"""
    result = core_starts.result("Wait for the one that succeeds")
    assert (result["finished"], result["changed"], result["rc"], result["stdout"]) == (True, True, 0, "of core")
    assert result["stdout_lines"] == ["of core"]
    assert result["job"]["state"] == "succeeded"
    assert result["ansible_job_id"] == result["job"]["jid"]


def test_core_s_job_that_failed_has_its_result(core_starts: Run) -> None:
    """S30"""
    assert core_starts.last("Wait for the one that fails")["kind"] == "failed"
    result = core_starts.result("Wait for the one that fails")
    assert (result["finished"], result["rc"], result["stderr"], result["job"]["state"]) == (True, 6, "bad", "failed")


def test_core_s_job_of_a_module_that_failed_has_the_module_s_message(core_starts: Run) -> None:
    """S30"""
    assert core_starts.last("Wait for the module")["kind"] == "failed"
    result = core_starts.result("Wait for the module")
    assert (result["finished"], result["job"]["state"]) == (True, "failed")
    assert "nobody-of-that-name" in result["msg"]


def test_core_s_job_that_took_too_long_ends_for_us_too(core_starts: Run) -> None:
    """S30"""
    assert core_starts.last("Wait for the late one")["kind"] == "failed"
    result = core_starts.result("Wait for the late one")
    assert result["finished"] is True
    assert result["job"]["state"] in ("timed_out", "lost")  # older cores kill and say nothing
    assert result["msg"]


def test_core_s_job_is_cleaned_up(core_starts: Run) -> None:
    """S30"""
    erased = core_starts.result("Clean up")["erased"]
    assert erased == core_starts.result("Wait for the one that succeeds")["results_file"]
    assert not Path(erased).exists()
    assert core_starts.result("Ask again")["job"]["state"] == "unknown"
