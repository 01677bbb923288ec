# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions of async_cancel and async_log, with engine and connection replaced."""

from __future__ import annotations

import base64
import typing as t

import pytest
from ansible_collections.longhaul.jobs.plugins.action import async_cancel, async_log
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.tests.unit.plugins.action.test_actions import Play, play
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import JID, core, entry, told

__all__ = ["core", "play", "told"]
pytestmark = pytest.mark.usefixtures("core", "told")
CANCELLED = entry(state="cancelled", changed=True, failed=False, msg="the job was cancelled")
AWAY = {"jid": JID, "state": "unknown", "reachable": False, "host": "web1"}
UNANSWERED: dict[str, t.Any] = {"ansible_job_id": JID, "unreachable": True, "job": AWAY}


def test_a_cancel(play: Play) -> None:
    args = {"jobs": JID, "signal": "sigint", "grace": "1m", "reason": "enough"}
    result = play.run(async_cancel, args, CANCELLED)
    assert (result["changed"], result["failed"], result["finished"], "msg" in result) == (True, False, True, False)
    assert (result["jobs"][0]["job"]["state"], result["jobs"][0]["changed"], result["jobs"][0]["failed"]) == ("cancelled", True, True)
    asked = play.engine.asked[0]
    by = asked["options"].pop("by")
    assert by.startswith("uid ")
    assert asked["options"] == {"signal": "INT", "grace": 60.0, "reason": "enough"}
    assert (asked["verb"], asked["jobs"], asked["extra"]) == ("cancel", [{"jid": JID}], 75.0)


def test_what_fails_a_cancel(play: Play) -> None:
    gone = entry("j1.1", "unknown", failed=True, changed=False, msg="could not find job j1.1 in /a")
    nobody = entry(JID, "unknown", failed=False, changed=False, msg="could not find a job named n in /a", job={"jid": None})
    left = entry("j2.2", "cancelled", failed=True, changed=True, msg="could not be ended")
    result = play.run(async_cancel, {"jobs": ["j1.1", "n", "j2.2"]}, [gone, nobody, left])
    assert (result["failed"], result["changed"]) == (True, True)
    assert result["msg"] == "2 of 3 jobs could not be cancelled: could not find job j1.1 in /a; could not be ended"
    result = play.run(async_cancel, {"jobs": "n"}, [nobody])
    assert (result["failed"], result["changed"]) == (False, False)
    assert result["msg"] == "nothing to cancel: could not find a job named n in /a"


def test_filters(play: Play) -> None:
    result = play.run(async_cancel, {"filters": {"names": "build*"}}, [])
    assert (result["jobs"], result["finished"], result["changed"], result["failed"]) == ([], True, False, False)
    assert (play.engine.asked[0]["jobs"], play.engine.asked[0]["filters"]) == (None, {"names": ["build*"]})


def test_a_start_without_an_answer_is_called_off_where_it_was_sent_to(play: Play) -> None:
    play.run(async_cancel, {"jobs": {**UNANSWERED, "job": {**UNANSWERED["job"], "async_dir": "/x"}}}, CANCELLED)
    assert play.engine.asked[0]["jobs"] == [{"jid": JID, "unanswered": True, "async_dir": "/x"}]
    elsewhere = {**UNANSWERED, "job": {**UNANSWERED["job"], "host": "db1"}}
    result = play.run(async_cancel, {"jobs": elsewhere}, entry(state="unknown", failed=True, msg="no"))
    assert play.engine.asked[0]["jobs"] == [{"jid": JID}]
    assert f"job {JID} is one of db1, not of web1: ask with delegate_to: db1" in result["msg"]


def test_nobody(play: Play) -> None:
    never = {"failed": True, "msg": "cmd: is wrong"}
    for jobs in ({"results": [{"skipped": True}]}, never, {"results": [never]}):
        result = play.run(async_cancel, {"jobs": jobs})
        assert (result["failed"], result["changed"], play.engine.asked) == (False, False, [])


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({}, "one of the following is required: jobs, filters"),
        ({"jobs": []}, "jobs: got []; it takes at least one job"),
        ({"jobs": {}}, "jobs: got {}; it takes at least one job"),
        ({"filters": {}}, "filters: got none; it takes at least one of"),
        ({"jobs": JID, "filters": {"names": "x"}}, "mutually exclusive"),
        ({"jobs": JID, "signal": "NOPE"}, "signal: got 'NOPE'; it takes a signal's name or number"),
        ({"jobs": JID, "signal": 0}, "signal: got '0'"),
        ({"jobs": JID, "signal": -9}, "signal: got '-9'"),
        ({"jobs": JID, "signal": ""}, "signal: got ''"),
        ({"jobs": JID, "grace": "x"}, "grace: got 'x'"),
    ],
)
def test_senseless_cancels(play: Play, args: dict[str, t.Any], sentence: str) -> None:
    result = play.run(async_cancel, args)
    assert (result["failed"], play.engine.asked) == (True, [])
    assert sentence in result["msg"]


@pytest.mark.parametrize(("given", "wanted"), [("TERM", "TERM"), ("SIGUSR1", "USR1"), ("kill", "KILL"), (9, 9), ("RTMIN", "RTMIN")])
def test_signals(play: Play, given: object, wanted: object) -> None:
    play.run(async_cancel, {"jobs": JID, "signal": given}, CANCELLED)
    assert play.engine.asked[0]["options"]["signal"] == wanted


@pytest.mark.parametrize("module", [async_cancel, async_log])
def test_a_host_that_is_away(play: Play, module: t.Any) -> None:
    for args in ({"jobs": [JID]}, {"filters": {"names": "x"}}):
        result = play.run(module, args, LookMissed("gone"))
        assert (result["unreachable"], result["changed"]) == (True, False)
        assert "web1 was not reached: gone" in result["msg"]
        assert ("not known, and to ask again is safe" in result["msg"]) is (module is async_cancel)
        assert [job["ansible_job_id"] for job in result["jobs"]] == ([JID] if "jobs" in args else [])


@pytest.mark.parametrize("no_log", [False, True])
def test_a_log(play: Play, no_log: bool) -> None:
    log = {"data": base64.b64encode(b"out\n").decode(), "offset": 0, "next_offset": 4, "more": False, "end": True}
    gone = entry("j1.1", "unknown", failed=True, msg="could not find job j1.1 in /a")
    answer = entry(state="failed", log=log, job={"no_log": no_log})
    result = play.run(async_log, {"jobs": [JID, "j1.1"], "lines": 5}, [answer, gone])
    first, second = result["logs"]
    assert (first["job"]["jid"], first["text"], first["next_offset"], first["end"]) == (
        (JID, "", None, True) if no_log else (JID, "out\n", 4, True)
    )
    assert (second["job"]["state"], second["offset"], second["msg"]) == ("unknown", None, "could not find job j1.1 in /a")
    assert (result["failed"], result["changed"], result["finished"], len(result["jobs"])) == (True, False, True, 2)
    assert "could not find job j1.1 in /a" in result["msg"]
    assert ("was started with no_log" in result["msg"]) is no_log
    assert play.run(async_log, {"jobs": JID}, answer)["failed"] is no_log


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({}, "one of the following is required: jobs, filters"),
        ({"jobs": JID, "stream": "x"}, "stream"),
        ({"jobs": JID, "offset": -1}, "offset: got -1; it takes a number from 0 on"),
        ({"jobs": JID, "lines": 0}, "lines: got 0; it takes a number from 1 on"),
        ({"jobs": JID, "grep": "("}, "grep: got '('; it takes a regular expression of Python's"),
        ({"jobs": JID, "max_bytes": "x"}, "max_bytes: got 'x'; it takes at least 4 bytes, as a number or a size such as 500K"),
        ({"jobs": JID, "max_bytes": 3}, "max_bytes: got '3'"),
        ({"jobs": JID, "dest": ""}, "dest: got ''"),
        ({"filters": {}}, "filters: got none"),
    ],
)
def test_senseless_logs(play: Play, args: dict[str, t.Any], sentence: str) -> None:
    result = play.run(async_log, args)
    assert (result["failed"], play.engine.asked) == (True, [])
    assert sentence in result["msg"]
