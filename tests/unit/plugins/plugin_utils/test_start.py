# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A start that stays one however often the link fails, and the looks that follow it."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.plugins.plugin_utils._payload import Payload
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference
from ansible_collections.longhaul.jobs.plugins.plugin_utils._start import Start
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import JID, Far, TurnedClock, core, entry, told

__all__ = ["core", "told"]
pytestmark = pytest.mark.usefixtures("core")
CUT = LookMissed("the reply was cut short")
REFUSED = LookMissed("ssh: connect to host web1 port 22: Connection refused")
RUNNING = entry()
DONE = entry(state="succeeded", changed=True, msg="done")


def _start(*answers: t.Any, **fields: t.Any) -> tuple[dict[str, t.Any], Far, TurnedClock]:
    far = Far(*answers)
    clock = TurnedClock()
    remote: t.Any = far
    options = {"name": None, "module": "m", "grace": 10.0, "if_running": fields.pop("if_running", "attach")}
    start = Start(remote, Reference(JID, None, "web1"), options, Payload("m", {}, b"zip"), clock=clock, **fields)
    return start.run().shown, far, clock


def test_start_and_go_on(told: list[str]) -> None:
    shown, far, _clock = _start(entry(job={"result": {"job": 1}, "attached": False}, stdout=""))
    assert (shown["started"], shown["finished"], shown["changed"], shown["failed"]) == (True, False, True, False)
    assert set(shown) == {"ansible_job_id", "started", "finished", "results_file", "job", "changed", "failed"}
    assert "result" not in shown["job"]
    assert [(call["verb"], call["hold"], call["attempt"], call["ago"], call["payload"]) for call in far.asked] == [
        ("start", 0, 1, 0, b"zip")
    ]
    assert told == []


def test_a_start_without_poll_is_a_change_whatever_has_become_of_the_job() -> None:
    shown, _far, _clock = _start(entry(state="failed", failed=True, msg="no", job={"attached": False}))
    assert (shown["changed"], shown["failed"], shown["finished"], "msg" in shown) == (True, False, True, False)
    assert _start(entry(job={"attached": True}))[0]["changed"] is False


def test_a_job_that_is_attached_to_is_followed(told: list[str]) -> None:
    attached = entry("j7.7", job={"attached": True})
    shown, far, _clock = _start(
        attached, entry("j7.7"), entry("j7.7", state="failed", failed=True, msg="no"), poll=7, unreachable_timeout=300
    )
    assert [call["jobs"] for call in far.asked] == [[{"jid": JID}], [{"jid": "j7.7"}], [{"jid": "j7.7"}]]
    assert (shown["ansible_job_id"], shown["job"]["attached"], shown["failed"], shown["msg"]) == ("j7.7", True, True, "no")
    assert "j7.7" in told[-1]


def test_a_job_that_is_reused_has_changed_nothing() -> None:
    done = entry("j7.7", state="succeeded", changed=False, msg="done", job={"attached": True})
    for poll in (0, 5):
        shown, far, _clock = _start(done, poll=poll, unreachable_timeout=300)
        assert len(far.asked) == 1
        assert (shown["ansible_job_id"], shown["finished"], shown["changed"], shown["failed"]) == ("j7.7", True, False, False)
        assert (shown["job"]["attached"], shown.get("msg")) == (True, "done" if poll else None)


def test_who_replaces_has_time_to_end_the_other() -> None:
    for mode, extra in (("attach", 0), ("fail", 0), ("replace", 25)):
        _shown, far, _clock = _start(RUNNING, if_running=mode)
        assert far.asked[0]["extra"] == extra


def test_a_start_that_never_was_fails_without_poll_too() -> None:
    shown, _far, _clock = _start({**entry(state="lost", failed=True, msg="no exec", job={"cause": "never_started"}), "started": False})
    assert (shown["started"], shown["failed"], shown["msg"]) == (False, True, "no exec")


def test_a_short_job_is_one_exchange(told: list[str]) -> None:
    shown, far, clock = _start(DONE, poll=60, unreachable_timeout=300)
    assert shown["msg"] == "done"
    assert [call["hold"] for call in far.asked] == [20]
    assert clock.slept == []
    assert len(told) == 1
    assert JID in told[0]


def test_looks_until_it_has_ended() -> None:
    shown, far, clock = _start(RUNNING, RUNNING, DONE, poll=7, unreachable_timeout=300)
    assert shown["changed"] is True
    assert [(call["verb"], call["hold"]) for call in far.asked] == [("start", 7), ("status", 7), ("status", 7)]
    assert clock.slept == [7, 7]
    assert far.closed == 0


def test_the_connection_is_closed_between_looks() -> None:
    _shown, far, _clock = _start(RUNNING, RUNNING, DONE, poll=7, unreachable_timeout=300, close_connection=True)
    assert [call["hold"] for call in far.asked] == [7, 0, 0]
    assert far.closed == 2


def test_a_lost_reply_is_asked_for_again_with_the_same_id(told: list[str]) -> None:
    shown, far, _clock = _start(CUT, REFUSED, REFUSED, RUNNING)
    assert [(call["jobs"], call["attempt"], call["ago"]) for call in far.asked] == [
        ([{"jid": JID}], number, ago) for number, ago in ((1, 0), (2, 1), (3, 2), (4, 3))
    ]
    assert shown["started"] is True
    assert len(told) == len(shown["warnings"]) == 3
    assert "is asked again" in told[0]


@pytest.mark.parametrize("poll", [0, 5])
def test_a_host_that_was_never_there_is_asked_twice(poll: float) -> None:
    shown, far, _clock = _start(REFUSED, REFUSED, poll=poll, unreachable_timeout=300)
    assert len(far.asked) == 2
    assert (shown["unreachable"], shown["started"], shown["finished"], shown["ansible_job_id"]) == (True, False, False, JID)
    assert (shown["job"]["state"], shown["job"]["reachable"], shown["job"]["module"], shown["job"]["host"]) == (
        "unknown",
        False,
        "m",
        "web1",
    )
    assert shown["failed"] is False
    assert "web1 is not reached: ssh: connect to host" in shown["msg"]


def test_a_reply_that_is_lost_for_good() -> None:
    shown, _far, clock = _start(*[CUT] * 100)
    assert shown["unreachable"] is True
    assert 30 <= clock.now() - 100 < 35
    assert _start(*[CUT] * 100, poll=9, unreachable_timeout=60)[2].now() >= 160


def test_no_patience_at_all() -> None:
    shown, far, _clock = _start(CUT, poll=5, unreachable_timeout=0)
    assert (len(far.asked), shown["unreachable"]) == (1, True)
    shown, far, _clock = _start(RUNNING, CUT, poll=5, unreachable_timeout=0)
    assert (len(far.asked), shown["unreachable"], shown["started"]) == (2, True, True)


def test_a_link_that_fails_between_looks(told: list[str]) -> None:
    shown, _far, clock = _start(RUNNING, CUT, REFUSED, RUNNING, DONE, poll=60, unreachable_timeout=300)
    assert shown["msg"] == "done"
    assert clock.slept == [60, 1, 2, 60]
    assert len(shown["warnings"]) == 2
    assert "was missed" in told[1]


def test_a_host_that_is_gone_while_the_job_runs() -> None:
    shown, _far, clock = _start(RUNNING, *[CUT] * 100, poll=5, unreachable_timeout=60)
    assert (shown["unreachable"], shown["started"], shown["finished"], shown["failed"]) == (True, True, False, False)
    assert (shown["job"]["state"], shown["job"]["reachable"]) == ("running", False)
    assert 60 <= clock.now() - 105 <= 66


def test_a_wrong_password_is_not_tried_again() -> None:
    shown, far, _clock = _start(AnsibleConnectionFailure("Invalid/incorrect password"))
    assert (len(far.asked), shown["unreachable"]) == (1, True)


def test_what_the_target_refuses_is_raised() -> None:
    with pytest.raises(AnsibleActionFail, match="no"):
        _start(AnsibleActionFail("no"))
