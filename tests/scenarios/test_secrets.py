# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets: what `no_log` at the start promises, and what a module's own `no_log` parameters do."""

from __future__ import annotations

import os
import re
import socket
import stat
import threading
import typing as t
from pathlib import Path

import pytest
from ansible.release import __version__
from ansible_collections.longhaul.jobs.tests.scenarios.support import Json, Run, Server, Stage, other_cores, processes

SECRET = "shibbo-leth-4711"
OPEN = "open-word-0815"  # what is no secret, to see that the nets catch something

QUIET = """
    import os, time
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule({"text": {"type": "str"}, "gate": {"type": "path"}})
    deadline = time.time() + 60
    while not os.path.exists(module.params["gate"]) and time.time() < deadline:
        time.sleep(0.05)
    module.exit_json(changed=True, text=module.params["text"], environment=os.environ.get("SECRET"))
"""
TASKS = """
- name: Start
  longhaul.jobs.async_start:
    task:
      longhaul.scenario.quiet: {text: "{{ secret }}", gate: "{{ gate }}"}
  environment: {SECRET: "{{ secret }}"}
  no_log: true
  register: started

- name: Start one with nothing to hide
  longhaul.jobs.async_start:
    task:
      longhaul.scenario.quiet: {text: "{{ open }}", gate: "{{ gate }}"}

- name: Start another with nothing to hide
  longhaul.jobs.async_start:
    cmd: "sleep 1; echo {{ open }}"
    poll: 2

- name: Ask while it runs
  longhaul.jobs.async_status:
    jid: "{{ started.ansible_job_id }}"

- name: Wait
  longhaul.jobs.async_status:
    jid: "{{ started.ansible_job_id }}"
  register: ended
  until: ended is finished
  retries: 100
  delay: 1

- name: Ask in a list
  longhaul.jobs.async_status:
    jobs: "{{ started }}"
  register: listed

- name: Start what fails, and wait
  longhaul.jobs.async_start:
    cmd: "printf %s \\"$SECRET\\"; exit 3"
    poll: 1
  environment: {SECRET: "{{ secret }}"}
  no_log: true
  register: failing
  ignore_errors: true

- name: Ask for what has failed
  longhaul.jobs.async_status:
    jid: "{{ failing.ansible_job_id }}"
  register: failed
  ignore_errors: true

- name: See what the play has
  ansible.builtin.debug:
    msg:
      whole: "{{ ended.text == secret and ended.environment == secret and listed.jobs[0].text == secret and failed.stdout == secret }}"
      flags: "{{ [ended.started, ended.finished, ended is changed, ended is failed, ended.job.state] }}"
      failed: "{{ [failed.started, failed.finished, failed is failed, failed.rc, failed.job.state] }}"
"""


class Net(threading.Thread):
    """Looks at the command lines of all processes of this machine as long as it lives."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.caught: dict[str, set[str]] = {SECRET: set(), OPEN: set()}
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.005):
            for _pid, line in processes():
                for word, found in self.caught.items():
                    if word in line:
                        found.add(line)

    def __enter__(self) -> Net:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self.join()


class Syslog(threading.Thread):
    """A syslog daemon that keeps all it is told; none where another has the socket, or without root."""

    PATH = Path("/dev/log")

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.told = ""
        self.why_not = "needs root" if os.getuid() else f"{self.PATH} is another's" if os.path.lexists(self.PATH) else ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0.2)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                self.told += self._socket.recv(1 << 17).decode(errors="replace") + "\n"
            except TimeoutError:
                continue

    def __enter__(self) -> Syslog:
        if not self.why_not:
            self._socket.bind(str(self.PATH))
            self.PATH.chmod(0o666)
            self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        if not self.why_not:
            self.join()
            self.PATH.unlink()
        self._socket.close()


class Caught(t.NamedTuple):
    """All that could be seen of a run, and of the files meanwhile."""

    run: Run
    net: Net
    syslog: Syslog
    modes: dict[str, int]
    holding: list[str]


@pytest.fixture(scope="module", params=["direct", "module"])
def caught(request: pytest.FixtureRequest, shared_stage: Stage, server: Server) -> Caught:
    way = request.param
    spool, gate = shared_stage.folder / f"async-{way}", shared_stage.folder / f"gate-{way}"
    shared_stage.spools.append(spool)
    shared_stage.add_module("quiet", QUIET)
    shared_stage.add_ssh(server, secret=SECRET, open=OPEN, gate=str(gate), ansible_async_dir=str(spool), longhaul_transport=way)
    with Net() as net, Syslog() as syslog:
        run = shared_stage.begin(TASKS, "-vvvv")
        run.wait_for(lambda: run.of("Wait"), 60)
        paths = [spool, *spool.rglob("*")]
        modes = {str(path): stat.S_IMODE(path.lstat().st_mode) for path in paths}
        holding = [path.name for path in paths if path.is_file() and SECRET in path.read_text(errors="replace")]
        gate.touch()
        run.finish()
    modes |= {str(path): stat.S_IMODE(path.lstat().st_mode) for path in [spool, *spool.rglob("*")]}
    return Caught(run, net, syslog, modes, holding)


def test_no_file_of_a_no_log_job_can_be_read_by_others(caught: Caught) -> None:
    """S19: while it runs and afterwards."""
    assert len(caught.modes) > 8
    assert {path: oct(mode) for path, mode in caught.modes.items() if mode & 0o077} == {}


def test_no_file_holds_the_arguments_while_it_runs(caught: Caught) -> None:
    """S19"""
    assert caught.holding == []


def test_no_process_has_the_secret_in_its_arguments(caught: Caught) -> None:
    """S19: neither the controller's, ssh's, the far program's, the supervisor's nor the payload's."""
    assert caught.net.caught[OPEN], "the net catches nothing"
    assert caught.net.caught[SECRET] == set()


def test_nothing_secret_goes_to_syslog(caught: Caught) -> None:
    """S19"""
    if caught.syslog.why_not:
        pytest.skip(f"a syslog of our own: {caught.syslog.why_not}")
    assert OPEN in caught.syslog.told, "the syslog hears nothing"
    assert SECRET not in caught.syslog.told


def test_nothing_secret_is_printed_at_the_highest_verbosity(caught: Caught) -> None:
    """S19: start, looks while it runs, the wait, the list, the failure."""
    assert OPEN in caught.run.output
    assert SECRET not in caught.run.output


@pytest.mark.parametrize("task", ["Ask while it runs", "Wait", "Ask in a list", "Ask for what has failed"])
def test_later_answers_are_censored_too(caught: Caught, task: str) -> None:
    """S19: though their tasks have no `no_log`; callbacks get a censored result."""
    for event in caught.run.of(task):
        assert "censored" in event["result"], event
        assert SECRET not in str(event)


def test_flags_stay_and_the_play_has_it_all(caught: Caught) -> None:
    """S19"""
    seen: Json = caught.run.result("See what the play has")["msg"]
    assert seen["whole"] is True
    assert seen["flags"] == [True, True, True, False, "succeeded"]
    assert seen["failed"] == [True, True, True, 3, "failed"]
    assert caught.run.last("Wait")["result"]["changed"] is True
    assert caught.run.last("Ask for what has failed")["kind"] == "failed"


ECHOING = """
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule({"password": {"type": "str", "no_log": True}, "warn": {"type": "bool"}})
    password = module.params["password"]
    if module.params["warn"]:
        module.warn("a warning with %s in it" % password)
    module.exit_json(changed=True, echo=password, within=["this is %s indeed" % password, {"deep": password}], harmless="harmless-value")
"""
ECHO = """
- name: Start and wait
  longhaul.jobs.async_start:
    task: {longhaul.scenario.echoing: {password: "{{ secret }}", warn: "{{ warn }}"}}
    poll: 1
  register: started
"""
ASK = """
- name: Ask
  longhaul.jobs.async_status:
    jid: "{{ JID }}"
  register: asked

- name: Ask in a list
  longhaul.jobs.async_status:
    jobs: "{{ JID }}"
  register: listed

- name: Show
  ansible.builtin.debug:
    msg: "{{ [asked, listed] }}"
"""


def _clear_of(run: Run) -> None:
    """Nothing secret was printed or handed to callbacks, though the results were."""
    assert "harmless-value" in run.output
    shown = [line for line in run.output.splitlines() if SECRET in line]
    assert shown == []
    assert SECRET not in str(run.events)


@pytest.mark.parametrize("way", ["direct", "module"])
def test_a_module_that_echoes_its_no_log_parameter_is_not_overheard(stage: Stage, way: str) -> None:
    """S39: since core 2.22 such results come from the target in clear."""
    stage.add_module("echoing", ECHOING)
    # modules of core 2.19 to 2.21 send their warnings unmasked, detached or not
    warn = not __version__.startswith(("2.19.", "2.20.", "2.21."))
    stage.add_local(secret=SECRET, warn=warn, longhaul_transport=way)
    run = stage.play(ECHO + ASK.replace("JID", "started.ansible_job_id"), "-vvv")
    _clear_of(run)
    assert not warn or re.search(r"a warning with \S+ in it", run.output)


@pytest.mark.parametrize("reader", ["2.16", "2.18", "2.19", "2.21", "2.22"])
def test_a_job_of_core_2_22_tells_an_older_controller_no_secret(stage: Stage, reader: str) -> None:
    """S39: its job file holds the secret in clear, and the list of secrets that only 2.22 understands."""
    cores = other_cores()
    missing = [version for version in ("2.22", reader) if version not in cores]
    if missing:
        pytest.skip(f"LONGHAUL_CORES names no core {' and '.join(missing)}")
    stage.add_module("echoing", ECHOING)
    stage.add_local(secret=SECRET, warn=True)
    started = stage.play(ECHO, "-vvv", programs=cores["2.22"])
    jid = started.result("Start and wait")["ansible_job_id"]
    assert SECRET in (stage.spool / jid).read_text(), "the job file does not hold it, so this shows nothing"
    assert SECRET not in started.output
    del stage.hosts["local"]["secret"]  # the reader does not know it otherwise
    stage.hosts["local"]["jid"] = jid
    _clear_of(stage.play(ASK.replace("JID", "jid"), "-vvv", programs=cores[reader]))
