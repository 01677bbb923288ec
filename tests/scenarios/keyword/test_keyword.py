# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What core's keyword gains on our engine, and what it leaves behind; each with the command lines of old and new cores."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import typing as t
from pathlib import Path

import ansible.release
import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.support import BIN, COLLECTIONS, PYTHON, Json, Run, Stage, other_cores
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import alive, wait_for

MODULES = COLLECTIONS / "ansible_collections" / "longhaul" / "jobs" / "plugins" / "modules"
NEWEST = ansible.release.__version__.rpartition(".")[0]
CORES = {NEWEST: BIN} | {core: path for core, path in other_cores().items() if core == "2.16"}
ASK = """
- name: Ask
  ansible.builtin.async_status: {{jid: {jid}}}
  register: look
  until: look is finished
  retries: 20
  delay: 1
  failed_when: false
"""


class Keyword:
    """A stage where core's keyword is ours."""

    def __init__(self, stage: Stage, core: str) -> None:
        self.stage = stage
        self.core = core
        stage.add_local()

    def play(self, tasks: str, **given: t.Any) -> Run:
        return self.stage.play(tasks, programs=CORES[self.core], ANSIBLE_LIBRARY=str(MODULES), **given)

    def start(self, module: str, limit: int = 60, **given: t.Any) -> Json:
        """Start a task with the keyword; what its registered result holds."""
        return self.play(f"- name: Start\n  {module}\n  async: {limit}\n  poll: 0\n", **given).result("Start")

    def end(self, job: Json) -> Json:
        """What core's action says when the job has ended."""
        return self.play(ASK.format(jid=job["ansible_job_id"])).result("Ask")

    def folders(self) -> list[Path]:
        """What core has laid down for modules, and is still there."""
        return list((self.stage.folder / "tmp").glob("ansible-tmp-*"))


@pytest.fixture(params=sorted(CORES))
def keyword(request: pytest.FixtureRequest, stage: Stage) -> Keyword:
    return Keyword(stage, request.param)


def test_the_limit_ends_the_whole_tree(keyword: Keyword) -> None:
    pids = keyword.stage.folder / "pids"
    job = keyword.start(f"ansible.builtin.shell: setsid sleep 3600 & echo $! > {pids}; nohup sleep 3600 & echo $! >> {pids}; wait", limit=1)
    ended = keyword.end(job)
    assert ended["job"]["state"] == "timed_out"
    assert ended["job"]["survivors"] == []
    assert not any(alive(int(pid)) for pid in pids.read_text().split())
    assert Path(job["results_file"]).stat().st_mode & 0o777 == 0o600
    assert keyword.stage.spool.stat().st_mode & 0o777 == 0o700


def test_a_killed_job_does_not_run_for_ever(keyword: Keyword) -> None:
    job = keyword.start("ansible.builtin.command: sleep 3600")
    for who in ("supervisor_pid", "payload_pid"):
        os.kill(job["job"][who], signal.SIGKILL)
    ended = keyword.end(job)
    assert ended["job"]["state"] == "lost"
    assert ended["attempts"] == 1
    assert keyword.folders() == []  # the look that wrote the end has removed the module's


def test_the_folder_of_the_module_goes_with_its_end(keyword: Keyword) -> None:
    job = keyword.start("ansible.builtin.command: sleep 3600")
    (folder,) = keyword.folders()
    assert (folder / "AnsiballZ_command.py").exists()
    os.kill(job["job"]["payload_pid"], signal.SIGTERM)
    wait_for(lambda: not keyword.folders())


def test_the_folder_of_the_module_is_kept_where_that_is_asked_for(keyword: Keyword) -> None:
    job = keyword.start("ansible.builtin.command: echo here", ANSIBLE_KEEP_REMOTE_FILES="1")
    assert keyword.end(job)["stdout"] == "here"
    assert any((folder / "AnsiballZ_command.py").exists() for folder in keyword.folders())


def test_facts_are_gathered_side_by_side(keyword: Keyword) -> None:
    """By core's own action, which uses the wrapper with a limit of 0."""
    keyword.stage.hosts["local"]["ansible_facts_modules"] = ["ansible.builtin.setup", "ansible.builtin.package_facts"]
    run = keyword.play("- name: Gather\n  ansible.builtin.gather_facts:\n    parallel: true\n")
    assert {"ansible_system", "packages"} <= set(run.result("Gather")["ansible_facts"])


def test_a_start_says_nothing_of_an_end_that_was_faster(keyword: Keyword) -> None:
    keyword.start("ansible.builtin.command: sleep 3600", ANSIBLE_KEEP_REMOTE_FILES="1")
    (folder,) = keyword.folders()
    module = folder / "AnsiballZ_quick"
    module.write_text('#!/bin/sh\necho \'{"failed": true, "msg": "quick", "rc": 7}\'\n')
    module.chmod(0o755)
    environment = {**os.environ, "ANSIBLE_ASYNC_DIR": str(keyword.stage.spool)}
    words = [PYTHON, str(folder / "async_wrapper.py"), "j123456789012", "60", "true", str(module), str(module)]
    for _repeat in range(5):
        told = json.loads(subprocess.run(words, env=environment, capture_output=True, check=True).stdout)
        assert (told["started"], told["finished"], "failed" in told, "rc" in told) == (True, False, False, False)
        module.unlink(missing_ok=True)  # as at the end of a job
    assert keyword.end(told)["rc"] == 7


def test_a_run_in_check_mode_leaves_no_job(stage: Stage) -> None:
    """Core's own cleanup at the end of its waiting runs in check mode too."""
    keyword = Keyword(stage, NEWEST)
    keyword.play("- name: Stay\n  ansible.builtin.command: {cmd: echo here, creates: /}\n  async: 60\n  poll: 1\n  check_mode: true\n")
    assert [path.name for path in stage.spool.glob("*.d/*")] == ["removed"]


def test_a_removal_takes_the_folder_of_the_module_along(keyword: Keyword) -> None:
    """Also where it comes between an end and what is tidied up after it."""
    job = keyword.start("ansible.builtin.command: sleep 3600")
    (folder,) = keyword.folders()
    os.kill(job["job"]["supervisor_pid"], signal.SIGSTOP)
    os.kill(job["job"]["payload_pid"], signal.SIGKILL)
    path = Path(job["results_file"])
    path.write_text(json.dumps({**json.loads(path.read_text()), "finished": True}))  # the commit's rename, and no more
    keyword.play(f"- name: Clean up\n  ansible.builtin.async_status: {{jid: {job['ansible_job_id']}, mode: cleanup}}\n")
    os.kill(job["job"]["supervisor_pid"], signal.SIGKILL)  # its record is gone, so nothing else would find it
    assert not folder.exists()


def test_a_repeated_command_meets_its_job(keyword: Keyword) -> None:
    """As ssh repeats it when its reply was lost."""
    count = keyword.stage.folder / "count"
    keyword.start(f"ansible.builtin.shell: echo x >> {count}; sleep 3600", ANSIBLE_KEEP_REMOTE_FILES="1")
    (folder,) = keyword.folders()
    module = str(folder / "AnsiballZ_command.py")
    new = [PYTHON, str(folder / "async_wrapper.py"), "j123456789012", "60", "true", module, "/usr/bin/python3", module]
    old = [*new[:4], module, "_", "-preserve_tmp"]
    environment = {**os.environ, "ANSIBLE_ASYNC_DIR": str(keyword.stage.spool)}
    for words in (new, old):
        said = [subprocess.run(words, env=environment, capture_output=True, check=True).stdout for _time in range(2)]
        first, second = map(json.loads, said)
        assert first["ansible_job_id"] == second["ansible_job_id"] == words[2] + ".1"
        assert first["job"]["payload_pid"] == second["job"]["payload_pid"]
        assert (first["started"], first["finished"]) == (True, False)
    wait_for(lambda: count.read_text() == "x\n" * 2)


@pytest.mark.parametrize("words", [[], ["x", "y"], ["j1", "9", "false", "true", "true"]])
def test_nobody_calls_it_by_hand(keyword: Keyword, words: list[str]) -> None:
    keyword.start("ansible.builtin.command: sleep 3600", ANSIBLE_KEEP_REMOTE_FILES="1")
    (folder,) = keyword.folders()
    before = sorted(keyword.stage.spool.iterdir())
    environment = {**os.environ, "ANSIBLE_ASYNC_DIR": str(keyword.stage.spool)}
    command = [PYTHON, str(folder / "async_wrapper.py"), *words]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    assert told["failed"] is True
    assert "nothing was started" in told["msg"]
    assert sorted(keyword.stage.spool.iterdir()) == before


def test_what_cannot_be_started_leaves_nothing(keyword: Keyword) -> None:
    keyword.stage.spool.mkdir(mode=0o777)
    keyword.stage.spool.chmod(0o777)
    run = keyword.play("- name: Start\n  ansible.builtin.command: touch /never\n  async: 60\n  poll: 0\n", rc=2)
    assert "is writable for others" in run.result("Start")["msg"]
    assert list(keyword.stage.spool.iterdir()) == []
    assert keyword.folders() == []


def test_a_running_job_is_not_cleaned_up(keyword: Keyword) -> None:
    job = keyword.start("ansible.builtin.command: sleep 3600")
    clean = f"- name: Clean up\n  ansible.builtin.async_status: {{jid: {job['ansible_job_id']}, mode: cleanup}}\n"
    refused = keyword.play(clean, rc=2).result("Clean up")
    assert "still running" in refused["msg"]
    assert Path(job["results_file"]).exists()


def test_our_modules_know_its_jobs(stage: Stage) -> None:
    run = Keyword(stage, NEWEST).play(
        """
        - name: Start
          ansible.builtin.command: echo {{ item }}
          async: 60
          poll: 0
          loop: [a, b]
          register: both
        - name: Ask
          longhaul.jobs.async_status: {jobs: "{{ both }}"}
          register: looks
          until: looks is finished
          retries: 20
          delay: 1
        - name: Start unseen
          ansible.builtin.command: echo a secret
          async: 60
          poll: 0
          no_log: true
          register: unseen
        - name: Ask for what was unseen
          longhaul.jobs.async_status: {jid: "{{ unseen.ansible_job_id }}"}
          register: look
          until: look is finished
          retries: 20
          delay: 1
        - name: Write to a module that only our full names know
          async_start: {cmd: 'true'}
          ignore_errors: true
        - name: Call what core calls
          async_wrapper:
          ignore_errors: true
        """,
    )
    assert [job["stdout"] for job in run.result("Ask")["jobs"]] == ["a", "b"]
    assert "censored" in run.result("Ask for what was unseen")
    assert "a secret" not in run.output
    assert "longhaul.jobs.async_start" in run.result("Write to a module that only our full names know")["msg"]
    assert "not for playbooks" in run.result("Call what core calls")["msg"]


def test_core_is_core_where_it_is_not_switched_on(stage: Stage) -> None:
    stage.add_local()
    start = "- name: Start\n  ansible.builtin.command: echo here\n  async: 60\n  poll: 0\n  register: job\n"
    ask = ASK.format(jid='"{{ job.ansible_job_id }}"')
    run = stage.play(start + ask)
    assert "job" not in run.result("Start")
    assert "job" not in run.result("Ask")


def test_a_home_that_cannot_be_written(stage: Stage) -> None:
    keyword = Keyword(stage, NEWEST)
    stage.hosts["local"]["ansible_async_dir"] = "/proc/no/such"
    fallback = Path(f"/var/tmp/.longhaul-{os.getuid()}")
    stage.spools.append(fallback)
    job = keyword.start("ansible.builtin.command: echo here")
    assert job["results_file"].startswith(f"{fallback}/")
    assert keyword.end(job)["stdout"] == "here"
    keyword.play(f"- name: Clean up\n  ansible.builtin.async_status: {{jid: {job['ansible_job_id']}, mode: cleanup}}\n")
    assert not Path(job["results_file"]).exists()
    shutil.rmtree(job["results_file"] + ".d")  # the mark of the removal
