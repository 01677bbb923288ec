# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S41: homes that cannot be written, are not there, or may not execute. Start and status meet in one directory, or say one sentence."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.support import KEYS_OF_USERS, Run, Server, Stage, User

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


def _settle(stage: Stage, server: Server, user: User, keys: Path, way: str) -> None:
    """A host that is this machine as that user: logged in, or become by sudo, or by su."""
    stage.add_module("program", PROGRAM)
    variables: dict[str, t.Any] = {}
    if way == "login":
        user.let_in(server, keys)
        variables["ansible_user"] = user.name
    else:
        if not shutil.which(way):
            pytest.skip(f"there is no {way} here")
        variables |= {"ansible_become": True, "ansible_become_method": way, "ansible_become_user": user.name}
    stage.add_ssh(server, **variables)
    for defaults in ("ansible_async_dir", "ansible_remote_tmp"):
        del stage.hosts["loopback"][defaults]


def _agreed(run: Run, user: User, where: Path) -> None:
    """Everything was found again, and was there."""
    started, ended = run.result("Start"), run.result("Wait")
    assert (ended["stdout"], ended["job"]["user"]) == (user.name, user.name)
    assert started["job"]["async_dir"] == ended["job"]["async_dir"] == str(where)
    assert started["results_file"] == ended["results_file"] == f"{where}/{started['ansible_job_id']}"
    assert run.result("Start a module, and wait")["stat"]["isdir"] is True
    assert [job["job"]["async_dir"] for job in run.result("Ask in a list")["jobs"]] == [str(where)] * 3
    cleaned = [event["result"]["erased"] for event in run.of("Clean up") if event["kind"] == "item_ok"]
    assert len(cleaned) == 3
    assert all(path.startswith(f"{where}/j") for path in cleaned)


def _read_only(user: User) -> None:
    user.home.mkdir(mode=0o755)


def _missing(user: User) -> None:
    assert not user.home.exists()


def _a_file(user: User) -> None:
    user.home.touch()


@pytest.mark.parametrize(
    ("home", "way"),
    [(_read_only, "login"), (_read_only, "sudo"), (_missing, "login"), (_missing, "sudo"), (_missing, "su"), (_a_file, "sudo")],
)
def test_a_home_that_cannot_be_written_is_replaced_by_the_fallback(
    stage: Stage,
    make_user: t.Callable[[Path], User],
    make_server: t.Callable[..., Server],
    home: t.Callable[[User], None],
    way: str,
) -> None:
    """S41"""
    user = make_user(stage.folder / "home")
    home(user)
    keys = stage.folder / "keys"
    _settle(stage, make_server(KEYS_OF_USERS.format(keys=keys)), user, keys, way)
    run = stage.play(TASKS)
    _agreed(run, user, user.fallback)
    assert run.result("Start a program, and wait")["ran"] == "here"
    assert (user.fallback.stat().st_mode & 0o777, user.fallback.stat().st_uid) == (0o700, user.uid)


@pytest.fixture
def no_exec(stage: Stage, make_user: t.Callable[[Path], User]) -> t.Iterator[User]:
    """A user whose home is a file system of its own, mounted noexec."""
    user = make_user(stage.folder / "home")
    user.home.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"noexec,mode=0700,uid={user.uid}", "tmpfs", str(user.home)]
    mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield user
    finally:
        subprocess.run(["umount", "--lazy", str(user.home)], check=True)


@pytest.mark.parametrize("way", ["login", "sudo"])
def test_a_home_that_may_not_execute_runs_commands_and_modules(
    stage: Stage, no_exec: User, make_server: t.Callable[..., Server], way: str
) -> None:
    """S41: only a module that is a program of its own cannot be run there, and that is said in a sentence."""
    keys = stage.folder / "keys"
    _settle(stage, make_server(KEYS_OF_USERS.format(keys=keys)), no_exec, keys, way)
    run = stage.play(TASKS)
    _agreed(run, no_exec, no_exec.home / ".ansible_async")
    assert run.last("Start a program, and wait")["kind"] == "failed"
    program = run.result("Start a program, and wait")
    assert (program["finished"], program["job"]["state"], program["job"]["cause"]) == (True, "lost", "never_started")
    assert "Permission denied" in program["msg"]
    assert "\n" not in program["msg"]
    assert run.result("Ask in a list")["jobs"][2]["msg"] == program["msg"]


@pytest.mark.parametrize("way", ["login", "sudo"])
def test_a_fallback_that_is_somebody_else_s_is_refused(
    stage: Stage, make_user: t.Callable[[Path], User], make_server: t.Callable[..., Server], way: str
) -> None:
    """S41, S21: one sentence that names it, from start and status alike; nothing is started."""
    user = make_user(stage.folder / "home")
    _read_only(user)
    user.fallback.mkdir(mode=0o777)
    user.fallback.chmod(0o777)
    keys = stage.folder / "keys"
    _settle(stage, make_server(KEYS_OF_USERS.format(keys=keys)), user, keys, way)
    tasks = """
    - name: Start
      longhaul.jobs.async_start: {cmd: 'true'}
      ignore_errors: true

    - name: Ask
      longhaul.jobs.async_status: {jid: j123456789012.1}
      ignore_errors: true
    """
    run = stage.play(tasks)
    for task in ("Start", "Ask"):
        assert run.last(task)["kind"] == "failed"
        assert str(user.fallback) in run.result(task)["msg"]
        assert "\n" not in run.result(task)["msg"]
    assert os.listdir(user.fallback) == []


@pytest.mark.parametrize("way", ["sudo", "su"])
def test_nobody_starts_and_asks(stage: Stage, server: Server, way: str) -> None:
    """S41: over ssh, whatever its home is."""
    if os.getuid() or not shutil.which(way):
        pytest.skip(f"needs root and {way}")
    fallback = Path(f"/var/tmp/.longhaul-{pwd.getpwnam('nobody').pw_uid}")
    if fallback.exists():
        pytest.skip(f"{fallback} is there already")
    stage.add_module("program", PROGRAM)
    flags = {"ansible_become_flags": "-s /bin/sh"} if way == "su" else {}
    stage.add_ssh(server, ansible_become=True, ansible_become_method=way, ansible_become_user="nobody", **flags)
    for defaults in ("ansible_async_dir", "ansible_remote_tmp"):
        del stage.hosts["loopback"][defaults]
    try:
        run = stage.play(TASKS)
        assert run.result("Wait")["stdout"] == "nobody"
        assert run.result("Start")["job"]["async_dir"] == run.result("Wait")["job"]["async_dir"] == str(fallback)
    finally:
        shutil.rmtree(fallback, ignore_errors=True)
