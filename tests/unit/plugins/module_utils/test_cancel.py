# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb cancel: many jobs in one grace, by filters, several cancellers, other signals, and jobs of core's own wrapper."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _cancel, _core_job, _facts, _process
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, Job, alive, wait_for

TRAP = "trap '' TERM; while :; do sleep 0.1; done"
IMPORTS = "import json, os, signal, subprocess, sys, time"


def request(engine: Engine, jobs: t.Sequence[Job | str] | None, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    """A cancel of these jobs, or of those that `filters` among the options let through."""
    filters = options.pop("filters", None)
    given = {"signal": "TERM", "grace": 1.0, "reason": "a test", "by": "pytest"} | options
    jids = [job if isinstance(job, str) else job["ansible_job_id"] for job in jobs or []]
    asked = engine.request("cancel", jids, options=given, check=check, filters=filters)
    return asked if jobs is not None else asked | {"jobs": None}


def cancel(engine: Engine, jobs: t.Sequence[Job | str] | None, **given: t.Any) -> list[Job]:
    reply = engine.call(request(engine, jobs, **given))
    assert "error" not in reply, reply
    return t.cast("list[Job]", reply["jobs"])


def states(jobs: t.Iterable[Job]) -> list[str]:
    return [job["job"]["state"] for job in jobs]


@pytest.mark.parametrize("supervisor", ["alive", "dead", "stopped"])
def test_many_that_trap_term_take_one_grace(engine: Engine, supervisor: str) -> None:
    jobs = [engine.start(TRAP) for _number in range(12)]
    for job in jobs:
        if supervisor != "alive":
            engine.kill(job, "supervisor", signal.SIGKILL if supervisor == "dead" else signal.SIGSTOP)
    began = time.monotonic()
    done = cancel(engine, jobs, grace=2.0)
    took = time.monotonic() - began
    assert states(done) == ["cancelled"] * 12
    assert [(job["changed"], job["failed"], job["job"]["reason"]) for job in done] == [(True, False, "a test")] * 12
    assert 2.0 < took < 12.0
    assert engine.processes() == []


def test_filters_touch_what_runs_alone(engine: Engine) -> None:
    running = engine.start("sleep 60", name="build-1", labels={"a": "1"})
    orphan = engine.start("sleep 60", name="build-2")
    engine.kill(orphan, "supervisor")
    other = engine.start("sleep 60", name="other")
    engine.start("true", name="build-3", hold=10)
    predicted = cancel(engine, None, filters={"names": ["build*"]}, check=True)
    assert [(job["job"]["name"], job["changed"]) for job in sorted(predicted, key=lambda job: str(job["job"]["name"]))] == [
        ("build-1", True),
        ("build-2", True),
    ]
    assert alive(running["job"]["payload_pid"])
    assert alive(orphan["job"]["payload_pid"])
    assert not (engine.path(running) / "cancel").read_bytes().rstrip(b"\0")
    done = cancel(engine, None, filters={"names": ["build*"]})
    assert sorted(job["job"]["name"] for job in done) == ["build-1", "build-2"]
    assert states(done) == ["cancelled"] * 2
    assert engine.status(other)["job"]["state"] == "running"
    assert cancel(engine, None, filters={"labels": {"a": "1"}}) == []


def test_what_is_left_of_lost_jobs_goes_where_they_are_asked_for(engine: Engine) -> None:
    job = engine.start("setsid sleep 60 & exec sleep 61")
    wait_for(lambda: len(engine.processes()) == 3)
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    assert engine.status(job)["job"]["state"] == "lost"
    assert cancel(engine, None, filters={"older_than": 0.0}) == []
    (predicted,) = cancel(engine, None, filters={"states": ["lost"]}, check=True)
    assert (predicted["changed"], len(engine.processes())) == (True, 1)
    (done,) = cancel(engine, None, filters={"states": ["lost"]})
    assert (done["changed"], done["failed"], done["job"]["state"]) == (True, False, "lost")
    assert engine.processes() == []


def test_names_and_ids_that_are_not_there(engine: Engine) -> None:
    job = engine.start("sleep 60", name="one")
    asked = request(engine, [job])
    asked["jobs"] = [{"name": "none"}, {"jid": "j1.1"}, {"name": "one"}, asked["jobs"][0]]
    done = engine.call(asked)["jobs"]
    assert states(done) == ["unknown", "unknown", "cancelled", "cancelled"]
    assert [one["failed"] for one in done] == [False, True, False, False]
    assert [one["changed"] for one in done] == [False, False, True, False]


def test_another_signal_by_name_or_number(engine: Engine) -> None:
    for wanted in ("USR1", int(signal.SIGUSR1)):
        job = engine.start("trap 'echo got it; exit 7' USR1; echo ready; while :; do sleep 0.05; done")
        wait_for((engine.path(job) / "stdout").read_bytes)
        cancel(engine, [job], signal=wanted, grace=10.0)
        assert engine.status(job)["stdout"] == "ready\ngot it"
    job = engine.start("sleep 60")
    for wanted in ("NOPE", 0, 1000, -9):
        assert "knows no signal" in engine.call(request(engine, [job], signal=wanted))["error"]
    assert engine.status(job)["job"]["state"] == "running"


def test_a_job_that_ends_while_it_is_cancelled(engine: Engine) -> None:
    """Whichever is first is told by all: the call that has changed something is the one that the job was cancelled by."""
    seen = set()
    for wait in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25):
        job = engine.start("exec sleep 0.3")
        time.sleep(wait)
        (done,) = cancel(engine, [job], grace=1.0)
        again = engine.status(job)
        assert done["job"]["state"] == again["job"]["state"]
        assert done["changed"] is (done["job"]["state"] == "cancelled")
        seen.add(done["job"]["state"])
    assert seen <= {"cancelled", "succeeded"}


def test_one_job_under_another_lock(engine: Engine, tmp_path: Path) -> None:
    """As a start does that replaces: behind it the lock is free and the end is committed."""
    job = engine.start("trap 'sleep 0.2; exit 0' TERM; while :; do sleep 0.05; done")
    options = {"signal": signal.SIGTERM, "grace": 5.0, "reason": "replaced", "by": "pytest"}
    done = _cancel.one(str(engine.spool), job["ansible_job_id"], _facts.Here(), options)
    assert (done["job"]["state"], done["job"]["survivors"], done["failed"], done["changed"]) == ("cancelled", [], False, True)
    assert not alive(job["job"]["supervisor_pid"])
    assert _cancel.one(str(engine.spool), job["ansible_job_id"], _facts.Here(), options)["changed"] is False


class Core:
    """Core's own wrapper, as its controller calls it, with a module of the test's."""

    def __init__(self, engine: Engine, code: str) -> None:
        # ansible-test gives the engine's tests no more of core than what modules may import.
        core = pytest.importorskip("ansible.modules.async_wrapper", reason="core's modules are not here")
        core_version = pytest.importorskip("ansible.release").__version__
        self.engine = engine
        engine.spool.mkdir(mode=0o700)
        module = engine.spool.parent / "module"
        module.write_text(f"#!{sys.executable}\n{IMPORTS}\n{code}\nprint(json.dumps(dict(changed=True)))\n")
        module.chmod(0o700)
        wrapper = engine.spool.parent / "async_wrapper.py"  # not beside modules that have the names of the standard library's
        wrapper.write_text(Path(str(core.__file__)).read_text())
        words = [str(sys.executable), str(wrapper), f"j{random.randrange(10**12):012d}", "600"]  # others on this machine may have one too
        new = [int(part) for part in core_version.split(".")[:2]] >= [2, 21]
        words += ["true", str(module), str(module)] if new else [str(module), "_", "-preserve_tmp"]
        environment = dict(os.environ, ANSIBLE_ASYNC_DIR=str(engine.spool))
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=30)
        self.jid = str(json.loads(done.stdout)["ansible_job_id"])

    def file(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self.engine.spool / self.jid).read_text()))

    def pid(self, name: str) -> int:
        """The pid that the module has written into a file of that name."""
        path = self.engine.spool.parent / name
        return int(wait_for(lambda: path.exists() and path.read_text()))


CHILDREN = """
here = os.path.dirname(os.path.abspath(__file__))
def child(name, **more):
    process = subprocess.Popen(["sleep", "60"], **more)
    open(os.path.join(here, name), "w").write(str(process.pid))
child("plain")
child("session", start_new_session=True)
if os.fork() == 0:
    if os.fork() == 0:
        os.execv("/bin/sh", ["sh", "-c", "echo $$ > %s/left; exec sleep 60" % here])
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(os.path.join(here, "own"), "w").write(str(os.getpid()))
time.sleep(60)
"""


def test_a_job_of_cores_own_is_ended_with_all_its_processes(engine: Engine) -> None:
    """S30."""
    core = Core(engine, CHILDREN)
    pids = [core.pid(name) for name in ("plain", "session", "left", "own")]
    assert engine.status(core.jid)["job"]["state"] == "running"
    before = core.file()
    (predicted,) = cancel(engine, [core.jid], check=True)
    assert (predicted["changed"], core.file(), all(map(alive, pids))) == (True, before, True)
    (done,) = cancel(engine, [core.jid], grace=0.5)
    assert (done["job"]["state"], done["changed"], done["failed"], done["job"]["reason"]) == ("cancelled", True, False, "a test")
    assert (done["job"]["survivors"], done["job"]["verified"]) == ([], False)
    assert not any(map(alive, pids))
    told = core.file()
    assert (told["started"], told["finished"], told["failed"], told["ansible_job_id"]) == (True, True, True, core.jid)
    again = engine.status(core.jid)
    assert (again["job"]["state"], again["job"]["core"], again["msg"]) == ("cancelled", True, f"the job {core.jid} was cancelled: a test")
    assert cancel(engine, [core.jid])[0]["changed"] is False
    assert engine.status(core.jid, mode="cleanup")["erased"]
    assert not list(engine.spool.glob(".new-*"))


def test_a_job_of_cores_own_that_ends_meanwhile_keeps_its_end(engine: Engine) -> None:
    core = Core(engine, "time.sleep(0.4)")
    for _cancel_number in range(20):
        (done,) = cancel(engine, [core.jid], grace=1.0)
        if done["changed"]:
            assert core.file()["job"]["state"] == "cancelled"
            return
        assert done["job"]["state"] == "succeeded"
    assert core.file() == {"changed": True}


def test_two_cancellers_of_a_job_of_cores_own(engine: Engine) -> None:
    core = Core(engine, "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    asked = request(engine, [core.jid], grace=0.5)
    done = [engine.finish(process)["jobs"][0] for process in [engine.launch(asked) for _canceller in range(2)]]
    assert states(done) == ["cancelled"] * 2
    assert sorted(job["changed"] for job in done) == [False, True]
    assert core.file()["finished"] is True


def test_a_canceller_of_a_job_of_cores_own_that_is_killed(engine: Engine) -> None:
    """The job is seen to run until there is its end, and the next cancel goes on."""
    core = Core(engine, "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    process = engine.launch(request(engine, [core.jid], grace=60.0))
    wrappers = wait_for(lambda: [pid for pid in _core_job.wrappers(core.jid) or {} if (_process.stat_of(pid) or "")[0] == "T"])
    process.kill()
    process.communicate()
    assert engine.status(core.jid)["job"]["state"] == "running"
    (done,) = cancel(engine, [core.jid], grace=0.2)
    assert (done["job"]["state"], done["changed"], any(map(alive, wrappers))) == ("cancelled", True, False)


def test_a_wrapper_of_cores_that_cannot_be_seen_is_not_cancelled(engine: Engine) -> None:
    """In another pid namespace, as in a container that shares the directory, nothing says that it is gone."""
    core = Core(engine, "time.sleep(60)")
    if os.geteuid() != 0:
        pytest.skip("needs root: a pid namespace")
    before = core.file()
    engine.prefix = ("unshare", "--pid", "--fork", "--mount-proc")
    for check in (True, False):
        (done,) = cancel(engine, [core.jid], check=check)
        assert (done["job"]["state"], done["changed"], done["failed"]) == ("running", False, True)
        assert "none of its processes can be seen here" in done["msg"]
    assert core.file() == before
    engine.prefix = ()
    assert cancel(engine, [core.jid], grace=0.2)[0]["changed"] is True
