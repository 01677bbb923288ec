# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""async_info and async_prune on hosts of a bed: a host full of jobs, core's own, another host's, and secrets."""

from __future__ import annotations

import collections
import json
import os

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.support import Json, Stage

MANY = int(os.environ.get("LONGHAUL_MANY_JOBS", "120"))  # S29 says 1000, which take some minutes to start one by one
KILLED = 3
HOME = "/home/free"
SPOOL = f"{HOME}/.ansible_async"
# Each job waits for somebody to open the gate, a named pipe, for writing.
FULL_HOST = """
- name: A gate
  ansible.builtin.command: mkfifo {{ gate }}

- name: Start
  longhaul.jobs.async_start:
    name: many-{{ item }}
    labels: {kind: "{{ 'odd' if item % 2 else 'even' }}"}
    cmd: ": < {{ gate }}; exit {{ item % 2 }}"
  loop: "{{ range(many) | list }}"

- name: List
  longhaul.jobs.async_info: {filters: {names: many-*}}
"""
END = """
- name: Until all have ended
  longhaul.jobs.async_info: {filters: {names: many-*}}
  register: all
  until: all.finished
  retries: 60
  delay: 1

- name: Some
  longhaul.jobs.async_info: {filters: {labels: {kind: even}, states: failed}}

- name: What has just ended
  longhaul.jobs.async_prune: {filters: {states: [succeeded, failed, lost]}, keep_last: 0, max_bytes: 0}

- name: A prune in check mode
  longhaul.jobs.async_prune: {filters: {names: many-*}, keep_last: 2}
  check_mode: true

- name: A prune
  longhaul.jobs.async_prune: {filters: {names: many-*}, keep_last: 2}
  register: pruned

- name: What is left
  longhaul.jobs.async_info:

- name: What is gone
  longhaul.jobs.async_info: {jobs: "{{ pruned.pruned }}"}
"""


def states(result: Json) -> dict[str, int]:
    """How many jobs a result tells of in each state."""
    return dict(collections.Counter(job["job"]["state"] for job in result["jobs"]))


def test_a_host_full_of_jobs(bed: Bed, stage: Stage) -> None:
    """S29: all started, listed in one call, ended truthfully, and removed in one call."""
    stage.add_bed_host(bed, "h1", ansible_async_dir="/var/tmp/many", gate="/var/tmp/gate", many=MANY)
    run = stage.begin(FULL_HOST).finish(seconds=30 + MANY)
    listed = run.result("List")
    assert (states(listed), listed["finished"], listed["missing"]) == ({"running": MANY}, False, [])
    assert sorted(job["job"]["name"] for job in listed["jobs"]) == sorted(f"many-{number}" for number in range(MANY))
    assert [job["job"]["started_at"] for job in listed["jobs"]] == sorted(job["job"]["started_at"] for job in listed["jobs"])
    for job in listed["jobs"][:KILLED]:
        bed.execute("h1", "kill", "-KILL", str(job["job"]["supervisor_pid"]), str(job["job"]["payload_pid"]))
    bed.execute("h1", "sh", "-c", "sleep 1 > /var/tmp/gate")
    run = stage.play(END)
    ended = run.result("Until all have ended")
    assert (ended["changed"], states(ended)["lost"]) == (False, KILLED)
    for job in ended["jobs"][KILLED:]:
        state = "failed" if int(job["job"]["name"].rpartition("-")[2]) % 2 else "succeeded"
        assert (job["job"]["state"], job["failed"], job["job"]["rc"]) == (state, state == "failed", int(state == "failed"))
    assert run.result("Some")["jobs"] == []
    assert run.result("What has just ended")["pruned"] == []
    dry, pruned = run.result("A prune in check mode"), run.result("A prune")
    assert (len(pruned["pruned"]), pruned["changed"]) == (MANY - 2, True)
    assert {key: dry[key] for key in ("pruned", "space_reclaimed")} == {key: pruned[key] for key in ("pruned", "space_reclaimed")}
    assert pruned["space_reclaimed"] + run.result("What is left")["bytes"] >= ended["bytes"]
    assert len(run.result("What is left")["jobs"]) == 2
    gone = run.result("What is gone")
    assert (gone["jobs"], gone["missing"]) == ([], [job["jid"] for job in pruned["pruned"]])


CORES = """
- name: Start core's
  ansible.builtin.command: "{{ item }}"
  async: 3600
  poll: 0
  loop: [sleep 3600, "true"]

- name: Start
  longhaul.jobs.async_start: {cmd: "true", poll: 1}

- name: List
  longhaul.jobs.async_info:
  register: listed
  until: listed.jobs | selectattr('finished') | length == 2
  retries: 30
  delay: 1

- name: Make them old
  ansible.builtin.shell: touch -d '1 hour ago' {{ async_dir }}/j*
  changed_when: false

- name: A prune without core's
  longhaul.jobs.async_prune: {filters: {states: succeeded}, keep_last: 0}
  check_mode: true

- name: A prune
  longhaul.jobs.async_prune: {max_bytes: 0, include_core: true}
"""
KILLED_ONE = """
- name: Ask
  longhaul.jobs.async_info: {jobs: "{{ running }}"}

- name: A prune
  longhaul.jobs.async_prune: {keep_last: 0, include_core: true}

- name: List
  longhaul.jobs.async_info:
"""


@pytest.mark.parametrize("transport", ["direct", "module"])
def test_cores_own_jobs(bed: Bed, stage: Stage, transport: str) -> None:
    """S30: running, ended and killed ones are listed; what has ended is removed when asked, what runs never."""
    spool = f"/var/tmp/cores-{transport}"
    stage.add_bed_host(bed, "h1", ansible_async_dir=spool, async_dir=spool, longhaul_transport=transport)
    run = stage.play(CORES)
    running, ended = (item["result"]["ansible_job_id"] for item in run.of("Start core's")[:2])
    listed = {job["ansible_job_id"]: job["job"]["state"] for job in run.result("List")["jobs"]}
    assert listed == {running: "running", ended: "succeeded", run.result("Start")["ansible_job_id"]: "succeeded"}
    assert run.result("A prune without core's")["pruned"] == []  # ours has just ended, by the clock of the boot
    assert [job["jid"] for job in run.result("A prune")["pruned"]] == [ended]
    for pid in bed.execute("h1", "sh", "-c", f"grep -lsa {running.split('.')[0]} /proc/[0-9]*/cmdline || true").split():
        bed.execute("h1", "sh", "-c", f"kill -KILL {pid.split('/')[2]} 2>/dev/null || true")
    stage.hosts["h1"]["running"] = running
    run = stage.play(KILLED_ONE)
    job = run.result("Ask")["jobs"][0]["job"]
    # A bed's host has a pid namespace of its own, so whether core's wrapper runs somewhere else cannot be told.
    assert (job["state"], job["verified"]) == ("running", False)
    assert run.result("A prune")["pruned"] == []
    assert running in [job["ansible_job_id"] for job in run.result("List")["jobs"]]


AT_IT = """
- name: List
  longhaul.jobs.async_info:

- name: Foreign ones
  longhaul.jobs.async_info: {filters: {states: foreign}}

- name: A prune
  longhaul.jobs.async_prune: {filters: {names: "*"}, keep_last: 0}

- name: Another prune
  longhaul.jobs.async_prune: {filters: {states: [running, foreign, succeeded]}, max_bytes: 0, include_core: true}
"""


def test_the_jobs_of_another_host(bed: Bed, stage: Stage) -> None:
    """S31: h2 lists those of h1 as foreign, or as they ended, and removes none; h1 does with its own."""
    bed.share(HOME, *bed.hosts)
    for host in bed.hosts:
        stage.add_bed_host(bed, host, "free")
    names = "- name: Start\n  longhaul.jobs.async_start: {name: %s, cmd: %s, poll: %d}\n"
    running = stage.play(names % ("runs", "sleep 3600", 0), hosts="h1").result("Start")["ansible_job_id"]
    ended = stage.play(names % ("ended", '"true"', 1), hosts="h1").result("Start")["ansible_job_id"]
    files = ("sh", "-c", f"cd {SPOOL} && ls -lid --full-time j* j*/* && sha1sum j*.d/*")
    before = bed.execute("h1", *files)
    run = stage.play(AT_IT, hosts="h2")
    assert {job["ansible_job_id"]: job["job"]["state"] for job in run.result("List")["jobs"]} == {running: "foreign", ended: "succeeded"}
    (foreign,) = run.result("Foreign ones")["jobs"]
    assert (foreign["ansible_job_id"], foreign["msg"].partition(":")[0]) == (
        running,
        f"the job {running} is of another host, h1, which shares this directory",
    )
    assert run.result("A prune")["pruned"] == run.result("Another prune")["pruned"] == []
    assert bed.execute("h1", *files) == before
    run = stage.play(AT_IT, hosts="h1")
    assert {job["ansible_job_id"]: job["job"]["state"] for job in run.result("List")["jobs"]} == {running: "running", ended: "succeeded"}
    assert [job["jid"] for job in run.result("A prune")["pruned"]] == [ended]
    assert run.result("Another prune")["pruned"] == []


SECRET = "shibbo-leth-4711"
QUIET = """
    import time
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule({"text": {"type": "str"}, "fails": {"type": "bool"}})
    time.sleep(0.5)
    if module.params["fails"]:
        module.fail_json(msg="no access with " + module.params["text"], text=module.params["text"])
    module.exit_json(changed=True, text=module.params["text"], job={"text": module.params["text"]})
"""
SECRETS = """
- name: Start
  longhaul.jobs.async_start:
    task: {longhaul.scenario.quiet: {text: "{{ secret }}", fails: "{{ item }}"}}
  no_log: true
  loop: [true, false]

- name: List
  longhaul.jobs.async_info:

- name: Until they have ended
  longhaul.jobs.async_info:
  register: all
  until: all.finished
  retries: 60
  delay: 1

- name: A prune
  longhaul.jobs.async_prune: {filters: {names: "*", modules: quiet}}
"""


def test_no_secret_is_listed(bed: Bed, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> None:
    """S19, S39: in no list, warning or -vvv; not of a job that was started with no_log."""
    stage.add_bed_host(bed, "h2", ansible_async_dir="/var/tmp/secrets")
    stage.add_module("quiet", QUIET)
    variables = tmp_path_factory.mktemp("secrets") / "secret.json"
    variables.write_text(json.dumps({"secret": SECRET}))
    run = stage.play(SECRETS, "-vvv", "-e", f"@{variables}")
    listed = run.result("Until they have ended")
    assert states(listed) == {"failed": 1, "succeeded": 1}
    assert SECRET not in run.output
    assert SECRET not in json.dumps([event["result"] for event in run.events if event["task"] != "Start"])


DEAD = """
- name: Ask
  longhaul.jobs.async_info: {jobs: [j1.1, nobody], async_dir: /var/tmp/nothing}

- name: Prune
  longhaul.jobs.async_prune: {keep_last: 0, async_dir: /var/tmp/nothing}
"""


def test_nothing_there_and_nobody_there(bed: Bed, stage: Stage) -> None:
    """S11: an async dir that there is not has no jobs; a host that does not answer is unreachable, as for every task."""
    stage.add_bed_host(bed, "h2")
    run = stage.play(DEAD)
    result = run.result("Ask")
    assert (result["jobs"], result["missing"], result["finished"], result["bytes"]) == ([], ["j1.1", "nobody"], True, 0)
    assert (run.result("Prune")["pruned"], run.result("Prune")["changed"]) == ([], False)
    bed.refuse("h2")
    try:
        run = stage.play(DEAD, rc=4)
    finally:
        bed.accept("h2")
    assert run.last("Ask")["kind"] == "unreachable"
    assert run.result("Ask")["msg"].startswith("h2 was not reached: ")
