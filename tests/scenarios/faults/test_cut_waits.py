# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S8, S9: a link that is down for a while, and a host that is gone for good, while async_wait waits."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.faults.outages import OUTAGE, outage
from ansible_collections.longhaul.jobs.tests.scenarios.support import Run, Stage

BED_HOSTS = 3
WAIT = """
- name: Start
  longhaul.jobs.async_start:
    cmd: echo begun; while ! test -e {{ gate }}; do sleep 0.1; done; echo let go
  register: started

- name: Wait
  longhaul.jobs.async_wait:
    jobs: "{{ started }}"
    long_poll: "{{ long_poll }}"
    close_connection: "{{ close_connection }}"
    poll_interval: 1s
    unreachable_timeout: "{{ patience }}"
  register: waited
"""
# By name: host, transport, and how long looks are held.
Way = tuple[str, str, float]


def _begin(stage: Stage, bed: Bed, ways: dict[str, Way], patience: str, tasks: str = WAIT) -> Run:
    """A run in which each host's job is waited for."""
    for name, (host, transport, long_poll) in ways.items():
        own: dict[str, t.Any] = {"gate": f"/var/tmp/{stage.folder.name}", "ansible_control_path_dir": str(stage.folder / f"cp-{name}")}
        own.update(patience=patience, long_poll=long_poll, close_connection=name.endswith("closed"))
        # a look by the module way takes a second where two processors have much to do
        own.update(longhaul_transport=transport, longhaul_look_timeout=6 if transport == "module" else 3)
        stage.add_bed_host(bed, host, name=name, **own)
    run = stage.begin(tasks, "--forks", str(len(ways)), PYTHONUNBUFFERED="1")
    run.wait_for(lambda: all(f"{name}: waiting for 1 job: j" in run.output for name in ways))
    return run


def _has_missed(run: Run, names: t.Iterable[str]) -> bool:
    """Whether of each of these a look was missed, and that was said."""
    return all(f"{name} was not reached: " in run.output for name in names)


def test_a_link_that_is_down_for_a_while_is_waited_for(stage: Stage, bed: Bed) -> None:
    """S8: refused, silent, or with sshd and its sessions standing still: the wait goes on and ends with the job's result."""
    ways: dict[str, Way] = {"refused": ("h1", "direct", 1), "silent": ("h2", "direct", 1), "frozen": ("h3", "direct", 1)}
    ways |= {"module": ("h2", "module", 1), "refused-held": ("h1", "direct", 20), "refused-closed": ("h1", "direct", 0)}
    missed = list(ways)
    ways["silent-held"] = ("h2", "direct", 60)  # no look is due meanwhile
    run = _begin(stage, bed, ways, "1m")
    with outage(bed, "freeze"):
        cut = time.monotonic()
        run.wait_for(lambda: time.monotonic() > cut + OUTAGE and _has_missed(run, missed))
    for host in bed.hosts:
        bed.execute(host, "touch", f"/var/tmp/{stage.folder.name}")
    run.finish()
    for name in ways:
        result = run.result("Wait", name)
        job = result["jobs"][0]
        assert (result["finished"], job["rc"], job["stdout_lines"]) == (True, 0, ["begun", "let go"]), name
        assert (job["job"]["state"], job["job"]["reachable"]) == ("succeeded", True)
        assert (result["missed_looks"] > 0) is (name in missed), name
        assert bool(result.get("warnings")) is (name in missed), name


def test_a_host_that_is_gone_for_good_is_unreachable(stage: Stage, bed: Bed) -> None:
    """S9: it refuses, is silent, or is off: said after the first missed look, given up after unreachable_timeout."""
    ways: dict[str, Way] = {"refused": ("h1", "direct", 1), "silent": ("h2", "direct", 1), "off": ("h3", "direct", 1)}
    ways |= {"silent-held": ("h2", "direct", 5), "module": ("h2", "module", 1), "off-closed": ("h3", "direct", 0)}
    run = _begin(stage, bed, ways, "7s")
    with outage(bed, "poweroff"):
        cut = time.monotonic()
        run.wait_for(lambda: _has_missed(run, ways))
        run.finish(rc=4, seconds=45)
        took = time.monotonic() - cut
    assert took >= 7
    for name in ways:
        result = run.result("Wait", name)
        assert run.last("Wait", name)["kind"] == "unreachable"
        assert [job["ansible_job_id"] for job in result["jobs"]] == [run.result("Start", name)["ansible_job_id"]]
        assert (result["finished"], result["jobs"][0]["job"]["reachable"]) == (False, False)
        assert "given up after 7 s" in result["msg"]


ALWAYS = (
    WAIT.replace("  register: waited", "  register: waited\n  ignore_unreachable: true")
    + """
- name: Ask again
  longhaul.jobs.async_wait:
    jobs: "{{ waited }}"
    unreachable_timeout: 1m
    timeout: 1m
"""
)


def test_an_unreachable_wait_can_be_gone_on_with(stage: Stage, bed: Bed) -> None:
    """S9, S33: its result names the jobs."""
    run = _begin(stage, bed, {"refused": ("h1", "direct", 1)}, "1s", ALWAYS)
    with outage(bed, "freeze"):
        run.wait_for(lambda: run.of("Wait"))
    bed.execute("h1", "touch", f"/var/tmp/{stage.folder.name}")
    run.finish()
    assert run.last("Wait")["kind"] == "unreachable"
    assert run.result("Ask again")["jobs"][0]["stdout_lines"] == ["begun", "let go"]


def test_a_deadline_that_passes_while_the_host_is_away(stage: Stage, bed: Bed) -> None:
    """S9, S10: the timeout ends the wait, and says that the host does not answer."""
    tasks = WAIT.replace("    poll_interval", "    timeout: 8s\n    poll_interval")
    run = _begin(stage, bed, {"refused": ("h1", "direct", 1), "silent": ("h2", "direct", 1)}, "5m", tasks)
    with outage(bed, "freeze"):
        run.finish(rc=2, seconds=40)
    for name in ("refused", "silent"):
        result = run.result("Wait", name)
        assert (run.last("Wait", name)["kind"], result["finished"]) == ("failed", False)
        jid = run.result("Start", name)["ansible_job_id"]
        assert f"1 of 1 job had not ended 8 s after the waiting began: {jid}; left as it is: {name} was not reached: " in result["msg"]
