# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented examples of an upgrade run as they stand, on hosts that know of no packages to upgrade to."""

from __future__ import annotations

import shutil

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.support import Run, Stage

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="needs a machine with apt")
EXAMPLES = """
- name: One upgrade a host, however often this play runs  # (a test host: this really upgrades)
  longhaul.jobs.async_start:
    name: dist-upgrade
    task: {ansible.builtin.apt: {upgrade: dist}}
    time_limit: 2h
  become: true
  register: upgrade

- name: Under one deadline, over lost connections, noticed at once
  longhaul.jobs.async_wait:
    jobs: "{{ upgrade }}"
    timeout: 2h
    on_timeout: cancel
  become: true

- name: What is running here
  longhaul.jobs.async_info:
    filters: {states: [running, orphaned]}
  become: true
  register: now_running

- name: Stop it for sure
  longhaul.jobs.async_cancel:
    jobs: dist-upgrade
    reason: maintenance window closed
  become: true
"""
FIRST, WAIT, RUNNING, STOP = (line.split("  #")[0].removeprefix("- name: ") for line in EXAMPLES.splitlines() if line.startswith("- name"))


@pytest.fixture
def hosts(stage: Stage, bed: Bed) -> list[str]:
    """A host that is logged in to as root, and one whose user may sudo; neither has sources of packages."""
    for host, user in zip(bed.hosts, ("root", "asked"), strict=True):
        stage.add_bed_host(bed, host, user=user)
        bed.execute(host, "sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*")
    return bed.hosts


def _outcomes(run: Run, task: str) -> list[tuple[str, str]]:
    """(kind, state of its first job) of each host."""
    return [(event["kind"], job["job"]["state"]) for event in run.of(task) for job in event["result"]["jobs"][:1]]


def test_an_upgrade_under_one_deadline(stage: Stage, hosts: list[str]) -> None:
    run = stage.play(EXAMPLES)
    for host in hosts:
        assert run.result(FIRST, host)["job"]["name"] == "dist-upgrade"
        waited = run.result(WAIT, host)["jobs"][0]
        assert (waited["job"]["state"], waited["job"]["module"]) == ("succeeded", "ansible.builtin.apt")
        assert "0 upgraded, 0 newly installed" in waited["stdout"]
        assert run.result(RUNNING, host)["jobs"] == []
        assert (run.last(STOP, host)["kind"], run.result(STOP, host)["changed"]) == ("ok", False)


def test_an_upgrade_that_is_going_on_is_joined_and_can_be_stopped(stage: Stage, bed: Bed, hosts: list[str]) -> None:
    """Here apt-get never ends."""
    for host in hosts:
        bed.execute(
            host, "sh", "-c", "rm /usr/bin/apt-get; printf '#!/bin/sh\nexec sleep 1000' >/usr/bin/apt-get; chmod 755 /usr/bin/apt-get"
        )
    without_wait = "\n".join(part for part in EXAMPLES.split("\n\n") if "async_wait" not in part)
    first = stage.play(without_wait.partition("\n- name: Stop it")[0])
    run = stage.play(without_wait)
    for host in hosts:
        assert run.result(FIRST, host)["ansible_job_id"] == first.result(FIRST, host)["ansible_job_id"]
        assert (run.result(FIRST, host)["changed"], run.result(FIRST, host)["job"]["attached"]) == (False, True)
        assert [job["job"]["name"] for job in run.result(RUNNING, host)["jobs"]] == ["dist-upgrade"]
        assert run.result(STOP, host)["changed"] is True
        job = run.result(STOP, host)["jobs"][0]["job"]
        assert (job["state"], job["reason"]) == ("cancelled", "maintenance window closed")
