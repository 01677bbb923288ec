# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks that a person runs by name, over the hosts of a bed of which one is not reached: what they show and refuse.

The tests share the jobs: the first ones look, the last ones cancel and prune.
"""

from __future__ import annotations

import re
import typing as t

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.support import Run, Stage

BED_HOSTS = 3  # the third one refuses connections
UNREACHABLE = 4  # ansible-playbook's exit status where a host was not reached; 2 is where one failed
STARTS = """
- name: Start the same upgrade on both
  longhaul.jobs.async_start:
    name: upgrade
    labels: {ticket: OPS-4711}
    cmd: |
      printf 'line %s\\n' 1 2 3 4 5 6
      echo 'an error' >&2
      echo '42% unpacking "libc6"' > "$LONGHAUL_PROGRESS"
      exec sleep 600

- name: Start a command without a name
  longhaul.jobs.async_start:
    task: {ansible.builtin.command: {argv: ['false']}}
    poll: 1
  failed_when: false

- name: Start a module
  longhaul.jobs.async_start:
    name: nightly-{{ inventory_hostname }}
    task: {ansible.builtin.file: {path: /tmp/by-name, state: directory, mode: '0700'}}
    poll: 1
"""


@pytest.fixture(scope="module")
def hosts(shared_stage: Stage, bed: Bed) -> t.Iterator[Stage]:
    """Two hosts with three jobs each, and one that cannot be reached."""
    for host in ("h1", "h2"):
        shared_stage.add_bed_host(bed, host)
    shared_stage.play(STARTS)
    bed.refuse("h3")
    shared_stage.add_bed_host(bed, "h3")
    yield shared_stage
    bed.accept("h3")
    bed.restart_container("h1", "h2")


class Table:
    """The table that a playbook has shown, and the lines behind it."""

    def __init__(self, run: Run) -> None:
        lines = next(event["result"]["msg"] for event in run.events if event["task"].startswith("Show "))
        for line in lines:
            assert line.replace('"', '\\"') in run.output
        names = re.findall(r"\S+(?: \S+)*", lines[0])
        starts = [lines[0].index(name) for name in names]
        ends = [*starts[1:], None]
        self.rows: list[dict[str, str]] = []
        for number, line in enumerate(lines[1:], 1):
            if len(line) <= starts[-1] or any(line[start - 2 : start].strip() for start in starts[1:]):
                self.rest = lines[number:]
                return
            self.rows.append({name: line[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)})
        self.rest = []

    def column(self, *names: str) -> list[tuple[str, ...]]:
        """These columns of all rows."""
        return [tuple(row[name] for name in names) for row in self.rows]


def test_list(hosts: Stage) -> None:
    run = hosts.play_by_name("longhaul.jobs.list", rc=UNREACHABLE)
    table = Table(run)
    assert len(table.rows) == 6
    for host in ("h1", "h2"):
        upgrade, nameless, nightly = (row for row in table.rows if row["HOST"] == host)
        assert upgrade == {
            "HOST": host,
            "JOB": "upgrade",
            "MODULE": "ansible.builtin.shell",
            "STATE": "running",
            "STARTED (UTC)": upgrade["STARTED (UTC)"],
            "ELAPSED": upgrade["ELAPSED"],
            "PROGRESS": upgrade["PROGRESS"],
            "USER": "root",
        }
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", upgrade["STARTED (UTC)"])
        assert re.fullmatch(r"0:\d\d:\d\d", upgrade["ELAPSED"])
        assert re.fullmatch(r'42% unpacking "libc6" \(0:\d\d:\d\d left\)', upgrade["PROGRESS"])
        assert re.fullmatch(r"j\d{12}\.\d+", nameless["JOB"])
        assert (nameless["MODULE"], nameless["STATE"], nameless["PROGRESS"]) == ("ansible.builtin.command", "failed", "-")
        assert (nightly["JOB"], nightly["MODULE"], nightly["STATE"]) == (f"nightly-{host}", "ansible.builtin.file", "succeeded")
    assert [line.partition(": ")[0] for line in table.rest] == ["h3 was not reached"]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["states=running"], [("h1", "upgrade"), ("h2", "upgrade")]),
        (["states=succeeded,running", "target=h1"], [("h1", "upgrade"), ("h1", "nightly-h1")]),
        (["names=nightly-*"], [("h1", "nightly-h1"), ("h2", "nightly-h2")]),
        (['names="nightly-h1, upgrade"', "target=h1"], [("h1", "upgrade"), ("h1", "nightly-h1")]),
        (["labels=ticket=OPS-4711", "modules=shell,file"], [("h1", "upgrade"), ("h2", "upgrade")]),
        (['{"states": ["running"], "labels": {"ticket": "OPS-4711"}, "target": "h2"}'], [("h2", "upgrade")]),
        (["older_than=1h"], []),
        (["newer_than=1h", "states=running", "target=h2"], [("h2", "upgrade")]),
    ],
)
def test_some_of_a_list(hosts: Stage, arguments: list[str], shown: list[tuple[str, str]]) -> None:
    extra = [word for argument in arguments for word in ("-e", argument)]
    run = hosts.play_by_name("longhaul.jobs.list", "--limit", "h1,h2", *extra)
    assert Table(run).column("HOST", "JOB") == shown
    if not shown:
        assert "(no jobs)" in run.output


def test_a_filter_that_is_none(hosts: Stage) -> None:
    run = hosts.play_by_name("longhaul.jobs.list", "--limit", "h1", "-e", "labels=ticket", rc=2)
    assert "filters.labels: got 'ticket'; it takes a dict of labels and their values" in run.output
    run = hosts.play_by_name("longhaul.jobs.list", "--limit", "h1", "-e", "states=done", rc=2)
    assert "filters.states: got 'done'; it takes running, orphaned" in run.output


@pytest.mark.parametrize("playbook", ["cancel", "prune", "log"])
def test_nothing_is_done_without_a_selection(hosts: Stage, playbook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host's own variables, which may be called anything, are none."""
    own = {"names": "upgrade", "jobs": "upgrade", "states": ["failed"], "labels": {"a": "b"}, "keep_last": 0}
    monkeypatch.setitem(hosts.hosts, "h1", {**hosts.hosts["h1"], **own})
    run = hosts.play_by_name(f"longhaul.jobs.{playbook}", rc=2)
    assert f"{playbook}: got no selection; it takes " in run.output
    assert [event["task"] for event in run.events if event["kind"] != "skipped"] == [next(e["task"] for e in run.events)]
    assert len(Table(hosts.play_by_name("longhaul.jobs.list", rc=UNREACHABLE)).rows) == 6


def test_log(hosts: Stage) -> None:
    run = hosts.play_by_name("longhaul.jobs.log", "-e", "jobs=upgrade", "-e", "lines=2", rc=UNREACHABLE)
    assert run.result("Show them")["msg"][:6] == [
        "h1, upgrade, stdout:",
        "  line 5",
        "  line 6",
        "h2, upgrade, stdout:",
        "  line 5",
        "  line 6",
    ]
    assert run.result("Show them")["msg"][6].startswith("h3 was not reached: ")
    run = hosts.play_by_name("longhaul.jobs.log", "--limit", "h1", "-e", "names=upgrade", "-e", "stream=stderr")
    assert run.result("Show them")["msg"] == ["h1, upgrade, stderr:", "  an error"]
    run = hosts.play_by_name("longhaul.jobs.log", "--limit", "h1", "-e", "states=running", "-e", "grep=[24]$")
    assert run.result("Show them")["msg"] == ["h1, upgrade, stdout:", "  line 2", "  line 4"]
    run = hosts.play_by_name("longhaul.jobs.log", "--limit", "h1", "-e", "jobs=upgrade,nobody", "-e", "lines=1", rc=2)
    assert run.result("Show them")["msg"][:2] == ["h1, upgrade, stdout:", "  line 6"]
    assert "could not find a job named nobody" in run.result("Show them")["msg"][2]


def test_cancel(hosts: Stage, bed: Bed) -> None:
    dry = hosts.play_by_name("longhaul.jobs.cancel", "--limit", "h1,h2", "--check", "-e", "names=upgrade")
    assert Table(dry).column("HOST", "JOB", "STATE") == [("h1", "upgrade", "running"), ("h2", "upgrade", "running")]
    reason = "-e", '{"reason": "window closed"}'
    run = hosts.play_by_name("longhaul.jobs.cancel", "-e", "jobs=upgrade", *reason, "-e", "grace=1s", rc=UNREACHABLE)
    table = Table(run)
    assert table.column("HOST", "JOB", "STATE") == [("h1", "upgrade", "cancelled"), ("h2", "upgrade", "cancelled")]
    assert [line.partition(": ")[0] for line in table.rest] == ["h3 was not reached"]
    for host in ("h1", "h2"):
        asked = hosts.play("- name: Ask\n  longhaul.jobs.async_info: {jobs: upgrade}", "--limit", host)
        job = asked.result("Ask")["jobs"][0]["job"]
        assert (job["reason"], job["verified"], job["survivors"]) == ("window closed", True, [])
        assert not bed.execute(host, "sh", "-c", f"ls -d /proc/{job['payload_pid']} 2>/dev/null || true")


def test_prune(hosts: Stage) -> None:
    dry = hosts.play_by_name("longhaul.jobs.prune", "--limit", "h1,h2", "--check", "-e", "names=nightly-*")
    assert Table(dry).column("HOST", "JOB", "STATE") == [("h1", "nightly-h1", "succeeded"), ("h2", "nightly-h2", "succeeded")]
    run = hosts.play_by_name("longhaul.jobs.prune", "-e", "names=nightly-*,nobody", rc=UNREACHABLE)
    table = Table(run)
    assert table.column("HOST", "JOB", "STATE") == [("h1", "nightly-h1", "succeeded"), ("h2", "nightly-h2", "succeeded")]
    assert [re.sub(r": [\d.]+ kB", ": N kB", line) for line in table.rest[:2]] == ["h1: N kB in all", "h2: N kB in all"]
    left = Table(hosts.play_by_name("longhaul.jobs.list", "--limit", "h1"))
    assert left.column("MODULE") == [("ansible.builtin.shell",), ("ansible.builtin.command",)]
