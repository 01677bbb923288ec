# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role fire_and_forget: a play that is run again, and references that belong to another host."""

from __future__ import annotations

from ansible_collections.longhaul.jobs.tests.scenarios.support import Json, Run, Stage

MAIN = """
- name: Start them
  ansible.builtin.include_role: {name: longhaul.jobs.fire_and_forget}
  vars:
    fire_and_forget_jobs:
      - {name: one, cmd: "echo one >>{{ ran }}; while ! test -e {{ ran }}.gate; do sleep 0.1; done; echo let go"}
      - {name: two, task: {ansible.builtin.command: "echo {{ second | default('two') }}"}}
"""
COLLECT = """
- name: Open the gate
  ansible.builtin.file: {path: "{{ ran }}.gate", state: touch}

- name: Collect them
  ansible.builtin.include_role: {name: longhaul.jobs.fire_and_forget, tasks_from: collect}
  vars: {fire_and_forget_delay: 1}
"""
EACH = "Start each job detached"


def _started(run: Run) -> dict[str, Json]:
    """The starts' results, by name."""
    return {result["job"]["name"]: result for result in run.result(EACH)["results"]}


def test_a_play_that_is_run_again_picks_up_what_runs(stage: Stage) -> None:
    ran = stage.folder / "ran"
    stage.add_local(ran=str(ran))
    first = _started(stage.play(MAIN))
    again = stage.play(MAIN + COLLECT)
    second = _started(again)
    assert second["one"]["ansible_job_id"] == first["one"]["ansible_job_id"]
    assert (second["one"]["changed"], second["one"]["job"]["attached"]) == (False, True)
    assert second["two"]["ansible_job_id"] != first["two"]["ansible_job_id"], "it has ended, and is started anew"
    assert ran.read_text() == "one\n"
    results = again.result("Hand back each job's result by its name")["ansible_facts"]["fire_and_forget_results"]
    assert {name: (job["stdout"], job["ansible_job_id"]) for name, job in results.items()} == {
        "one": ("let go", first["one"]["ansible_job_id"]),
        "two": ("two", second["two"]["ansible_job_id"]),
    }


def test_other_work_of_a_name_is_refused(stage: Stage) -> None:
    stage.add_local(ran=str(stage.folder / "ran"))
    stage.play(MAIN)
    run = stage.play(MAIN.replace("echo let go", "echo other"), rc=2)
    (failed,) = [item for item in run.result(EACH)["results"] if "job" not in item]
    assert "the name one is held by job" in failed["msg"]
    assert "if_running: replace" in failed["msg"]
    (stage.folder / "ran.gate").touch()


def test_references_of_another_host_are_refused(stage: Stage) -> None:
    """With the delegate_to that they need; by it they are collected."""
    for name in ("one", "two"):
        stage.add_local(name, ran=str(stage.folder / "ran"), ansible_async_dir=str(stage.folder / f"async-{name}"))
        stage.spools.append(stage.folder / f"async-{name}")
    plays = f"""
- name: Start on the one
  hosts: one
  gather_facts: false
  tasks:{_indented(MAIN)}
- name: Collect on the other
  hosts: two
  gather_facts: false
  vars:
    fire_and_forget_started: "{{{{ hostvars['one'].fire_and_forget_started }}}}"
  tasks:{_indented(COLLECT)}
"""
    run = stage.play(plays, rc=2)
    last = run.last("Fail if a job has, naming each that did", "two")
    assert last["kind"] == "failed"
    for job in _started(run).values():
        assert f"job {job['ansible_job_id']} is one of one, not of two: ask with delegate_to: one" in last["result"]["msg"]


def _indented(tasks: str) -> str:
    return tasks.replace("\n", "\n    ").rstrip(" ")
