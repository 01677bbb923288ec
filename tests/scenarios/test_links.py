# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links that fail: refused, silent, cut in the middle of a start. The work goes on, once, and its result comes back."""

from __future__ import annotations

import os
import re
import signal
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.support import Json, Run, Server, Stage, processes
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import wait_for

WAIT = """
- name: Start
  longhaul.jobs.async_start:
    cmd: echo begun; while ! test -e {{ gate }}; do sleep 0.1; done; echo let go
  register: started

- name: Wait
  longhaul.jobs.async_status:
    jid: "{{ started.ansible_job_id }}"
    unreachable_timeout: "{{ patience }}"
  register: ended
  until: ended.finished
  retries: 200
  delay: 1
"""


@pytest.fixture
def own_server(make_server: t.Callable[..., Server]) -> Server:
    """A server that the test may stop."""
    return make_server()


def _gate(stage: Stage) -> Path:
    return stage.folder / "gate"


def _said(run: Run, words: str) -> t.Callable[[], re.Match[str] | None]:
    return lambda: re.search(words, run.output)


def _masters(stage: Stage) -> list[int]:
    return [pid for pid, line in processes() if f"{stage.folder}/cp/" in line and "[mux]" in line]


def test_a_host_that_refuses_for_a_while_is_waited_for(stage: Stage, own_server: Server) -> None:
    """S8: the wait goes on, says so at once, and ends with the job's result."""
    stage.add_ssh(own_server, gate=str(_gate(stage)), patience="2m")
    run = stage.begin(WAIT, PYTHONUNBUFFERED="1")
    run.wait_for(lambda: run.of("Wait"))
    assert _masters(stage), "there was no master connection to be lost"
    own_server.stop()
    wait_for(lambda: not _masters(stage))
    seen = len(run.of("Wait"))
    run.wait_for(_said(run, r"loopback was not reached: .*refused"))
    run.wait_for(lambda: len(run.of("Wait")) >= seen + 3)
    _gate(stage).touch()
    own_server.start_again()
    run.finish()
    result = run.result("Wait")
    assert (result["finished"], result["rc"], result["stdout_lines"]) == (True, 0, ["begun", "let go"])
    assert (result["job"]["state"], result["job"]["reachable"]) == ("succeeded", True)


def test_a_missed_look_says_that_the_job_may_still_run(stage: Stage, own_server: Server) -> None:
    """S8: started, not finished, not failed, not reachable, and a warning."""
    stage.add_ssh(own_server, gate=str(_gate(stage)), patience="2m")
    run = stage.begin(WAIT, PYTHONUNBUFFERED="1")
    run.wait_for(lambda: run.of("Wait"))
    own_server.stop()
    missed = run.wait_for(lambda: [one["result"] for one in run.of("Wait") if not one["result"]["job"]["reachable"]])[0]
    _gate(stage).touch()
    own_server.start_again()
    run.finish()
    assert (missed["started"], missed["finished"], missed.get("failed", False)) == (True, False, False)
    assert missed["ansible_job_id"] == missed["job"]["jid"] == run.result("Start")["ansible_job_id"]
    # until core 2.18 a try's warnings are in its result, and shown only of the last one; later they are shown, and not there
    shown = re.search(r"\[WARNING\]: loopback was not reached", run.output)
    assert shown or any("was not reached" in warning for warning in missed["warnings"])


GONE = """
- name: A job on a host that goes away
  hosts: all
  gather_facts: false
  tasks:
    - name: Start
      longhaul.jobs.async_start:
        cmd: while ! test -e {{ gate }}; do sleep 0.1; done
      register: started
      when: inventory_hostname == 'loopback'

    - name: Pause until it is gone
      ansible.builtin.wait_for:
        path: "{{ gone }}"
        timeout: 60
      when: inventory_hostname == 'local'

    - name: Ask
      longhaul.jobs.async_status:
        jid: "{{ started.ansible_job_id }}"
        unreachable_timeout: 3s
      register: asked
      when: inventory_hostname == 'loopback'
      UNTIL

- name: What another host knows of it
  hosts: local
  gather_facts: false
  tasks:
    - name: Show
      ansible.builtin.debug:
        msg: "{{ hostvars['loopback'].asked }}"
"""


@pytest.mark.parametrize("until", ["", "until: asked.finished\n      retries: 200\n      delay: 1"], ids=["once", "until"])
def test_a_host_that_is_gone_is_unreachable_and_its_job_not_forgotten(stage: Stage, own_server: Server, until: str) -> None:
    """S9, S33: at once where it was asked once, after unreachable_timeout inside until; the registered result has the reference."""
    stage.add_ssh(own_server, gate=str(_gate(stage)), gone=str(stage.folder / "gone"))
    stage.add_local(gone=str(stage.folder / "gone"))
    run = stage.begin(GONE.replace("UNTIL", until), PYTHONUNBUFFERED="1")
    run.wait_for(lambda: run.of("Start", "loopback"))
    own_server.stop()
    (stage.folder / "gone").touch()
    began = time.monotonic()
    run.finish(rc=4)
    took = time.monotonic() - began
    _gate(stage).touch()
    looks = run.of("Ask", "loopback")
    assert looks[-1]["kind"] == "unreachable"
    assert (len(looks) == 1) == (not until), looks
    assert took < 30
    if until:
        assert took >= 3
        assert re.search("asked again", run.output)
    known = run.result("Show")["msg"]
    assert known["unreachable"] is True
    assert known["ansible_job_id"] == known["job"]["jid"] == run.result("Start", "loopback")["ansible_job_id"]
    assert (known["job"]["host"], known["job"]["reachable"]) == ("loopback", False)
    assert "loopback" in known["msg"]


def test_a_start_on_a_dead_host_is_unreachable_and_names_what_it_would_have_been(stage: Stage, own_server: Server) -> None:
    """S33: so that it can be cancelled from elsewhere, in case it did arrive."""
    stage.add_ssh(own_server)
    own_server.stop()
    tasks = """
    - name: Start
      longhaul.jobs.async_start: {cmd: 'true', name: a-name}
      register: started
      ignore_unreachable: true

    - name: Show
      ansible.builtin.debug: {msg: "{{ started }}"}
    """
    began = time.monotonic()
    run = stage.play(tasks)
    assert time.monotonic() - began < 30
    assert run.last("Start")["kind"] == "unreachable"
    known = run.result("Show")["msg"]
    assert re.fullmatch(r"j[0-9]{12}\.[0-9]+", known["ansible_job_id"])
    assert (known["started"], known["finished"], known["job"]["state"]) == (False, False, "unknown")
    assert (known["job"]["reachable"], known["job"]["name"], known["job"]["host"]) == (False, "a-name", "loopback")


@pytest.mark.parametrize("frozen", ["sessions", "host"])
def test_a_silent_link_costs_one_look_and_not_the_wait(stage: Stage, own_server: Server, frozen: str) -> None:
    """S8: sshd is stopped by SIGSTOP, as by a link that drops all; a look has a deadline of its own."""
    stage.add_ssh(own_server, gate=str(_gate(stage)), patience="2m", longhaul_look_timeout=2)
    run = stage.begin(WAIT, PYTHONUNBUFFERED="1")
    run.wait_for(lambda: len(run.of("Wait")) >= 2)
    victims = own_server.sessions() if frozen == "sessions" else own_server.all_processes()
    assert victims
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        run.wait_for(_said(run, "no answer within 2 seconds"))
        assert time.monotonic() - began < 15
        if frozen == "sessions":  # the next look has a new connection, and does not need the old one
            seen = len(run.of("Wait"))
            run.wait_for(lambda: [one for one in run.of("Wait")[seen:] if one["result"]["job"]["reachable"]])
    finally:
        for pid in victims:
            os.kill(pid, signal.SIGCONT)
    _gate(stage).touch()
    run.finish()
    assert run.result("Wait")["stdout_lines"] == ["begun", "let go"]


START = """
- name: Start
  longhaul.jobs.async_start:
    cmd: "echo $LONGHAUL_JID >> {{ ran }}"
    name: once
    poll: "{{ poll | default(0) }}"
    unreachable_timeout: 20s
  register: started

- name: Start a module
  longhaul.jobs.async_start:
    task:
      longhaul.scenario.once: {path: "{{ ran }}-of-the-module"}
    poll: "{{ poll | default(0) }}"
    unreachable_timeout: 20s
  register: module

- name: Wait
  longhaul.jobs.async_status:
    jobs: ["{{ started }}", "{{ module }}"]
  register: ended
  until: ended.finished
  retries: 60
  delay: 1
"""
ONCE = """
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule({"path": {"type": "str"}})
    with open(module.params["path"], "a") as stream:
        stream.write("ran\\n")
    module.exit_json(changed=True)
"""
# Our client's side. It lets ssh carry out a program of ours, throws its reply away, and ends in the given way; LOSSES times.
LOSING_SSH = """#!/bin/sh
case "$*" in
*-ISE*)
    count=$(cat {folder}/lost 2>/dev/null || echo 0)
    if test "$count" -lt {losses}; then
        echo $((count + 1)) >{folder}/lost
        ssh "$@" >/dev/null
        {end}
    fi
esac
exec ssh "$@"
"""
# The server's side: the command is carried out, whole, and says 255.
FORCED = """#!/bin/sh
case "$SSH_ORIGINAL_COMMAND" in
*-ISE*)
    count=$(cat {folder}/lost 2>/dev/null || echo 0)
    if test "$count" -lt {losses}; then
        echo $((count + 1)) >{folder}/lost
        sh -c "$SSH_ORIGINAL_COMMAND"
        exit 255
    fi
esac
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""


def _one_of_each(stage: Stage, run: Run) -> None:
    """Each start gave one job, which ran once, and its registered result names it."""
    ran = stage.folder / "ran"
    jobs: list[Json] = run.result("Wait")["jobs"]
    assert [job["job"]["state"] for job in jobs] == ["succeeded", "succeeded"]
    assert ran.read_text().split() == [jobs[0]["ansible_job_id"]] == [run.result("Start")["ansible_job_id"]]
    assert Path(f"{ran}-of-the-module").read_text().split() == ["ran"]
    assert sorted(path.name for path in stage.spool.glob("j*.d")) == sorted(f"{job['ansible_job_id']}.d" for job in jobs)
    assert list(stage.spool.glob(".new-*")) == []
    assert int((stage.folder / "lost").read_text()) >= 1, "nothing was lost"


@pytest.mark.parametrize("end", ["exit 255", "kill -9 $$"], ids=["255", "killed"])
@pytest.mark.parametrize("poll", [0, 1])
def test_a_start_whose_reply_is_lost_is_started_once(stage: Stage, own_server: Server, end: str, poll: int) -> None:
    """S33: the ssh client dies after the far program has done its work; the same job is asked for again."""
    wrapper = stage.folder / "losing-ssh"
    wrapper.write_text(LOSING_SSH.format(folder=stage.folder, losses=1, end=end))
    wrapper.chmod(0o755)
    stage.add_module("once", ONCE)
    stage.add_ssh(own_server, ran=str(stage.folder / "ran"), poll=poll, ansible_ssh_executable=str(wrapper))
    _one_of_each(stage, stage.play(START))


@pytest.mark.parametrize("losses", [1, 2])
def test_a_start_that_ssh_itself_repeats_is_started_once(stage: Stage, make_server: t.Callable[..., Server], losses: int) -> None:
    """S33: core runs a command again whose ssh ended with 255, as often as ansible_ssh_retries says."""
    forced = stage.folder / "forced"
    forced.write_text(FORCED.format(folder=stage.folder, losses=losses))
    forced.chmod(0o755)
    stage.add_module("once", ONCE)
    stage.add_ssh(make_server(f"ForceCommand {forced}"), ran=str(stage.folder / "ran"), ansible_ssh_retries=2)
    run = stage.play(START)
    _one_of_each(stage, run)
    assert "was not answered" not in run.output, "it was we who repeated it, not ssh"


def test_a_start_whose_reply_is_lost_for_good_names_its_job(stage: Stage, own_server: Server) -> None:
    """S33: unreachable, with the reference; the job did start, once, and is found by it."""
    wrapper = stage.folder / "losing-ssh"
    wrapper.write_text(LOSING_SSH.format(folder=stage.folder, losses=1000, end="exit 255"))
    wrapper.chmod(0o755)
    tasks = """
    - name: Start
      longhaul.jobs.async_start:
        cmd: "echo $LONGHAUL_JID >> {{ ran }}"
        poll: 1
        unreachable_timeout: 3s
      vars: {ansible_ssh_executable: "{{ wrapper }}"}
      register: started
      ignore_unreachable: true

    - name: Find it
      longhaul.jobs.async_status: {jobs: "{{ started }}"}
      register: ended
      until: ended.finished
      retries: 60
      delay: 1
    """
    stage.add_ssh(own_server, ran=str(stage.folder / "ran"), wrapper=str(wrapper))
    run = stage.play(tasks)
    event = run.last("Start")
    assert event["kind"] == "unreachable"
    assert (event["result"]["started"], event["result"]["finished"], event["result"]["job"]["state"]) == (False, False, "unknown")
    (job,) = run.result("Find it")["jobs"]
    assert job["ansible_job_id"] == event["result"]["ansible_job_id"]
    assert (stage.folder / "ran").read_text().split() == [job["ansible_job_id"]]
