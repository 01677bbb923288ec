# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking after jobs: what is asked of the host, and what no answer means."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.plugins.plugin_utils._question import Question
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference, new_jid
from ansible_collections.longhaul.jobs.plugins.plugin_utils._selection import Selection
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import JID, Far, TurnedClock, core, entry, told

__all__ = ["core", "told"]
pytestmark = pytest.mark.usefixtures("core")
CUT = LookMissed("the reply was cut short")


def _question(far: Far, *references: Reference, **fields: t.Any) -> Question:
    remote: t.Any = far
    return Question(remote, Selection(list(references)), **fields)


def test_only_what_can_be_there_is_asked_for() -> None:
    check = new_jid(check_mode=True)
    far = Far([entry("j1.1"), entry("j2.2", state="succeeded")])
    references = [Reference("j1.1"), Reference(check), Reference(never_started="no"), Reference("j2.2")]
    results = [result.shown for result in _question(far, *references, options={"mode": "cleanup"}).ask()]
    asked = {"verb": "status", "jobs": [{"jid": "j1.1"}, {"jid": "j2.2"}], "options": {"mode": "cleanup"}, "filters": None}
    assert far.asked == [{**asked, "hold": 0.0, "extra": 0.0, "also_in": []}]
    assert [result["ansible_job_id"] for result in results] == ["j1.1", check, None, "j2.2"]
    assert [(result["finished"], result["failed"]) for result in results] == [(False, False), (True, False), (True, True), (True, False)]


def test_nobody_is_nobody() -> None:
    far = Far()
    assert _question(far).ask() == []
    assert _question(far, Reference(never_started="no")).ask()[0].shown["failed"] is True
    assert far.asked == []


def test_async_dirs_of_references_of_this_host_are_looked_in() -> None:
    far = Far([entry()] * 3)
    _question(
        far, Reference(JID, host="web1", async_dir="/a"), Reference(JID, host="db1", async_dir="/b"), Reference(JID, async_dir="/c")
    ).ask()
    assert far.asked[0]["also_in"] == ["/a"]


@pytest.mark.parametrize("lost", [CUT, AnsibleConnectionFailure("wrong password")])
def test_a_single_question_to_a_dead_host(lost: Exception, told: list[str]) -> None:
    question = _question(Far(lost), Reference(JID))
    shown = question.ask()[0].shown
    assert question.unreachable is True
    assert (shown["started"], shown["finished"], shown["failed"], shown["job"]["reachable"]) == (True, False, False, False)
    assert question.missed.startswith("web1 was not reached: ")
    assert told == []


def test_a_denied_login_is_not_tried_again(told: list[str]) -> None:
    question = _question(Far(AnsibleAuthenticationFailure("wrong password")), Reference(new_jid()), unreachable_timeout=60)
    question.ask()
    assert (question.denied, question.unreachable, told) == (True, True, [])


def test_patience_over_several_attempts(told: list[str]) -> None:
    clock = TurnedClock()
    jid = new_jid()

    def ask(answer: t.Any) -> Question:
        question = _question(Far(answer), Reference(jid), unreachable_timeout=60, clock=clock)
        question.ask()
        clock.time += 25
        return question

    assert [(question.unreachable, bool(question.missed)) for question in map(ask, [CUT, CUT, entry(), CUT, CUT, CUT, CUT, CUT])] == [
        *[(False, True), (False, True), (False, False), (False, True), (False, True), (False, True), (True, True)],
        (False, True),  # given up once, a later question begins anew
    ]
    assert len(told) == 6
    assert "asked again, until it has been so for 60 s" in told[0]


def test_an_end_that_was_told_is_not_fetched_again() -> None:
    """In `until`: each attempt makes a new question, and cleaning a large result takes core longer than all else."""
    first, second = new_jid(), new_jid()
    answers: list[t.Any] = [[entry(first, state="succeeded", stdout="x"), entry(second)], CUT, [entry(second, state="lost")]]
    answers.append([entry(second, state="failed", failed=True)])
    far = Far(*answers, [entry(first, state="unknown"), entry(second, state="unknown")])
    seen = []
    for _answer in answers:
        question = _question(far, Reference(first), Reference(second), keeps=True, unreachable_timeout=60)
        seen.append([(job.shown.get("stdout"), job.shown["finished"]) for job in question.ask()])
    assert [asked["jobs"] for asked in far.asked] == [[{"jid": first}, {"jid": second}], *[[{"jid": second}]] * 3]
    assert seen == [[("x", True), (None, False)], [("x", True), (None, False)], *[[("x", True), (None, True)]] * 2]
    again = _question(far, Reference(first), Reference(second), keeps=True).ask()
    assert [job.shown["job"]["state"] for job in again] == ["unknown"] * 2
