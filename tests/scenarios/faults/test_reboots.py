# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S25, S32, S48: the host, or the container, is restarted in the middle of a job, of its start, or between its end and the commit."""

from __future__ import annotations

import typing as t

from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.faults.core_fails import OURS, TABLE
from ansible_collections.longhaul.jobs.tests.scenarios.support import Json, Stage
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import wait_for

BED_HOSTS = 2
START_BOTH = """
- name: Start ours
  longhaul.jobs.async_start:
    cmd: echo begun; sleep 3600
  register: ours

- name: Start core's
  ansible.builtin.shell: echo begun; sleep 3600
  async: 3600
  poll: 0
  register: core
"""
ASK = """
- name: Ask ours
  longhaul.jobs.async_status: {jid: "{{ ours }}"}
  register: ended
  until: ended.finished
  retries: 10
  delay: 1
  ignore_errors: true

- name: Ask core
  ansible.builtin.async_status: {jid: "{{ core }}"}
  register: seen
  until: seen.finished
  retries: 2
  delay: 1
  ignore_errors: true
"""


def _boot_ids(bed: Bed) -> dict[str, str]:
    return {host: bed.execute(host, "cat", "/proc/sys/kernel/random/boot_id") for host in bed.hosts}


def _restart(bed: Bed) -> None:
    """h1 is rebooted; of h2 only the processes end, with their pid namespace, and the boot id stays."""
    bed.reboot("h1")
    bed.restart_container("h2")


def test_a_job_of_before_is_lost_at_once(stage: Stage, bed: Bed) -> None:
    """S25, S32: the first look after it says so, as root and as a user; what the job had written is there."""
    people = {f"{host}-{user}": (host, user) for host in bed.hosts for user in ("root", "plain")}
    for name, (host, user) in people.items():
        stage.add_bed_host(bed, host, user, name)
    before = _boot_ids(bed)
    run = stage.play(START_BOTH)
    for name in people:
        for engine, task in (("ours", "Start ours"), ("core", "Start core's")):
            stage.hosts[name][engine] = run.result(task, name)["ansible_job_id"]
    _restart(bed)
    after = _boot_ids(bed)
    assert (after["h1"] == before["h1"], after["h2"] == before["h2"]) == (False, True)
    run = stage.play(ASK)
    for name in people:
        (look,) = run.of("Ask ours", name)
        ended = look["result"]
        assert (look["kind"], ended["started"], ended["finished"]) == ("failed", True, True), name
        assert (ended["job"]["state"], ended["job"]["cause"], ended["job"]["verified"]) == ("lost", "host_rebooted", True)
        assert (ended["stdout"], ended["job"]["ended_at"]) == ("begun", None)
        assert "\n" not in ended["msg"]
        assert run.result("Ask core", name)["finished"] is False
        assert run.result("Ask core", name)["attempts"] == 2
    TABLE["the host is rebooted in the middle of the job"] = "running for ever"
    TABLE["the container is restarted in the middle of the job"] = "running for ever"


FOLDERS = {"home": "~/.ansible_async", "tmp": "/tmp/jobs"}  # the latter is on a tmpfs, and goes with the host


def _add(stage: Stage, bed: Bed, host: str, folder: str, **variables: t.Any) -> str:
    """Add a host whose async dir is there; its name."""
    stage.add_bed_host(bed, host, name=f"{host}-{folder}", ansible_async_dir=FOLDERS[folder], **variables)
    return f"{host}-{folder}"


def test_the_wait_for_it_ends(stage: Stage, bed: Bed) -> None:
    """S25, S32: looks are missed while it is restarted; an async dir that goes with it knows no job any more."""
    for host in bed.hosts:
        for folder in FOLDERS:
            _add(stage, bed, host, folder, longhaul_look_timeout=3, gate="/var/tmp/never")
    run = stage.begin(OURS)
    run.wait_for(lambda: all(run.of("Wait", name) for name in stage.hosts))
    _restart(bed)
    run.finish(rc=2)
    for host in bed.hosts:
        home, gone = run.result("Wait", f"{host}-home"), run.result("Wait", f"{host}-tmp")
        assert (home["job"]["state"], home["job"]["cause"], home["started"], home["finished"]) == ("lost", "host_rebooted", True, True)
        assert (gone["job"]["state"], gone["started"], gone["finished"]) == ("unknown", False, True)
        assert gone["msg"] == f"could not find job {gone['ansible_job_id']}: there is no async dir /tmp/jobs or /var/tmp/.longhaul-0"


def test_a_start_is_not_repeated_over_a_reboot(stage: Stage, bed: Bed) -> None:
    """S25, S33: the reply is lost with the host; the repeat of the start meets the job, or knows that it may have been there."""
    ran = f"/var/tmp/{stage.folder.name}"
    names = [_add(stage, bed, host, folder, longhaul_look_timeout=3, ran=f"{ran}-{folder}") for host in bed.hosts for folder in FOLDERS]
    tasks = """
    - name: Start
      longhaul.jobs.async_start:
        cmd: echo $LONGHAUL_JID >>{{ ran }}; sleep 3600
        poll: 8
    """
    run = stage.begin(tasks, PYTHONUNBUFFERED="1")
    run.wait_for(lambda: all(_lines(bed, name[:2], stage.hosts[name]["ran"]) for name in names))
    _restart(bed)
    run.finish(rc=2)
    for name in names:
        job = run.result("Start", name)
        assert f"{name}: the start of job {job['ansible_job_id']} was not answered" in run.output
        assert (job["job"]["state"], job["job"]["cause"], job["finished"]) == ("lost", "host_rebooted", True)
        assert _lines(bed, name[:2], stage.hosts[name]["ran"]) == [job["ansible_job_id"]]


def _lines(bed: Bed, host: str, path: str) -> list[str]:
    """The lines of a file there; none where there is no file."""
    return bed.execute(host, "sh", "-c", f"cat {path} 2>/dev/null || true").split()


MODULE = """
    import os, time
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule({"gate": {"type": "str"}})
    while not os.path.exists(module.params["gate"]):
        time.sleep(0.05)
    module.exit_json(changed=True, answer=42)
"""


def test_an_end_that_nobody_has_written_before_the_reboot(stage: Stage, bed: Bed) -> None:
    """S48: the supervisor stands still while its payload ends. What a module has printed is its end, a command's is lost."""
    gate = f"/var/tmp/{stage.folder.name}"
    wait = stage.add_module("gated", MODULE)
    for host in bed.hosts:
        stage.add_bed_host(bed, host)
    tasks = f"""
    - name: Start a command
      longhaul.jobs.async_start: {{cmd: 'echo begun; while ! test -e {gate}; do sleep 0.05; done; echo ended'}}
    - name: Start a module
      longhaul.jobs.async_start: {{task: {{{wait}: {{gate: {gate}}}}}}}
    """
    run = stage.play(tasks)
    kinds = {"command": "Start a command", "module": "Start a module"}
    for host in bed.hosts:
        started: dict[str, Json] = {kind: run.result(task, host) for kind, task in kinds.items()}
        stage.hosts[host].update({kind: job["ansible_job_id"] for kind, job in started.items()})
        bed.execute(host, "kill", "-STOP", *(str(job["job"]["supervisor_pid"]) for job in started.values()))
        bed.execute(host, "touch", gate)
        for job in started.values():
            _wait_until_over(bed, host, job["job"]["payload_pid"])
    _restart(bed)
    ask = "- name: {0}\n  longhaul.jobs.async_status: {{jid: '{{{{ {0} }}}}'}}\n  ignore_errors: true\n"
    run = stage.play("".join(map(ask.format, kinds)))
    for host in bed.hosts:
        command, module = (run.result(kind, host) for kind in kinds)
        assert (command["job"]["state"], command["job"]["cause"], command["stdout_lines"]) == ("lost", "host_rebooted", ["begun", "ended"])
        assert (module["job"]["state"], module["answer"], run.last("module", host)["kind"]) == ("succeeded", 42, "ok")


def _wait_until_over(bed: Bed, host: str, pid: int) -> None:
    """Return when the process is a zombie."""
    wait_for(lambda: bed.execute(host, "cat", f"/proc/{pid}/stat").rpartition(")")[2].split()[0] == "Z")
