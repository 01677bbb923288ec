# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S33: starts whose link is cut at any moment, whose reply is lost, which ssh repeats. One job, and its registered result names it."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import time
import typing as t

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.faults.core_fails import TABLE
from ansible_collections.longhaul.jobs.tests.scenarios.support import COLLECTIONS, Run, Stage
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import wait_for

BED_HOSTS = 6
MODULES = COLLECTIONS / "ansible_collections" / "longhaul" / "jobs" / "plugins" / "modules"
END_SESSIONS = """
for process in /proc/[0-9]*; do
    case $(tr '\\0' ' ' <$process/cmdline) in *listener*) ;; "sshd: "*) kill -KILL ${process#/proc/} ;; esac
done 2>/dev/null
true
"""


def _lines(bed: Bed, host: str, path: str) -> list[str]:
    """The lines of a file there; none where there is no file."""
    return bed.execute(host, "sh", "-c", f"cat {path} 2>/dev/null || true").split()


START = """
- name: Warm up
  ansible.builtin.raw: 'true'
  when: is_warm

- name: Start
  longhaul.jobs.async_start:
    cmd: echo $LONGHAUL_JID >>{{ ran }}
    poll: "{{ poll }}"
    unreachable_timeout: 1m
  register: started
  ignore_unreachable: true

- name: Wait
  longhaul.jobs.async_status:
    jid: "{{ started.ansible_job_id }}"
  register: ended
  until: ended.finished
  retries: 60
  delay: 1
  ignore_errors: true
"""
CUTS = ("refuse", "drop", "end sessions")


@contextlib.contextmanager
def _slow(bed: Bed) -> t.Iterator[None]:
    """Each packet takes 30 ms, so that there is something to cut."""
    for host in bed.hosts:
        bed.delay(host, 30)
    try:
        yield
    finally:
        for host in bed.hosts:
            bed.undelay(host)


def _cut(bed: Bed, host: str, way: str) -> None:
    if way == "refuse":
        bed.refuse(host)
    elif way == "drop":
        bed.drop(host)
    else:
        bed.execute(host, "sh", "-c", END_SESSIONS)


def _heal(bed: Bed, host: str) -> None:
    bed.accept(host)
    bed.undrop(host)


def _until(run: Run, moment: float) -> None:
    """Return at that moment of the monotonic clock; the run must last until then."""
    run.wait_for(lambda: time.monotonic() >= moment)


@pytest.mark.parametrize("number", range(2))
def test_a_start_that_is_cut_at_any_moment_is_one_job(stage: Stage, bed: Bed, number: int) -> None:
    """Six moments, each way of cutting by both transports. One job, or none where no attempt has arrived; its result names it."""
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    ran = f"/var/tmp/{stage.folder.name}"
    for index, host in enumerate(bed.hosts):
        transport = ("direct", "module")[(index + number) % 2]
        own: dict[str, t.Any] = {
            "ran": ran,
            "is_warm": number > 0,
            "poll": number % 2,
            "longhaul_transport": transport,
            "longhaul_look_timeout": 4,
        }
        stage.add_bed_host(bed, host, **own)
    moments = sorted((chance.uniform(0, 0.8), host, CUTS[(index // 2 + number) % 3]) for index, host in enumerate(bed.hosts))
    print(f"seed {seed}: {moments}")
    with _slow(bed):
        run = stage.begin(START, "--forks", "6", PYTHONUNBUFFERED="1")
        run.wait_for(lambda: "TASK [Start]" in run.output)
        began = time.monotonic()
        for moment, host, way in moments:
            _until(run, began + moment)
            _cut(bed, host, way)
        _until(run, began + 3)
        bed.accept(*bed.hosts)
        bed.undrop(*bed.hosts)
    run.finish()
    for host in bed.hosts:
        started, ended = run.result("Start", host), run.result("Wait", host)
        assert "ansible_job_id" in started, (seed, moments, started, run.output)
        known = started["ansible_job_id"]
        assert (started["job"]["jid"], started["job"]["host"]) == (known, host)
        if _lines(bed, host, ran):
            assert _lines(bed, host, ran) == [known], (seed, moments)
            assert (ended["job"]["state"], ended["ansible_job_id"]) == ("succeeded", known)
        else:
            assert run.last("Start", host)["kind"] == "unreachable", (seed, moments)
            assert ended["job"]["state"] == "unknown"
    assert "was not answered" in run.output or "UNREACHABLE" in run.output


STARTS = int(os.environ.get("LONGHAUL_STARTS", "18"))  # 50 take a minute


def test_starts_by_name_over_links_that_are_cut(stage: Stage, bed: Bed) -> None:
    """Each host's link is cut at a random moment while several starts are under way on it, and healed after 3 s.

    Never more than one job of a start, and its registered result names it; so does the name, to a second run of the play.
    """
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    ran = f"/var/tmp/{stage.folder.name}"
    where: dict[str, str] = {}
    for number in range(STARTS):
        own: dict[str, t.Any] = {"ran": f"{ran}.{number}", "is_warm": number % 4 > 1, "poll": number // 2 % 2, "longhaul_look_timeout": 4}
        where[f"n{number}"] = bed.hosts[number % len(bed.hosts)]
        transport = ("direct", "module")[number % 2]
        stage.add_bed_host(bed, where[f"n{number}"], name=f"n{number}", longhaul_transport=transport, **own)
    moments = sorted((chance.uniform(0, 2.5), host, CUTS[index % 3]) for index, host in enumerate(bed.hosts))
    by_name = START.replace("    poll:", '    name: "{{ inventory_hostname }}"\n    poll:')
    with _slow(bed):
        run = stage.begin(by_name, "--forks", str(STARTS), PYTHONUNBUFFERED="1")
        run.wait_for(lambda: "TASK [Start]" in run.output)
        began = time.monotonic()
        steps = [(moment, functools.partial(_cut, bed, host, way)) for moment, host, way in moments]
        steps += [(moment + 3, functools.partial(_heal, bed, host)) for moment, host, _way in moments]
        for moment, step in sorted(steps, key=lambda each: each[0]):
            _until(run, began + moment)
            step()
    run.finish(rc=None)
    missed = [name for name in where if run.result("Start", name).get("warnings") or run.last("Start", name)["kind"] == "unreachable"]
    lost = []
    for name, host in where.items():
        started, ended = run.result("Start", name), run.result("Wait", name)
        known = started["ansible_job_id"]
        assert (started["job"]["jid"], started["job"]["name"]) == (known, name)
        lines = _lines(bed, host, f"{ran}.{name[1:]}")
        assert lines in ([], [known]), (seed, moments, name)
        if lines:
            assert (ended["job"]["state"], ended["ansible_job_id"]) == ("succeeded", known), (seed, ended)
        else:
            lost.append(name)
            assert run.last("Start", name)["kind"] == "unreachable", (seed, moments, name)
            assert ended["job"]["state"] == "unknown"
    print(f"seed {seed}: {STARTS} starts by name, {len(missed)} of them met a cut link, {len(lost)} never arrived")
    assert missed
    again = stage.play(by_name.replace("    name:", "    if_finished: reuse\n    name:"), "--forks", str(STARTS))
    for name, host in where.items():
        result = again.result("Start", name)
        assert _lines(bed, host, f"{ran}.{name[1:]}") == [result["ansible_job_id"]]
        assert result["job"]["attached"] is (name not in lost)


# Carries out whole what starts a job, and then ends its own session, so often as `losses` has lines left.
LOSING = """#!/bin/sh
case "$SSH_ORIGINAL_COMMAND" in
*python*-ISE*|*python*async_start.py*|*python*async_wrapper.py*)
    if test -s /var/tmp/losses; then
        sed -i 1d /var/tmp/losses
        sh -c "$SSH_ORIGINAL_COMMAND" >/dev/null
        kill -KILL $PPID
        sleep 60
    fi
esac
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""
KEYS = "/etc/longhaul-bed/authorized_keys"


@pytest.fixture
def losing(bed: Bed) -> t.Iterator[Bed]:
    """The bed, whose hosts run every command by way of LOSING."""
    for host in bed.hosts:
        bed.execute(host, "sh", "-c", f"cp {KEYS} {KEYS}.plain; sed -i 's#^#command=\"/var/tmp/losing\" #' {KEYS}")
        bed.execute(host, "sh", "-c", f"cat >/var/tmp/losing <<'end'\n{LOSING}end\nchmod 755 /var/tmp/losing")
    try:
        yield bed
    finally:
        for host in bed.hosts:
            bed.execute(host, "sh", "-c", f"mv {KEYS}.plain {KEYS}; rm -f /var/tmp/losing /var/tmp/losses")


def _lose(bed: Bed, times: int) -> None:
    for host in bed.hosts:
        bed.execute(host, "sh", "-c", f"yes | head -n {times} >/var/tmp/losses")


OURS = """
- name: Start
  longhaul.jobs.async_start:
    task: {longhaul.scenario.once: {path: "{{ ran }}"}}
    poll: "{{ poll }}"
  register: started

- name: Wait
  longhaul.jobs.async_status:
    jid: "{{ started.ansible_job_id }}"
  register: ended
  until: ended.finished
  retries: 60
  delay: 1
"""
ONCE = """
    import os
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule({"path": {"type": "str"}})
    with open(module.params["path"], "a") as stream:
        stream.write(os.environ["LONGHAUL_JID"] + "\\n")
    module.exit_json(changed=True)
"""
CORE = """
- name: Start
  ansible.builtin.shell: echo $PPID >>{{ ran }}; while ! test -e {{ ran }}.gate; do sleep 0.1; done
  async: 60
  poll: 0
  register: started
  ignore_unreachable: true

- name: Wait
  ansible.builtin.async_status:
    jid: "{{ started.ansible_job_id }}"
  register: ended
  until: ended.finished
  retries: 60
  delay: 1
  when: started is reachable
"""


def _until_started(run: Run, host: str) -> None:
    """Return when the run knows what has become of the start on the host."""
    run.wait_for(lambda: run.of("Start", host))


def test_a_start_that_ssh_repeats_is_one_job(stage: Stage, losing: Bed) -> None:
    """Its session is ended right after the job has been started, twice; by both ways, and by the keyword of core."""
    ran = f"/var/tmp/{stage.folder.name}"
    ours: dict[str, dict[str, t.Any]] = {
        "h1": {"longhaul_transport": "direct", "poll": 0},
        "h2": {"longhaul_transport": "direct", "poll": 1},
        "h3": {"longhaul_transport": "module", "poll": 0},
    }
    stage.add_module("once", ONCE)
    people = {**ours, "h4": {}, "h5": {}, "h6": {}}
    for host, own in people.items():
        retries = 0 if host == "h6" else 2
        stage.add_bed_host(losing, host, **own, ran=ran, ansible_ssh_retries=retries, ansible_ssh_transfer_method="piped")
    _lose(losing, 2)
    runs = {
        "h1,h2,h3": stage.begin(OURS, hosts="h1,h2,h3"),
        "h4": stage.begin(CORE, hosts="h4", ANSIBLE_LIBRARY=str(MODULES)),
        "h5,h6": stage.begin(CORE, hosts="h5,h6"),
    }
    for host in ("h4", "h5", "h6"):  # the files that ssh's repeat needs are gone with the job's end
        _until_started(runs["h4" if host == "h4" else "h5,h6"], host)
        losing.execute(host, "touch", f"{ran}.gate")
    for run in runs.values():
        run.finish()
    assert [len(_lines(losing, host, "/var/tmp/losses")) for host in people] == [0, 0, 0, 0, 0, 1], "not all that should be was lost"
    for host in ours:
        known = runs["h1,h2,h3"].result("Start", host)["ansible_job_id"]
        assert _lines(losing, host, ran) == [known]
        assert runs["h1,h2,h3"].result("Wait", host)["job"]["state"] == "succeeded"
    assert "was not answered" not in runs["h1,h2,h3"].output, "it was we who repeated it, not ssh"
    keyword = runs["h4"].result("Wait", "h4")
    assert keyword["job"]["state"] == "succeeded"
    assert keyword["ansible_job_id"] == runs["h4"].result("Start", "h4")["ansible_job_id"]
    assert len(_lines(losing, "h4", ran)) == 1
    core = runs["h5,h6"]
    wait_for(lambda: (len(_lines(losing, "h5", ran)), len(_lines(losing, "h6", ran))) == (3, 1))
    assert core.result("Wait", "h5")["finished"] is True
    assert core.last("Start", "h6")["kind"] == "unreachable"
    assert "ansible_job_id" not in core.result("Start", "h6")
    TABLE["ssh repeats a start whose reply was lost, twice"] = "three jobs, of which one is known"
    TABLE["the reply to a start is lost for good"] = "UNREACHABLE; the job runs, its id is known to nobody"


GONE = """
- name: Starts whose answer is lost
  hosts: h1, h2, h3, h4
  gather_facts: false
  tasks:
    - name: A block
      block:
        - name: Start
          longhaul.jobs.async_start:
            cmd: echo $LONGHAUL_JID >>{{ ran }}; while ! test -e {{ ran }}.gate; do sleep 0.1; done; echo let go
            name: once
            poll: 6
            unreachable_timeout: 8s
          register: started
          ignore_unreachable: "{{ inventory_hostname in ['h1', 'h3'] }}"

        - name: Not to be reached
          ansible.builtin.fail: {msg: the start was answered}
          when: started is reachable
      always:
        - name: Ask where that is ignored
          longhaul.jobs.async_status: {jobs: "{{ started }}"}
          register: ended
          until: ended.finished
          retries: 60
          delay: 1

- name: What is known elsewhere
  hosts: h5
  gather_facts: false
  tasks:
    - name: Show
      ansible.builtin.debug: {msg: "{{ hostvars[item].started }}"}
      loop: [h2, h4]

    - name: Ask h2 from here
      longhaul.jobs.async_status: {jobs: "{{ hostvars['h2'].started }}"}
      delegate_to: h2
      register: ended
      until: ended.finished
      retries: 60
      delay: 1

    - name: Ask h4 from here
      longhaul.jobs.async_status: {jobs: "{{ hostvars['h4'].started }}"}
      delegate_to: h4
      register: ended
      until: ended.finished
      retries: 60
      delay: 1
"""
LOST = {"h1": "direct", "h2": "direct", "h3": "module", "h4": "module"}


def test_a_start_that_is_lost_for_good_is_found_by_its_result(stage: Stage, bed: Bed) -> None:
    """Cut off at the payload's exec: unreachable, with the reference, for `always` (h1, h3) and another host of another play (h2, h4)."""
    ran = f"/var/tmp/{stage.folder.name}"
    for host in (*LOST, "h5"):
        stage.add_bed_host(bed, host, ran=ran, longhaul_transport=LOST.get(host, "auto"), longhaul_look_timeout=4)
    run = stage.begin(GONE, "--forks", "4", PYTHONUNBUFFERED="1")
    _cut_when_it_runs(run, bed, ran, {"h1": bed.drop, "h2": bed.refuse, "h3": bed.refuse, "h4": bed.drop})
    for host in LOST:
        _until_started(run, host)
    bed.undrop("h1", "h4")
    bed.accept("h2", "h3")
    for host in LOST:
        bed.execute(host, "touch", f"{ran}.gate")
    run.finish(rc=4)
    known = {host: run.result("Start", host) for host in ("h1", "h3")}
    known.update({event["result"]["item"]: event["result"]["msg"] for event in run.of("Show") if event["kind"] == "item_ok"})
    for host in LOST:
        started = known[host]
        assert run.last("Start", host)["kind"] == "unreachable"
        assert (started["unreachable"], started["started"], started["finished"]) == (True, False, False)
        (jid,) = _lines(bed, host, ran)
        assert started["ansible_job_id"] == started["job"]["jid"] == jid
        assert (started["job"]["host"], started["job"]["name"], started["job"]["reachable"]) == (host, "once", False)
        found = run.result("Ask where that is ignored", host) if host in ("h1", "h3") else run.result(f"Ask {host} from here")
        (job,) = found["jobs"]
        assert (job["ansible_job_id"], job["stdout"], job["job"]["state"]) == (jid, "let go", "succeeded")


def _cut_when_it_runs(run: Run, bed: Bed, ran: str, cuts: dict[str, t.Callable[..., None]]) -> None:
    """Cut each host off as soon as its payload runs."""
    left = dict(cuts)
    while left:
        host = run.wait_for(lambda: next((one for one in left if _lines(bed, one, ran)), None))
        left.pop(host)(host)
