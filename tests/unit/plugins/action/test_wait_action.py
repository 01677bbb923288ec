# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of async_wait, with engine and connection replaced: what its options come to."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.longhaul.jobs.plugins.action import async_wait
from ansible_collections.longhaul.jobs.plugins.plugin_utils._wait import Wait
from ansible_collections.longhaul.jobs.tests.unit.plugins.action.test_actions import Play, play
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import JID, core, entry, told

__all__ = ["core", "play", "told"]
pytestmark = pytest.mark.usefixtures("core", "told")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Wait]:
    """The waits that are begun."""
    made: list[Wait] = []

    def run(self: Wait) -> dict[str, t.Any]:
        made.append(self)
        return {}

    monkeypatch.setattr(Wait, "run", run)
    return made


def test_a_wait(play: Play) -> None:
    end = entry(state="failed", failed=True, changed=True, msg="no", rc=3)
    result = play.run(async_wait, {"jobs": JID}, end)
    assert [job["rc"] for job in result["jobs"]] == [3]
    assert (result["finished"], result["changed"], result["failed"], result["looks"]) == (True, True, True, 1)
    assert result["msg"] == f"1 of 1 jobs failed: {JID} (failed)"
    asked = play.engine.asked[0]
    assert (asked["verb"], asked["jobs"], asked["hold"]) == ("wait", [{"jid": JID}], 20.0)


DEFAULTS: dict[str, t.Any] = {
    "timeout": None,
    "from_start": False,
    "cancels": False,
    "return_when": "all_finished",
    "follow": False,
    "check": False,
}
DEFAULTS |= {"poll_interval": 5.0, "poll_interval_max": 60.0, "long_poll": 20.0, "unreachable_timeout": 300.0, "close_connection": False}


@pytest.mark.parametrize(
    ("args", "fields", "differs"),
    [
        ({}, {}, {}),
        ({"timeout": "2h", "timeout_from": "start", "on_timeout": "cancel"}, {}, {"timeout": 7200.0, "from_start": True, "cancels": True}),
        ({"return_when": "first_failed", "unreachable_timeout": 0}, {}, {"return_when": "first_failed", "unreachable_timeout": 0.0}),
        (
            {"poll_interval": 30, "poll_interval_max": "10m", "long_poll": 0},
            {},
            {"poll_interval": 30.0, "poll_interval_max": 600.0, "long_poll": 0.0},
        ),
        ({"close_connection": True}, {}, {"close_connection": True, "long_poll": 0.0}),
        ({"close_connection": True, "long_poll": "0s"}, {}, {"close_connection": True, "long_poll": 0.0}),
        ({"follow": True}, {}, {"follow": True}),
        ({"follow": True}, {"no_log": True}, {}),
        ({}, {"check_mode": True}, {"check": True}),
    ],
)
def test_options(play: Play, waits: list[Wait], args: dict[str, t.Any], fields: dict[str, t.Any], differs: dict[str, t.Any]) -> None:
    play.run(async_wait, {"jobs": JID, **args}, **fields)
    assert {name: getattr(waits[0], name) for name in DEFAULTS} == DEFAULTS | differs
    assert waits[0].remote.look_timeout == 30.0


def test_the_deadline_of_a_look(play: Play, waits: list[Wait]) -> None:
    play.run(async_wait, {"jobs": JID, "look_timeout": "2m"})
    assert waits[0].remote.look_timeout == 120.0


def test_filters(play: Play, waits: list[Wait]) -> None:
    play.run(async_wait, {"filters": {"states": "running"}})
    assert waits[0].selection.filters == {"states": ["running"]}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({}, "one of the following is required: jobs, filters"),
        ({"jobs": JID, "filters": {"states": "running"}}, "mutually exclusive"),
        ({"filters": {}}, "filters: got none; it takes at least one of states"),
        ({"jobs": "../x"}, "jobs: got '../x'; it takes a job's id or name"),
        ({"jobs": JID, "timeout": 0}, "timeout: got '0'; it takes a duration above 0"),
        ({"jobs": JID, "timeout": "soon"}, "timeout: got 'soon'; it takes seconds, or a duration such as"),
        ({"jobs": JID, "return_when": "never"}, "value of return_when must be one of: all_finished, first_finished, first_failed"),
        ({"jobs": JID, "timeout_from": "then"}, "value of timeout_from must be one of: now, start"),
        ({"jobs": JID, "on_timeout": "kill"}, "value of on_timeout must be one of: leave_running, cancel"),
        ({"jobs": JID, "poll_interval": 0}, "poll_interval: got '0'; it takes at least 1 seconds"),
        ({"jobs": JID, "poll_interval_max": "x"}, "poll_interval_max: got 'x'"),
        ({"jobs": JID, "long_poll": -1}, "long_poll: got '-1'"),
        ({"jobs": JID, "look_timeout": 0}, "look_timeout: got '0'; it takes at least 1 seconds"),
        ({"jobs": JID, "unreachable_timeout": "x"}, "unreachable_timeout: got 'x'"),
        ({"jobs": JID, "follow": "maybe"}, "follow"),
        ({"jobs": JID, "close_connection": True, "long_poll": "20s"}, "long_poll: got '20s'; beside close_connection"),
        ({"jobs": JID, "async_dir": "x"}, "async_dir: got 'x'"),
    ],
)
def test_senseless_waits(play: Play, args: dict[str, t.Any], sentence: str) -> None:
    result = play.run(async_wait, args)
    assert result["failed"] is True
    assert sentence in result["msg"]
    assert play.engine.asked == []
