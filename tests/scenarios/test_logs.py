# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""async_log on hosts, over ssh: read on until the end, last lines, matches, files on the controller; S19, S24, S39."""

from __future__ import annotations

import contextlib
import json
import stat
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.support import BIN, Json, Stage, other_cores

BED_HOSTS = 2
SECRET = "shibbo-leth-4712"

READ_ON = """
- name: A play
  hosts: all
  gather_facts: false
  tasks:
    - name: Start
      longhaul.jobs.async_start:
        cmd: for i in 1 2 3 4 5 6 7 8; do echo line $i; echo grün $i >&2; sleep 0.3; done; printf end
        name: "{{ named }}"
      register: started

    - name: Read on
      longhaul.jobs.async_log:
        jobs: "{{ started }}"
        offset: "{{ read.logs[0].next_offset | default(0) }}"
      register: read
      until: read.logs[0].end
      retries: 100
      delay: 0.1

    - name: Last lines
      longhaul.jobs.async_log: {jobs: "{{ named }}", lines: 2}

    - name: Matches
      longhaul.jobs.async_log: {jobs: "{{ named }}", stream: stderr, grep: "ün [37]$"}

    - name: By filters, a little of each
      longhaul.jobs.async_log: {filters: {names: "{{ named }}"}, max_bytes: 10}

    - name: Behind the end
      longhaul.jobs.async_log: {jobs: "{{ named }}", offset: 1000}

    - name: Of nobody
      longhaul.jobs.async_log: {jobs: ["{{ named }}", nobody]}
      ignore_errors: true
"""


@pytest.mark.parametrize("transport", ["direct", "module"])
def test_reading(stage: Stage, bed: Bed, transport: str) -> None:
    stage.add_bed_host(bed, "h1", longhaul_transport=transport, named=f"lines-{transport}")
    run = stage.play(READ_ON)
    whole = "".join(f"line {number}\n" for number in range(1, 9)) + "end"
    parts = [event["result"]["logs"][0] for event in run.of("Read on")]
    assert [part["end"] for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1]["next_offset"] == len(whole)
    told = {part["offset"]: part["text"] for part in parts}
    assert "".join(told[offset] for offset in sorted(told)) == whole
    assert run.result("Last lines")["logs"][0]["text"] == "line 8\nend"
    assert run.result("Matches")["logs"][0]["text"] == "grün 3\ngrün 7\n"
    few = run.result("By filters, a little of each")
    assert [(log["text"], log["next_offset"], log["end"]) for log in few["logs"]] == [("line 1\nlin", 10, False)]
    assert (few["finished"], few["changed"], few["jobs"][0]["job"]["name"]) == (True, False, f"lines-{transport}")
    behind = run.result("Behind the end")["logs"][0]
    assert (behind["text"], behind["next_offset"], behind["end"]) == ("", 1000, True)
    nobody = run.result("Of nobody")
    assert run.last("Of nobody")["kind"] == "failed"
    assert [log["offset"] for log in nobody["logs"]] == [0, None]
    assert nobody["logs"][0]["text"] == whole
    assert "could not find a job named nobody" in nobody["msg"]


FILES = """
- name: Start
  longhaul.jobs.async_start:
    cmd: 'printf "{{ item }} \\377\\000"; head -c {{ size }} /dev/zero'
    name: "files-{{ item }}"
    poll: 1
  loop: [1, 2]
  register: started

- name: Predict
  longhaul.jobs.async_log: {jobs: files-1, dest: logs/one, max_bytes: 1G}
  check_mode: true

- name: One
  longhaul.jobs.async_log: {jobs: files-1, dest: logs/one, max_bytes: 1G}

- name: One again
  longhaul.jobs.async_log: {jobs: files-1, dest: logs/one, max_bytes: 1G}

- name: Predict no change
  longhaul.jobs.async_log: {jobs: files-1, dest: logs/one, max_bytes: 1G}
  check_mode: true

- name: Only a part
  longhaul.jobs.async_log: {jobs: files-1, dest: logs/part}

- name: Several
  longhaul.jobs.async_log: {jobs: "{{ started }}", dest: logs/several, max_bytes: 1G}

- name: Into a folder
  longhaul.jobs.async_log: {jobs: files-2, dest: logs/several/, max_bytes: 1G}
"""


def test_files(stage: Stage, bed: Bed) -> None:
    """Bytes as they are, more than one reply holds; relative to the playbook's folder; nothing else is left in it."""
    stage.add_bed_host(bed, "h1", name="web/../1", size=9_000_000)
    run = stage.play(FILES, "-e", "ansible_connection=ssh")
    one = stage.folder / "logs" / "one"
    assert (run.result("Predict")["changed"], run.result("One")["changed"], run.result("One again")["changed"]) == (True, True, False)
    assert run.result("Predict no change")["changed"] is False
    (log,) = run.result("One")["logs"]
    assert (log["dest"], log["end"], log["next_offset"], "text" in log) == (str(one), True, 9_000_004, False)
    assert (one.read_bytes()[:4], one.stat().st_size, stat.S_IMODE(one.stat().st_mode)) == (b"1 \xff\0", 9_000_004, 0o600)
    (part,) = run.result("Only a part")["logs"]
    assert (part["next_offset"], part["end"]) == (1 << 20, False)
    assert (stage.folder / "logs" / "part").read_bytes() == one.read_bytes()[: 1 << 20]
    jids = [log["job"]["jid"] for log in run.result("Several")["logs"]]
    folder = stage.folder / "logs" / "several" / "web_.._1"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{jid}.stdout" for jid in jids)
    assert (folder / f"{jids[0]}.stdout").read_bytes() == one.read_bytes()
    assert (run.result("Into a folder")["changed"], run.result("Several")["changed"]) == (False, True)
    assert sorted(path.name for path in one.parent.iterdir()) == ["one", "part", "several"]


SECRETS = """
- name: Start
  longhaul.jobs.async_start:
    cmd: 'echo "$SECRET"; echo "$SECRET" >&2; sleep 1'
    name: quiet
  environment: {SECRET: "{{ secret }}"}
  no_log: true
  register: started

- name: Start a module that tells it again
  longhaul.jobs.async_start:
    task: {longhaul.scenario.echo: {password: "{{ secret }}"}}
    name: echoing
    poll: 1
  no_log: "{{ quiet_module }}"

- name: Log
  longhaul.jobs.async_log: {jobs: "{{ item.0 }}", stream: "{{ item.1 }}", grep: "{{ item.2 }}"}
  loop:
    - [quiet, stdout, .]
    - [quiet, stderr, .]
    - [echoing, stdout, .]
    - [echoing, stderr, .]
  ignore_errors: true

- name: Into files
  longhaul.jobs.async_log: {jobs: [quiet, echoing], dest: files/}
  ignore_errors: true

- name: List
  longhaul.jobs.async_info: {filters: {names: [quiet, echoing]}}

- name: Cancel
  longhaul.jobs.async_cancel: {jobs: [quiet, echoing]}
"""
ECHO = """
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule({"password": {"type": "str", "no_log": True}})
    module.exit_json(changed=True, told="it is " + module.params["password"])
"""


@pytest.mark.parametrize("version", ["this", *sorted(other_cores())])
def test_secrets(stage: Stage, bed: Bed, version: str) -> None:
    """S19, S39: in no log, listing or file, nor with -vvv."""
    stage.add_module("echo", ECHO)
    stage.add_bed_host(bed, "h1", secret=SECRET, quiet_module=False)
    run = stage.play(SECRETS, "-vvv", programs=other_cores().get(version, BIN))
    told = json.dumps([event for event in run.events if not event["task"].startswith("Start")])
    assert SECRET not in told
    shown = run.output.partition("TASK [Log]")[2]
    assert shown
    assert SECRET not in shown
    logs: list[Json] = [event["result"] for event in run.of("Log")][-1].get("results", [])
    assert ["was started with no_log" in log.get("msg", "") for log in logs] == [True, True, False, False]
    assert [path for path in (stage.folder / "files").rglob("*") if path.is_file() and path.read_bytes()] == []


LARGE = """
- name: Start
  longhaul.jobs.async_start: {cmd: "echo first; sleep 600", name: large}
  register: started

- name: Make it large
  ansible.builtin.shell: truncate -s 1G {{ file }} && echo last >>{{ file }}
  vars: {file: "{{ started.results_file }}.d/stdout"}

- name: Tail
  longhaul.jobs.async_log: {jobs: large, lines: 1}

- name: Into a file
  longhaul.jobs.async_log: {jobs: large, dest: large, max_bytes: 64M}

- name: Cancel
  longhaul.jobs.async_cancel: {jobs: large, grace: 0}
"""


def _highest(pid: int) -> int:
    """KiB of memory that the process or one below it has had at once, as far as it shows while they live."""
    parents: dict[int, int] = {}
    high: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            found = dict(line.split(":", 1) for line in entry.read_text().splitlines())
            parents[int(entry.parent.name)] = int(found["PPid"])
            high[int(entry.parent.name)] = int(found.get("VmHWM", "0").split()[0])
    family = [pid]
    for one in family:  # grows while it is walked
        family += [child for child, parent in parents.items() if parent == one]
    return max(high.get(one, 0) for one in family)


def test_a_gigabyte(stage: Stage, bed: Bed) -> None:
    """S24: neither the play nor any of its workers has a part of it in memory that was not asked for."""
    stage.add_bed_host(bed, "h1")
    run = stage.begin(LARGE)
    highest = 0
    while run.process.poll() is None:  # not what wait4 tells: that begins with the memory of the process that has forked it
        highest = max(highest, _highest(run.process.pid))
        time.sleep(0.02)
    run.finish()
    (log,) = run.result("Tail")["logs"]
    assert (log["text"][-5:], log["next_offset"], log["end"]) == ("last\n", (1 << 30) + 5, False)
    assert len(log["text"]) <= 1 << 20
    assert (stage.folder / "large").stat().st_size == 64 << 20
    assert 20 << 10 < highest < 200 << 10, f"{highest} KiB at most, in the play or one of its workers"


def test_options_that_make_no_sense(stage: Stage, bed: Bed) -> None:
    stage.add_bed_host(bed, "h1")
    cases: dict[str, str] = {
        "jobs: x, offset: -1": "offset: got -1",
        "jobs: x, lines: 0": "lines: got 0",
        "jobs: x, grep: '('": "grep: got '('",
        "jobs: x, max_bytes: much": "max_bytes: got 'much'",
        "jobs: x, stream: both": "stream",
        "filters: {}": "filters: got none",
    }
    tasks = "".join(
        f"- name: Log {number}\n  longhaul.jobs.async_log: {{{case}}}\n  ignore_errors: true\n" for number, case in enumerate(cases)
    )
    run = stage.play(tasks)
    for number, sentence in enumerate(cases.values()):
        assert sentence in t.cast(str, run.result(f"Log {number}")["msg"])
