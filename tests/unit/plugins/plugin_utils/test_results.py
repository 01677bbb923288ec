# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job results: what of the engine's entries comes through, from honest and from hostile targets."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _results
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import JID, Far, core, entry

__all__ = ["core"]
pytestmark = pytest.mark.usefixtures("core")
REFERENCE = Reference(JID)


def _shown(told: dict[str, t.Any], reference: Reference = REFERENCE) -> dict[str, t.Any]:
    remote: t.Any = Far()
    return _results.answered(remote, reference, told).shown


def test_an_honest_answer() -> None:
    shown = _shown(entry(state="succeeded", changed=True, rc=0, state_="x", job={"name": "n", "labels": {"a": "1"}, "elapsed": 1.5}))
    assert (shown["started"], shown["finished"], shown["failed"], shown["changed"], shown["rc"]) == (True, True, False, True, 0)
    job = shown["job"]
    assert (job["host"], job["jid"], job["name"], job["labels"], job["elapsed"]) == ("web1", JID, "n", {"a": "1"}, 1.5)
    assert job["reachable"] is True
    assert "no_log" not in job
    assert "core" not in job


@pytest.mark.parametrize("state", _results.FAILED_STATES)
def test_states_that_are_failures(state: str) -> None:
    assert _shown(entry(state=state))["failed"] is True


def test_a_module_keeps_its_own_keys() -> None:
    shown = _shown(entry(state="succeeded", elapsed=5, start="x", state_of="y", job={"result": {"job": "its own", "started": "yes"}}))
    assert (shown["elapsed"], shown["start"], shown["state_of"]) == (5, "x", "y")
    assert shown["job"]["result"] == {"job": "its own", "started": "yes"}


HOSTILE: dict[str, t.Any] = {
    "jid": "../../x",
    "host": "other",
    "schema": 99,
    "reachable": False,
    "state": "{{ 6 * 7 }}",
    "cause": ["exited"],
    "rc": "0",
    "elapsed": float("nan"),
    "time_limit": float("inf"),
    "remaining": True,
    "supervisor_pid": 10**30,
    "started_at": "yesterday",
    "ended_at": "2026-01-01T00:00:00.000Z\n",
    "signal": "kill; rm",
    "name": "a b",
    "labels": {"a b": "x", "c": 5, "d": "e\ud800"},
    "user": "x" * 100000,
    "module": {"a": 1},
    "overdue": "yes",
    "survivors": [5, {"pid": "1", "user": 5, "command": "x"}] * 3,
    "progress": {"percent": "5", "message": 5, "more": 1},
    "result": ["x"],
    "_ansible_no_log": True,
    "anything": "else",
}


def test_a_hostile_job_is_rebuilt_field_by_field() -> None:
    job = _shown(entry(job=HOSTILE))["job"]
    assert (job["jid"], job["host"], job["schema"], job["reachable"]) == (JID, "web1", 1, True)
    nothing = "state cause rc elapsed time_limit remaining supervisor_pid started_at ended_at signal name module overdue".split()
    assert {key: job[key] for key in nothing} == dict.fromkeys(nothing)
    assert job["labels"] == {"d": "e?"}
    assert len(job["user"]) == 4096
    assert job["survivors"] == [{"pid": None, "user": None, "command": "x"}] * 3
    assert job["progress"] == {"percent": None, "message": None, "eta_seconds": None}
    assert not {"result", "_ansible_no_log", "anything"} & set(job)


@pytest.mark.parametrize("job", [None, [], "x", 5])
def test_a_job_that_is_none(job: t.Any) -> None:
    shown = _shown({**entry(), "job": job})
    assert shown["job"]["jid"] == JID


def test_flags_are_real_booleans_whatever_is_told() -> None:
    shown = _shown(
        {**entry(), "started": "yes", "finished": 1, "failed": "{{ x }}", "changed": [], "ansible_job_id": "j9.9", "results_file": 5}
    )
    assert (shown["started"], shown["finished"], shown["failed"], shown["changed"]) == (False, False, True, False)
    assert (shown["ansible_job_id"], shown["results_file"]) == (JID, None)


def test_an_entry_without_anything() -> None:
    assert _shown({})["finished"] is False


def test_no_log_sticks() -> None:
    remote: t.Any = Far()
    secret = _results.answered(remote, REFERENCE, entry(job={"no_log": True}))
    plain = _results.answered(remote, REFERENCE, entry())
    assert _results.flat(secret)["_ansible_no_log"] is True
    assert "_ansible_no_log" not in _results.flat(plain)
    assert _results.listed([plain, secret])["_ansible_no_log"] is True


def test_a_censored_failure_keeps_its_message_to_itself() -> None:
    """Since core 2.19 a failed task's message is shown whatever `_ansible_no_log` says."""
    shown = _shown(entry(state="failed", failed=True, msg="boom SECRET", job={"no_log": True}))
    assert shown["failed"] is True
    assert "SECRET" not in str(shown["msg"])
    assert JID in shown["msg"]


def test_what_a_reference_knows_of_an_unknown_job_stays() -> None:
    reference = Reference(JID, "n", "other", "/srv/x")
    shown = _shown(entry(state="unknown", job={"name": None, "async_dir": "/root/.ansible_async", "user": "root"}), reference)
    assert (shown["job"]["name"], shown["job"]["async_dir"], shown["job"]["state"]) == ("n", "/srv/x", "unknown")


def test_facts_go_on_from_one_job_and_never_from_a_list() -> None:
    remote: t.Any = Far()
    result = _results.answered(remote, REFERENCE, entry(state="succeeded", ansible_facts={"a": 1}))
    assert _results.flat(result)["ansible_facts"] == {"a": 1}
    assert "ansible_facts" not in _results.listed([result])
    assert "ansible_facts" not in _results.listed([result])["jobs"][0]


def test_the_interpreter_goes_with_the_facts() -> None:
    remote: t.Any = Far()
    remote.facts, remote.warnings = {"discovered_interpreter_python": "/p"}, ["w"]
    assert _results.finish(remote, {"ansible_facts": {"a": 1}, "warnings": ["v"]}) == {
        "ansible_facts": {"a": 1, "discovered_interpreter_python": "/p"},
        "warnings": ["v", "w"],
    }


def test_a_list_tells_what_failed() -> None:
    remote: t.Any = Far()
    told = [entry(state="succeeded", changed=True), entry(state="lost", job={"name": "n"}), entry(state="unknown", msg="could not find it")]
    top = _results.listed([_results.answered(remote, REFERENCE, one) for one in told])
    assert (top["finished"], top["failed"], top["changed"]) == (True, True, True)
    assert top["msg"] == f"2 of 3 jobs failed: {JID} (n, lost); {JID} (could not find it)"
    assert _results.listed([])["finished"] is True


def test_a_reference_of_another_host() -> None:
    shown = _shown(entry(state="unknown"), Reference(JID, host="db1"))
    assert shown["msg"] == f"job {JID} is one of db1, not of web1: ask with delegate_to: db1"
    assert shown["job"]["host"] == "db1"
    assert "msg" not in _shown(entry(), Reference(JID, host="db1"))


def test_without_an_answer() -> None:
    missed = _results.missed("web1", Reference(JID, "n", "web1", "/a")).shown
    assert (missed["started"], missed["finished"], missed["failed"]) == (True, False, False)
    assert missed["job"] == {
        "schema": 1,
        "jid": JID,
        "name": "n",
        "host": "web1",
        "async_dir": "/a",
        "state": None,
        "cause": None,
        "reachable": False,
    }
    check = _results.of_check_mode("web1", REFERENCE).shown
    assert (check["started"], check["finished"], check["failed"]) == (False, True, False)
    assert "check mode" in check["msg"]
    never = _results.never_started("web1", Reference(never_started="no room")).shown
    assert (never["started"], never["finished"], never["failed"]) == (False, True, True)
    assert never["msg"] == "the job was never started: no room"


def test_streams_as_core_has_them() -> None:
    assert _results.with_streams({"stdout": "x"}) == {"stdout": "x", "stderr": "", "stdout_lines": [], "stderr_lines": []}
    _results.with_streams({})["stdout_lines"].append("x")
    assert _results.with_streams({})["stdout_lines"] == []


@pytest.mark.parametrize("how", [_results.answered, _results.told])
def test_whose_a_job_is_that_is_not_here(how: t.Any) -> None:
    """S28, S43: told by the reference, or, of an id alone, by what the play has registered."""
    gone = entry(state="unknown", failed=True, msg="could not find it", job={"user": "root"})
    far: t.Any = Far()
    others = how(far, Reference(JID, user="deploy", host="web1"), gone).shown
    assert others["msg"].startswith(f"job {JID} is one of the user deploy and was looked for as root: ask with become_user: deploy, or")
    assert (others["job"]["user"], others["job"]["host"], others["failed"]) == ("deploy", "web1", True)
    assert how(far, Reference(JID, user="root", host="web1"), gone).shown["msg"] == "could not find it"
    assert how(far, REFERENCE, gone).shown["msg"] == "could not find it"
    far.task_vars["started"] = {"ansible_job_id": JID, "job": {"user": "deploy", "host": "db1"}}
    assert how(far, REFERENCE, gone).shown["msg"] == f"job {JID} is one of db1, not of web1: ask with delegate_to: db1"
    far.task_vars["started"]["job"]["host"] = "web1"
    assert "ask with become_user: deploy" in how(far, REFERENCE, gone).shown["msg"]
