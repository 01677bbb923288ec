# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S4, S41: disks that are full when a job starts, or fill up while it writes."""

from __future__ import annotations

import typing as t

from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.faults.core_fails import TABLE
from ansible_collections.longhaul.jobs.tests.scenarios.support import Stage

BED_HOSTS = 6
# host: (what is full, what runs there); an end that is written gives room to others, so there is one job a disk
KINDS: dict[str, tuple[t.Literal["blocks", "inodes"], str]] = {
    "h1": ("blocks", "command"),
    "h2": ("inodes", "command"),
    "h3": ("blocks", "module"),
    "h4": ("inodes", "module"),
    "h5": ("blocks", "core"),
    "h6": ("inodes", "core"),
}
WRITE = "echo begun; while ! test -e {gate}; do sleep 0.1; done; i=0; while test $i -lt 3000; do echo 123456789; i=$((i + 1)); done; exit 3"
FILLING = """
- name: Start a command
  longhaul.jobs.async_start: {cmd: "{{ write }}"}
  register: command
  when: kind == 'command'

- name: Start a module
  longhaul.jobs.async_start: {task: {longhaul.scenario.gated: {gate: "{{ gate }}"}}}
  register: module
  when: kind == 'module'

- name: Start core's
  ansible.builtin.shell: "{{ write }}"
  async: 3600
  poll: 0
  register: core
  when: kind == 'core'

- name: Until it is full
  ansible.builtin.raw: while ! test -e {{ gate }}; do sleep 0.1; done

- name: Ask
  longhaul.jobs.async_status: {jid: "{{ command.ansible_job_id | default(module.ansible_job_id) }}"}
  register: ended
  until: ended.finished
  retries: 30
  delay: 1
  when: kind != 'core'
  ignore_errors: true

- name: Ask core
  ansible.builtin.async_status: {jid: "{{ core.ansible_job_id }}"}
  register: ended
  until: ended.finished
  retries: 3
  delay: 1
  when: kind == 'core'
  ignore_errors: true
"""
MODULE = """
    import os, time
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule({"gate": {"type": "str"}})
    while not os.path.exists(module.params["gate"]):
        time.sleep(0.05)
    module.exit_json(changed=True, answer=["123456789"] * 3000)
"""


def test_a_disk_that_fills_up_while_a_job_writes(stage: Stage, bed: Bed) -> None:
    """S4: the job ends, what it could not write is missing, and that is said; its end is not lost."""
    gate = f"/var/tmp/{stage.folder.name}"
    stage.add_module("gated", MODULE)
    for host, (_what, kind) in KINDS.items():
        stage.add_bed_host(bed, host, ansible_async_dir="/small/jobs", kind=kind, gate=gate, write=WRITE.format(gate=gate))
    run = stage.begin(FILLING, "--forks", "6")
    run.wait_for(lambda: all(run.of("Start core's", host) for host in KINDS))
    for host, (what, _kind) in KINDS.items():
        bed.fill(host, what)
        bed.execute(host, "touch", gate)
    run.finish()
    written = "123456789\n" * 3000
    for host, (what, kind) in KINDS.items():
        if kind == "core":
            assert (run.result("Ask core", host)["finished"], run.result("Ask core", host)["attempts"]) == (False, 3)
            TABLE[f"the disk of the async dir fills up ({what}) before the job ends"] = "running for ever"
            continue
        ended = run.result("Ask", host)
        assert (ended["finished"], ended["attempts"]) == (True, 1)
        if kind == "command":
            assert (ended["rc"], ended["job"]["state"], ended["job"]["cause"]) == (3, "failed", "exited")
            assert ended["stdout"].startswith("begun\n123456789\n")
        if (what, kind) == ("blocks", "command"):
            assert 0 < ended["job"]["stdout_bytes"] < len(written)
            assert "the file system was full when the job ended; output may be missing here" in ended["stdout_lines"][-1]
            assert any("full: output may be missing" in warning for warning in ended["warnings"])
        elif (what, kind) == ("inodes", "command"):
            assert ended["stdout"] == f"begun\n{written}".rstrip()
        elif (what, kind) == ("blocks", "module"):
            assert (ended["job"]["state"], ended["job"]["cause"]) == ("failed", "no_space")
            assert ended["msg"] == "the module's result could not be written: no space left on the device"
        else:
            assert (ended["job"]["state"], ended["answer"]) == ("succeeded", ["123456789"] * 3000)


STARTING = """
- name: Start
  longhaul.jobs.async_start: {cmd: echo "$LONGHAUL_JID" >>/var/tmp/ran; echo done}
  register: started
  ignore_errors: true

- name: Ask
  longhaul.jobs.async_status: {jid: "{{ started.ansible_job_id | default('j123456789012.1') }}"}
  register: ended
  until: ended.finished
  retries: 30
  delay: 1
  ignore_errors: true

- name: Start where it is told to
  longhaul.jobs.async_start: {cmd: echo told >>/var/tmp/ran, async_dir: /small/told}
  ignore_errors: true
"""


def test_a_disk_that_is_full_when_a_job_starts(stage: Stage, bed: Bed) -> None:
    """S41: the fallback directory, where none can be made, else one sentence, and nothing was started; the question looks there too."""
    for host in ("h1", "h2"):
        bed.empty(host)
        bed.execute(host, "sh", "-c", "rm -rf /small/*")
        stage.add_bed_host(bed, host, "plain", ansible_async_dir="/small/mine")
        bed.fill(host, "blocks" if host == "h1" else "inodes")
    run = stage.play(STARTING)
    refused = {
        ("h1", "Start"): "no job can be laid down in /small/mine: No space left on device; nothing was started",
        ("h1", "Start where it is told to"): "no job can be laid down in /small/told: No space left on device; nothing was started",
        ("h1", "Ask"): "could not find job j123456789012.1 in /small/mine",
        ("h2", "Start where it is told to"): "no async dir can be used (/small/told: No space left on device); nothing was started",
    }
    for (host, task), sentence in refused.items():
        assert (run.last(task, host)["kind"], run.result(task, host)["msg"]) == ("failed", sentence)
    assert bed.execute("h1", "find", "/var/tmp", "/small", "-user", "plain").split() == ["/small/told", "/small/mine"]
    started, ended = run.result("Start", "h2"), run.result("Ask", "h2")
    fallback = f"/var/tmp/.longhaul-{bed.execute('h2', 'id', '-u', 'plain').strip()}"
    assert (ended["stdout"], ended["job"]["state"]) == ("done", "succeeded")
    assert started["job"]["async_dir"] == ended["job"]["async_dir"] == fallback
    assert bed.execute("h2", "cat", "/var/tmp/ran").split() == [started["ansible_job_id"]]
