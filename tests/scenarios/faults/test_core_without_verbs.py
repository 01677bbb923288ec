# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What core's own async does where ours waits, cancels, goes by names and refuses: S10 to S14, S16, S28, S37, S43, as seen on a host."""

from __future__ import annotations

import json
import time
import typing as t

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.faults.core_fails import TABLE
from ansible_collections.longhaul.jobs.tests.scenarios.support import Stage
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import wait_for

JOBS = "/root/.ansible_async"
# A job that waits for a file on its host.
START = """
- name: Start
  ansible.builtin.shell: while ! test -e {{ gate }}; do sleep 0.1; done; echo let go
  async: {{ limit | default(3600) }}
  poll: 0
  register: started
"""


@pytest.fixture
def gate(stage: Stage, bed: Bed) -> t.Iterator[str]:
    """The file that the jobs wait for; in the end it is there."""
    path = f"/var/tmp/{stage.folder.name}"
    for host in bed.hosts:
        stage.add_bed_host(bed, host, gate=path)
    yield path
    for host in bed.hosts:
        bed.execute(host, "touch", path)


def _start(limit: int = 3600) -> str:
    return START.replace("{{ limit | default(3600) }}", str(limit))


def _job_file(bed: Bed, jid: str) -> dict[str, t.Any]:
    """What core has written of a job; empty where there is nothing."""
    return t.cast("dict[str, t.Any]", json.loads(bed.execute("h1", "sh", "-c", f"cat {JOBS}/{jid} 2>/dev/null || echo '{{}}'")))


def test_the_end_of_waiting(stage: Stage, gate: str) -> None:
    """S10: the task fails without a word on why, or on what has become of the job."""
    run = stage.play(
        _start()
        + """
- name: Wait
  ansible.builtin.async_status: {jid: "{{ started.ansible_job_id }}"}
  register: ended
  until: ended.finished
  retries: 2
  delay: 1
""",
        hosts="h1",
        rc=2,
    )
    assert "msg" not in run.result("Wait")
    TABLE["the wait's retries are used up while the job runs"] = "FAILED, without a message"


def test_cleanup_of_a_running_job(stage: Stage, bed: Bed, gate: str) -> None:
    """S12: its record is gone, and comes back at its end."""
    run = stage.play(
        _start() + '- name: Clean\n  ansible.builtin.async_status: {jid: "{{ started.ansible_job_id }}", mode: cleanup}\n', hosts="h1"
    )
    jid = run.result("Start")["ansible_job_id"]
    assert run.result("Clean")["erased"].endswith(jid)
    assert _job_file(bed, jid) == {}
    bed.execute("h1", "touch", gate)
    wait_for(lambda: _job_file(bed, jid).get("stdout") == "let go")
    TABLE["mode: cleanup of a job that runs"] = "its record is deleted, and comes back at its end"


def test_check_mode(stage: Stage, bed: Bed, gate: str) -> None:
    """S13: a wrapper runs and leaves a file."""
    run = stage.play(_start(), "--check", hosts="h1")
    jid = run.result("Start")["ansible_job_id"]
    wait_for(lambda: _job_file(bed, jid))
    assert run.result("Start")["changed"] is True
    TABLE["a start with --check"] = "a wrapper runs on the host and leaves a file there"


def test_the_play_is_run_twice(stage: Stage, gate: str) -> None:
    """S14: there are two jobs then."""
    first, second = (stage.play(_start(), hosts="h1").result("Start")["ansible_job_id"] for _time in range(2))
    assert first != second
    TABLE["the play is run again while its job runs"] = "a second job beside the first"


def test_a_loop_that_polls(stage: Stage, gate: str) -> None:
    """S16: one after the other."""
    began = time.monotonic()
    stage.play('- name: Sleep\n  ansible.builtin.command: sleep 3\n  async: 60\n  poll: 1\n  loop: ["a", "b", "c"]\n', hosts="h1")
    took = time.monotonic() - began
    assert took > 9
    TABLE["a loop of three jobs of 3 s with poll: 1"] = f"one after the other: {took:.0f} s"


def test_another_user_asks(stage: Stage, gate: str) -> None:
    """S28: the jobs of whom one has become are not to be found."""
    become = _start() + "  become: true\n  become_user: plain\n  vars: {ansible_pipelining: true}\n"
    ask = '- name: Ask\n  ansible.builtin.async_status: {jid: "{{ started.ansible_job_id }}"}\n'
    run = stage.play(become + ask, hosts="h1", rc=2)
    assert run.result("Ask")["msg"] == "could not find job"
    TABLE["the login user asks for a become_user's job"] = "FAILED: could not find job"


def test_another_host_is_asked(stage: Stage, gate: str) -> None:
    """S43: a reference does not say whose job it is."""
    run = stage.play(
        _start()
        + '  run_once: true\n  delegate_to: h2\n- name: Ask\n  ansible.builtin.async_status: {jid: "{{ started.ansible_job_id }}"}\n',
        hosts="h1",
        rc=2,
    )
    assert run.result("Ask")["msg"] == "could not find job"
    TABLE["a delegated job is asked for without delegate_to"] = "FAILED: could not find job"


def test_a_stopped_wrapper(stage: Stage, bed: Bed, gate: str) -> None:
    """S37: past its limit the job runs on, and is said to."""
    jid = stage.play(_start(limit=2), hosts="h1").result("Start")["ansible_job_id"]
    words = f"for p in $(pgrep -f '[a]sync_wrapper.py {jid.split('.')[0]} '); do kill -STOP $p; echo $p; done"
    stopped = bed.execute("h1", "sh", "-c", words).split()
    assert stopped
    try:
        time.sleep(2.5)  # the limit has to pass
        run = stage.play(f"- name: Ask\n  ansible.builtin.async_status: {{jid: {jid}}}\n", hosts="h1")
        assert run.result("Ask")["finished"] in (0, False)
    finally:
        bed.execute("h1", "kill", "-CONT", *stopped)
    TABLE["its supervisor is stopped and the limit passes"] = "running for ever"
