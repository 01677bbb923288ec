# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links that fail, on this machine: what one look and a lost reply come to. faults/test_cut_links.py has a test bed's links."""

from __future__ import annotations

import re
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.faults.core_fails import OURS as WAIT
from ansible_collections.longhaul.jobs.tests.scenarios.support import Json, Run, Server, Stage


@pytest.fixture
def own_server(make_server: t.Callable[..., Server]) -> Server:
    """A server that the test may stop."""
    return make_server()


def _gate(stage: Stage) -> Path:
    return stage.folder / "gate"


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
      register: asked
      when: inventory_hostname == 'loopback'

- name: What another host knows of it
  hosts: local
  gather_facts: false
  tasks:
    - name: Show
      ansible.builtin.debug:
        msg: "{{ hostvars['loopback'].asked }}"
"""


def test_a_host_that_is_gone_is_unreachable_and_its_job_not_forgotten(stage: Stage, own_server: Server) -> None:
    """S9, S33: at once where it is asked once; the registered result has the reference."""
    stage.add_ssh(own_server, gate=str(_gate(stage)), gone=str(stage.folder / "gone"))
    stage.add_local(gone=str(stage.folder / "gone"))
    run = stage.begin(GONE, PYTHONUNBUFFERED="1")
    run.wait_for(lambda: run.of("Start", "loopback"))
    own_server.stop()
    (stage.folder / "gone").touch()
    run.finish(rc=4, seconds=30)
    _gate(stage).touch()
    (look,) = run.of("Ask", "loopback")
    assert look["kind"] == "unreachable"
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
# It lets ssh carry out a program of ours, throws its reply away, and ends in the given way; LOSSES times.
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
