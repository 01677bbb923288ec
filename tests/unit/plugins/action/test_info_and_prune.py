# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions of async_info and async_prune: what they ask for, and what their results say."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.longhaul.jobs.plugins.action import async_info, async_prune
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import new_jid
from ansible_collections.longhaul.jobs.tests.unit.plugins.action.test_actions import Play, play
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import JID, core, entry, told

__all__ = ["core", "play", "told"]
pytestmark = pytest.mark.usefixtures("core", "told")


def test_all_jobs(play: Play) -> None:
    """One that has failed does not fail the task, and what a target adds is not handed on."""
    entries = [
        entry("j1.1", state="failed", failed=True, msg="no", rc=3, stdout="s", ansible_facts={"a": 1}, bytes=100),
        entry("j2.2", bytes=11),
        entry("j3.3", state="lost", job={"no_log": True, "survivors": [{"pid": 1, "user": "u", "command": "secret"}]}, bytes="x"),
    ]
    result = play.run(async_info, {}, entries)
    asked = play.engine.asked[0]
    assert (asked["verb"], asked["jobs"], asked["filters"]) == ("info", None, None)
    jobs = result.pop("jobs")
    assert result == {"missing": [], "finished": False, "bytes": 111, "failed": False, "changed": False}
    assert [(job["ansible_job_id"], job["failed"], job["finished"]) for job in jobs] == [
        ("j1.1", True, True),
        ("j2.2", False, False),
        ("j3.3", True, True),
    ]
    assert {key for job in jobs for key in job} == {
        *("ansible_job_id", "started", "finished", "failed", "changed", "results_file", "job", "msg"),
    }
    assert "secret" not in json.dumps(jobs)


def test_some_jobs(play: Play) -> None:
    """S11: what is not there is in `missing`, by the id or the name that it was asked for with."""
    unknown = entry("j2.2", state="unknown", started=False, failed=True, msg="could not find job j2.2 in /a")
    nameless = entry("j0.0", state="unknown", job={"jid": None, "name": "nightly"})
    gone = {"ansible_job_id": "j4.4", "job": {"jid": "j4.4", "host": "web2"}}
    elsewhere = entry("j4.4", state="unknown")
    asked = ["j1.1", "j2.2", "nightly", gone, new_jid(check_mode=True), {"failed": True, "msg": "no shell"}]
    result = play.run(async_info, {"jobs": asked}, [entry("j1.1", state="succeeded"), unknown, nameless, elsewhere])
    assert play.engine.asked[0]["jobs"] == [{"jid": "j1.1"}, {"jid": "j2.2"}, {"name": "nightly"}, {"jid": "j4.4"}]
    assert result["missing"] == ["j2.2", "nightly", "j4.4"]
    assert (result["failed"], result["finished"]) == (False, True)
    assert result["warnings"] == ["job j4.4 is one of web2, not of web1: ask with delegate_to: web2"]
    told_of = [(job["job"]["state"], job["failed"]) for job in result["jobs"]]
    assert told_of == [("succeeded", False), (None, False), ("unknown", True)]
    assert play.run(async_info, {"jobs": []}) == {
        "jobs": [],
        "missing": [],
        "finished": True,
        "bytes": 0,
        "failed": False,
        "changed": False,
    }
    assert play.engine.asked == []


def test_filtered_jobs(play: Play) -> None:
    play.run(async_info, {"filters": {"states": "lost", "older_than": "1d"}}, [])
    assert play.engine.asked[0]["filters"] == {"states": ["lost"], "older_than": 86400.0}
    play.run(async_info, {"filters": {}}, [])
    assert play.engine.asked[0]["filters"] == {}


def test_a_dead_host(play: Play) -> None:
    lost = LookMissed("gone")
    for args in ({}, {"jobs": JID}):
        result = play.run(async_info, args, lost, until=["r.finished"])
        assert (result["unreachable"], result["msg"]) == (True, "web1 was not reached: gone")
        assert (result["finished"], result["missing"], result["bytes"]) == (False, [], 0)
        assert play.task.until == []
    result = play.run(async_prune, {"keep_last": 1}, lost)
    assert (result["unreachable"], result["pruned"], result["changed"]) == (True, [], False)


def test_a_prune(play: Play) -> None:
    args = {"filters": {"names": "nightly-*"}, "keep_last": 10, "max_bytes": "10M", "include_core": True, "async_dir": "/x"}
    entries = [entry("j1.1", state="succeeded", job={"name": "nightly-1", "user": "root"}, bytes=5), entry("j2.2", state="lost", bytes=6)]
    result = play.run(async_prune, args, entries, check_mode=True)
    asked = play.engine.asked[0]
    assert (asked["verb"], asked["jobs"], asked["filters"]) == ("prune", None, {"names": ["nightly-*"]})
    assert asked["options"] == {"keep_last": 10, "max_bytes": 10 << 20, "include_core": True}
    assert (result["changed"], result["failed"], result["space_reclaimed"]) == (True, False, 11)
    assert [(job["jid"], job["name"], job["host"], job["state"]) for job in result["pruned"]] == [
        ("j1.1", "nightly-1", "web1", "succeeded"),
        ("j2.2", None, "web1", "lost"),
    ]
    assert play.run(async_info, {"jobs": result["pruned"]}, entries)["missing"] == [], "not references"
    nothing = play.run(async_prune, {"max_bytes": "0"}, [])
    assert nothing == {"pruned": [], "space_reclaimed": 0, "failed": False, "changed": False}
    assert play.engine.asked[0]["options"] == {"keep_last": None, "max_bytes": 0, "include_core": False}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({}, "longhaul.jobs.async_prune: got none of filters, keep_last and max_bytes; it takes at least one of them"),
        ({"include_core": True}, "got none of filters"),
        ({"filters": {}}, "filters: got none; it takes at least one of states"),
        ({"filters": {}, "keep_last": 1}, "filters: got none"),
        ({"filters": {"states": ["gone"]}}, "filters.states: got 'gone'"),
        ({"keep_last": "-1"}, "keep_last: got '-1'; it takes a number of jobs, from 0 on"),
        ({"keep_last": "many"}, "keep_last: got 'many'"),
        ({"max_bytes": "much"}, "max_bytes: got 'much'; it takes a number of bytes or a size such as 500K, 10M or 2G"),
        ({"max_bytes": "-5"}, "max_bytes: got '-5'"),
        ({"max_bytes": "1M", "include_core": "perhaps"}, "include_core"),
        ({"jobs": ["j1.1"], "keep_last": 1}, "got the unknown argument 'jobs'"),
        ({"keep_last": 1, "async_dir": "here"}, "async_dir: got 'here'"),
    ],
)
def test_senseless_prunes(play: Play, args: dict[str, t.Any], sentence: str) -> None:
    result = play.run(async_prune, args)
    assert result["failed"] is True
    assert sentence in result["msg"]
    assert play.engine.asked == []
