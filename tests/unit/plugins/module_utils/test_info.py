# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of jobs: who is in them, what they tell, what filters let through, and that they touch nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _facts, _filters, _listing
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, alive, wait_for
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.spool import (
    HOUR,
    give_away,
    grow_old,
    ids,
    info,
    listing,
    prune_request,
)

CORES_WRAPPER = "import time\ntime.sleep(60)\n"


def test_all_jobs_are_told_of_by_their_starts(engine: Engine) -> None:
    assert info(engine) == []
    ended = engine.start("echo out; exit 3", hold=10.0, name="one", labels={"ticket": "7"})
    running = engine.start("exec sleep 60", name="two")
    found = info(engine)
    assert ids(found) == ids([ended, running])
    assert [(one["started"], one["finished"], one["job"]["state"]) for one in found] == [(True, True, "failed"), (True, False, "running")]
    assert [(one["job"]["name"], one["job"]["labels"]) for one in found] == [("one", {"ticket": "7"}), ("two", {})]
    for one in found:
        files = [engine.spool / one["ansible_job_id"], *engine.path(one).iterdir()]
        assert one["bytes"] == sum(path.stat().st_size for path in files)
        assert set(one) == {"ansible_job_id", "started", "finished", "results_file", "job", "bytes"}
    assert found[0]["job"] == engine.status(ended)["job"]


def test_jobs_that_are_asked_for_are_told_of_in_that_order(engine: Engine) -> None:
    """S11: one that is not there is unknown, and has no bytes."""
    first, second = engine.start("true", hold=10.0, name="one"), engine.start("true", hold=10.0)
    asked = [{"jid": second["ansible_job_id"]}, {"jid": "j1.1"}, {"name": "one"}, {"name": "nobody"}]
    found = info(engine, asked)
    assert ids(found) == [second["ansible_job_id"], "j1.1", first["ansible_job_id"], None]
    assert [one["job"]["state"] for one in found] == ["succeeded", "unknown", "succeeded", "unknown"]
    assert found[1]["msg"] == f"could not find job j1.1 in {engine.spool}"
    assert ["bytes" in one for one in found] == [True, False, True, False]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "abcd"),
        ({"states": ["running"]}, "d"),
        ({"states": ["failed", "running"]}, "bd"),
        ({"names": ["nightly-*"]}, "ab"),
        ({"names": ["nightly-[b]", "nothing"]}, "b"),
        ({"names": ["Nightly-*"]}, ""),
        ({"labels": {"kind": "dump"}}, "ab"),
        ({"labels": {"kind": "dump", "db": "orders"}}, "a"),
        ({"labels": {"kind": "dump", "db": "7"}}, ""),
        ({"modules": ["shell"]}, "abd"),
        ({"modules": ["ansible.builtin.*"]}, "abd"),
        ({"modules": ["sh*", "test.module"]}, "abcd"),
        ({"modules": ["builtin"]}, ""),
        ({"modules": ["*.shell"]}, "abd"),
        ({"older_than": HOUR}, "b"),
        ({"newer_than": HOUR}, "acd"),
        ({"newer_than": 3 * HOUR, "older_than": HOUR}, "b"),
        ({"names": ["nightly-*"], "states": ["succeeded"], "labels": {"kind": "dump"}, "modules": ["shell"], "newer_than": HOUR}, "a"),
    ],
)
def test_filters(several: tuple[Engine, dict[str, str]], filters: dict[str, t.Any], found: str) -> None:
    engine, jids = several
    assert "".join(sorted(jids[jid] for jid in ids(info(engine, **filters)))) == found


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[tuple[Engine, dict[str, str]]]:
    engine = Engine(tmp_path_factory.mktemp("several") / "spool")
    try:
        jobs = {
            "a": engine.start("true", hold=10.0, name="nightly-a", labels={"kind": "dump", "db": "orders"}),
            "b": grow_old(engine, engine.start("false", hold=10.0, name="nightly-b", labels={"kind": "dump"}), 2 * HOUR),
            "c": engine.start_module("", {"changed": False}, hold=10.0),
            "d": engine.start("exec sleep 600", name="other"),
        }
        yield engine, {job["ansible_job_id"]: letter for letter, job in jobs.items()}
    finally:
        engine.clean_up()


def test_the_age_of_a_running_job_is_counted_from_its_start(engine: Engine) -> None:
    job = grow_old(engine, engine.start("exec sleep 60"), 2 * HOUR)
    assert ids(info(engine, older_than=HOUR)) == ids([job])
    assert info(engine, newer_than=HOUR) == []


def test_what_was_removed_is_in_no_list(engine: Engine) -> None:
    job = engine.start("true", hold=10.0, name="one")
    cut_short = engine.start("true", hold=10.0)
    engine.status(job, mode="cleanup")
    (engine.path(cut_short) / "job.json").rename(engine.path(cut_short) / "removed")
    assert (engine.path(job) / "removed").exists()
    assert info(engine) == info(engine, names=["one"]) == []


def test_cores_own_jobs_are_listed(engine: Engine) -> None:
    """S30: running, ended, killed."""
    engine.spool.mkdir(mode=0o700)
    wrapper = engine.spool.parent / "async_wrapper.py"
    wrapper.write_text(CORES_WRAPPER)
    half = engine.new_jid().split(".")[0]  # which no other on this machine has
    process = subprocess.Popen([sys.executable, wrapper, half, "60", "false", "module"])
    (engine.spool / f"{half}.9").write_text(json.dumps({"started": 1, "finished": 0, "ansible_job_id": f"{half}.9"}))
    (engine.spool / "j7.8").write_text(json.dumps({"changed": True, "stdout": "secret", "rc": 0, "ansible_job_id": "j7.8", "finished": 1}))
    try:
        wait_for(lambda: [one["job"]["verified"] for one in info(engine)] == [True, True])
        states = {one["ansible_job_id"]: one["job"]["state"] for one in info(engine)}
        assert states == {f"{half}.9": "running", "j7.8": "succeeded"}
        assert ids(info(engine, states=["running"])) == [f"{half}.9"]
        assert info(engine, names=["*"]) == info(engine, modules=["*"]) == []
    finally:
        process.kill()
        process.wait()
    killed = info(engine, [{"jid": f"{half}.9"}])[0]["job"]
    assert (killed["state"], killed["verified"]) in (("lost", True), ("running", False))
    assert "secret" not in json.dumps(info(engine))


def test_a_job_of_another_host_is_foreign(engine: Engine) -> None:
    """S31: one that runs; that another has ended is told as it is."""
    running, ended = engine.start("exec sleep 60", name="one"), engine.start("true", hold=10.0)
    give_away(engine, running), give_away(engine, ended)
    found = {one["ansible_job_id"]: one for one in info(engine)}
    assert found[running["ansible_job_id"]]["job"]["state"] == "foreign"
    assert "is of another host, elsewhere" in found[running["ansible_job_id"]]["msg"]
    assert found[ended["ansible_job_id"]]["job"]["state"] == "succeeded"
    assert ids(info(engine, states=["foreign"])) == ids([running])


def test_nothing_is_killed_and_nothing_written(engine: Engine) -> None:
    """S38: an orphan past its limit, and ends that nobody has recorded; for info, and under --check for who would write."""
    orphan = engine.start("exec sleep 60", time_limit=0.3, name="late")
    os.kill(orphan["job"]["supervisor_pid"], 9)
    lost = engine.start("exec sleep 60")
    for who in ("supervisor", "payload"):
        engine.kill(lost, who)
    recovered = engine.start_module("", {"changed": False}, hold=10.0)
    ended = engine.spool / recovered["ansible_job_id"]
    ended.rename(engine.path(recovered) / "end.new")
    ended.write_text(json.dumps({**recovered, "finished": False}))
    grow_old(engine, engine.start("true", hold=10.0), 2 * HOUR)
    engine.status(engine.start("true", hold=10.0), mode="cleanup")
    states = {orphan["ansible_job_id"]: ("orphaned", True), lost["ansible_job_id"]: ("lost", False)}
    wait_for(lambda: info(engine, [{"name": "late"}])[0]["job"]["overdue"])
    before = listing(engine.spool)
    for check in (False, True):
        found = {one["ansible_job_id"]: (one["job"]["state"], one["job"]["overdue"]) for one in info(engine, check=check)}
        assert found.items() >= states.items()
        assert found[recovered["ansible_job_id"]] == ("succeeded", False)
        assert ids(info(engine, check=check, states=["orphaned"], names=["l*"], older_than=0.3)) == ids([orphan])
    jids = [orphan["ansible_job_id"], lost["ansible_job_id"], recovered["ansible_job_id"]]
    cancel = {"signal": 15, "grace": 1.0, "reason": None, "by": "pytest"}
    part: dict[str, t.Any] = {"stream": "stdout", "offset": 0, "lines": None, "grep": None, "limit": 1 << 20}
    part.update(characters=True, first=True, end=None)
    for request in (
        engine.request("wait", jids, check=True, hold=0.3, options={"return_when": "all_finished", "follow": None}),
        engine.request("log", jids, options=part),
        engine.request("status", jids, check=True, options={"mode": "status"}),
        engine.request("status", jids, check=True, options={"mode": "cleanup"}),
        engine.request("cancel", jids, check=True, options=cancel),
        prune_request(engine, check=True, keep_last=0),
    ):
        reply = engine.call(request)
        assert "error" not in reply, reply
    assert listing(engine.spool) == before
    assert alive(orphan["job"]["payload_pid"])


def test_no_secret_is_listed(engine: Engine) -> None:
    """S19, S39: neither what a module returned nor what it was called with, nor what core keeps for masking."""
    secret = "hunter2"
    code = f"import os; os.getenv({secret!r})"
    results: list[dict[str, t.Any]] = [
        {"changed": True, "password": secret, "job": {"password": secret}, "_ansible_new_secrets": [secret]},
        {"failed": True, "msg": f"no access with {secret}", "invocation": {"module_args": {"password": secret}}},
    ]
    for result in results:
        engine.start_module(code, result, hold=10.0, no_log=True)
        engine.start_module(code, result, hold=10.0)
    engine.start(f"echo {secret}; exit 1", hold=10.0, no_log=True)
    reply = info(engine)
    assert len(reply) == 5
    assert secret not in json.dumps(reply)
    assert [one["job"]["no_log"] for one in reply] == [True, False, True, False, True]


@pytest.mark.parametrize(
    "result",
    [
        {"changed": False},
        {"stdout": "x" * (1 << 20)},
        {"text": '"ansible_job_id": "JID", "started": true, "finished": true, "job": {"jid": "JID"}}', "failed": True},
        {"finished": True, "job": {"jid": "JID"}, "ansible_job_id": "JID", "started": 5},
        {"deep": {"ansible_job_id": "JID", "started": True, "finished": True, "results_file": "/x", "job": {"jid": "JID"}}},
        {"job": {"ansible_job_id": "JID", "started": True, "finished": True, "results_file": "/x", "job": {"jid": "JID"}}},
    ],
)
def test_a_list_tells_the_same_of_an_end_as_its_job_file(engine: Engine, result: dict[str, t.Any]) -> None:
    """Only the end of that file is read; what a module puts before it, or into `job.result`, is not taken for it."""
    jid = engine.new_jid()
    code = json.dumps(result).replace("JID", jid)
    job = engine.start_module(f"result = json.loads({code!r})", {}, jid=jid, hold=10.0)
    whole = json.loads((engine.spool / jid).read_text())
    printed = json.loads(code)
    for key in printed.keys() - {"job", "ansible_job_id", "started", "finished"}:
        whole[key] = printed[key]
    clash = {key: printed[key] for key in ("ansible_job_id", "started", "finished", "job") if key in printed}
    whole["job"].update({"result": clash} if clash else {})
    for key in ("ansible_job_id", "started", "finished", "results_file", "job"):
        whole[key] = whole.pop(key)  # in the order of _record.document
    (engine.spool / jid).write_text(json.dumps(whole))
    told = info(engine)[0]
    expected = {key: whole[key] for key in ("ansible_job_id", "started", "finished", "results_file")}
    assert told == {**expected, "job": job["job"], "bytes": told["bytes"]}


def test_an_end_that_is_longer_than_what_is_read_of_it_first(engine: Engine) -> None:
    labels = {f"label-{number}": "v" * 100 for number in range(400)}
    job = engine.start("true", hold=10.0, labels=labels)
    assert info(engine)[0]["job"] == job["job"]


def test_an_age_is_the_smaller_one_and_never_below_zero(engine: Engine) -> None:
    """S26: by the clock of the boot, a wall clock that was a day ahead makes no job old, and none younger than nothing."""
    job = engine.start("true", hold=10.0)
    spool, jid, here = str(engine.spool), job["ansible_job_id"], _facts.Here()

    def age() -> float:
        return float(_filters.age(spool, jid, here, _listing.told(spool, jid, here), _filters.clocks()))

    assert 0.0 <= age() < HOUR
    now = time.time()
    os.utime(engine.spool / jid, (now - 86400.0, now - 86400.0))  # as if the clock were a day ahead now
    assert 0.0 <= age() < HOUR
    os.utime(engine.spool / jid, (now + 86400.0, now + 86400.0))  # as if it had been then
    assert age() == 0.0
    grow_old(engine, job, 2 * HOUR)
    assert 2 * HOUR <= age() < 3 * HOUR


def test_places_know_the_jobs_of_a_request(engine: Engine) -> None:
    """What the other verbs choose jobs by."""
    running, ended = engine.start("exec sleep 60", name="one"), engine.start("true", hold=10.0)
    request: dict[str, t.Any] = {"async_dirs": [str(engine.spool)], "jobs": [{"jid": "j1.1"}, {"name": "one"}, {"name": "two"}]}
    spool = str(engine.spool)

    def chosen(**changed: t.Any) -> list[t.Any]:
        return list(_listing.Places(request | changed, _facts.Here()).chosen(request | changed))

    expected = [(None, "j1.1", {"jid": "j1.1"}), (spool, running["ansible_job_id"], {"name": "one"}), (None, None, {"name": "two"})]
    assert chosen() == expected
    assert chosen(jobs=None, filters={"states": ["succeeded"]}) == [(spool, ended["ansible_job_id"], None)]
    assert sorted(one[1] for one in chosen(jobs=None, filters=None)) == sorted(ids([running, ended]))
    assert chosen(jobs=[]) == []


def test_an_end_that_nobody_has_written_is_told_and_not_written(engine: Engine) -> None:
    job = engine.start("exec sleep 60")
    for who in ("supervisor", "payload"):
        engine.kill(job, who)
    found = info(engine)[0]
    assert (found["finished"], found["job"]["state"], found["job"]["cause"]) == (True, "lost", "exit_unknown")
    assert not json.loads((engine.spool / job["ansible_job_id"]).read_text())["finished"]
