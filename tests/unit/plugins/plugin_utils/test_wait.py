# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting, on a clock that the test turns: a far side whose jobs end, and whose link fails, at set times."""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass

import pytest
from ansible.errors import AnsibleActionFail, AnsibleAuthenticationFailure
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference, new_jid
from ansible_collections.longhaul.jobs.plugins.plugin_utils._selection import Selection
from ansible_collections.longhaul.jobs.plugins.plugin_utils._wait import Wait
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import Far, TurnedClock, core, entry, told

__all__ = ["core", "told"]
pytestmark = pytest.mark.usefixtures("core", "told")
NEVER = math.inf
LOOK_TIMEOUT = 30.0
Outage = tuple[float, float, str]  # from, until, and how: "refused" at once, or "silent"


@dataclass
class Job:
    """A job of the far side; times are seconds after the wait's beginning."""

    ends: float
    state: str = "succeeded"
    age: float | None = 0.0  # at the wait's beginning; None: it is not told
    name: str | None = None
    no_log: bool = False
    stubborn: bool = False  # cannot be cancelled
    writes: tuple[tuple[float, str], ...] = ()


class Side(Far):
    """Answers as the engine does, at the time when it would."""

    def __init__(self, clock: TurnedClock, jobs: list[Job], outages: t.Iterable[Outage] = ()) -> None:
        super().__init__()
        self.clock = clock
        self.zero = clock.now()
        self.jobs = {f"j{number}.1": job for number, job in enumerate(jobs, 1)}
        self.outages = list(outages)
        self.looks: list[tuple[float, str, float, int]] = []  # when, verb, hold, how many jobs
        self.refuses = ""

    @property
    def now(self) -> float:
        return self.clock.now() - self.zero

    def ask(self, verb: str, jobs: list[dict[str, t.Any]] | None, options: dict[str, t.Any], **more: t.Any) -> list[dict[str, t.Any]]:
        hold = more.get("hold", 0.0)
        self.looks.append((round(self.now, 3), verb, round(hold, 3), len(jobs or [])))
        self.asked.append({"verb": verb, "jobs": jobs, "options": options, **more})
        until = self.now + hold
        if self.refuses:
            raise AnsibleActionFail(self.refuses)
        jids = [self._jid(job) for job in jobs] if jobs is not None else list(self.jobs)
        if verb == "wait":
            until = min(until, max(self.now, self._met(jids, options["return_when"])))
        elif verb == "cancel":
            for jid in jids:
                if not self.jobs[jid].stubborn and self.jobs[jid].ends > self.now:
                    self.jobs[jid].ends, self.jobs[jid].state = self.now, "cancelled"
        for begin, end, how in self.outages:
            if begin <= until and self.now < end:
                self.clock.time += max(0.0, begin - self.now) if how == "refused" else hold + LOOK_TIMEOUT
                raise LookMissed(how)
        self.clock.time += until - self.now
        return [self._entry(jid, options.get("follow")) for jid in jids]

    def _jid(self, job: dict[str, t.Any]) -> str:
        return t.cast(str, job.get("jid") or next(jid for jid, one in self.jobs.items() if one.name == job["name"]))

    def _met(self, jids: list[str], return_when: str) -> float:
        ends = [self.jobs[jid].ends for jid in jids]
        if return_when == "first_finished":
            return min(ends)
        failed = [self.jobs[jid].ends for jid in jids if self.jobs[jid].state != "succeeded"]
        return min([*failed, max(ends)]) if return_when == "first_failed" else max(ends)

    def _entry(self, jid: str, follow: dict[str, list[int]] | None) -> dict[str, t.Any]:
        job = self.jobs[jid]
        ended = job.ends <= self.now
        known: dict[str, t.Any] = {"name": job.name, "no_log": job.no_log, "async_dir": "/a"}
        if job.age is not None:
            known["elapsed"] = job.age + min(self.now, job.ends)
        if follow is not None and not job.no_log:
            text = "".join(piece for when, piece in job.writes if when <= self.now)
            begin = follow.get(jid, [0])[0]
            some = text[begin : begin + 100]
            known["output"] = [[begin + len(some), some, len(text)], [0, "", 0]]
        failed = ended and job.state != "succeeded"
        return entry(jid, state=job.state if ended else "running", failed=failed, changed=ended, job=known)


class Scene:
    """A wait for the jobs of a far side."""

    def __init__(self, *jobs: Job, outages: t.Iterable[Outage] = (), side: type[Side] = Side) -> None:
        self.clock = TurnedClock()
        self.side = side(self.clock, list(jobs), outages)

    def wait(self, *references: Reference, selection: Selection | None = None, **fields: t.Any) -> dict[str, t.Any]:
        remote: t.Any = self.side
        chosen = selection or Selection(list(references) or [Reference(jid) for jid in self.side.jobs])
        self.result = Wait(remote, chosen, clock=self.clock, **fields).run()
        return self.result

    @property
    def states(self) -> list[str | None]:
        return [job["job"]["state"] for job in self.result["jobs"]]

    @property
    def begins(self) -> list[float]:
        return [when for when, _verb, _hold, _count in self.side.looks]

    @property
    def verbs(self) -> str:
        return " ".join(verb for _when, verb, _hold, _count in self.side.looks)


# What ends when, how it is waited for: when the wait is over, when each look began, the state of each job.
SCHEDULES: list[tuple[str, list[Job], dict[str, t.Any], float, list[float], list[str]]] = [
    ("ended before", [Job(0)], {}, 0, [0], ["succeeded"]),
    ("within the first look", [Job(7)], {}, 7, [0], ["succeeded"]),
    ("looks follow each other", [Job(50)], {}, 50, [0, 20, 40], ["succeeded"]),
    ("the longest of many", [Job(3), Job(45), Job(30)], {}, 45, [0, 20, 40], ["succeeded"] * 3),
    ("a hundred are no more work", [Job(n / 10) for n in range(100)], {}, 9.9, [0], ["succeeded"] * 100),
    ("shorter looks", [Job(5)], {"long_poll": 2.0}, 5, [0, 2, 4], ["succeeded"]),
    ("without held looks", [Job(30)], {"long_poll": 0.0}, 40.625, [0, 5, 12.5, 23.75, 40.625], ["succeeded"]),
    ("up to the longest interval", [Job(30)], {"long_poll": 0.0, "poll_interval_max": 6.0}, 35, [0, 5, 11, 17, 23, 29, 35], ["succeeded"]),
    ("the interval is the least", [Job(30)], {"long_poll": 0.0, "poll_interval": 90.0}, 90, [0, 90], ["succeeded"]),
    ("the first", [Job(NEVER), Job(4)], {"return_when": "first_finished"}, 4, [0], ["running", "succeeded"]),
    ("the first, ended before", [Job(NEVER), Job(0, "failed")], {"return_when": "first_finished"}, 0, [0], ["running", "failed"]),
    ("the first failed", [Job(2), Job(NEVER), Job(9, "lost")], {"return_when": "first_failed"}, 9, [0], ["succeeded", "running", "lost"]),
    ("none failed", [Job(2), Job(25)], {"return_when": "first_failed"}, 25, [0, 20], ["succeeded", "succeeded"]),
    ("a deadline", [Job(2), Job(NEVER)], {"timeout": 10.0}, 10, [0], ["succeeded", "running"]),
    ("a later deadline", [Job(NEVER)], {"timeout": 50.0}, 50, [0, 20, 40], ["running"]),
    ("a look at the deadline", [Job(8)], {"timeout": 10.0, "long_poll": 0.0}, 10, [0, 5, 10], ["succeeded"]),
    ("too late for the deadline", [Job(11)], {"timeout": 10.0, "long_poll": 0.0}, 10, [0, 5, 10], ["running"]),
    ("from the start", [Job(NEVER, age=15)], {"timeout": 20.0, "from_start": True}, 5, [0, 0], ["running"]),
    (
        "each from its start",
        [Job(NEVER, age=15), Job(12, age=5)],
        {"timeout": 20.0, "from_start": True},
        12,
        [0, 0, 5],
        ["running", "succeeded"],
    ),
    ("long past its start's deadline", [Job(NEVER, age=900)], {"timeout": 20.0, "from_start": True}, 0, [0], ["running"]),
    ("an absurd age", [Job(NEVER, age=-1000)], {"timeout": 9.0, "from_start": True}, 9, [0, 0], ["running"]),
    ("no age, so from now", [Job(NEVER, age=None)], {"timeout": 9.0, "from_start": True}, 9, [0, 0], ["running"]),
    (
        "deadlines close together",
        [Job(NEVER, age=n / 100) for n in range(100)],
        {"timeout": 9.0, "from_start": True},
        9.01,
        [0, 0, 8.01],
        ["running"] * 100,
    ),
]


@pytest.mark.parametrize(("jobs", "fields", "over", "begins", "states"), [pytest.param(*row[1:], id=row[0]) for row in SCHEDULES])
def test_schedules(jobs: list[Job], fields: dict[str, t.Any], over: float, begins: list[float], states: list[str]) -> None:
    scene = Scene(*jobs)
    result = scene.wait(**fields)
    assert scene.states == states
    assert scene.side.now == pytest.approx(over, abs=0.02)
    assert scene.begins == pytest.approx(begins, abs=0.02)
    assert (result["looks"], result["missed_looks"]) == (len(begins), 0)
    assert result["finished"] is ("running" not in states)
    in_time = fields.get("return_when", "all_finished") != "all_finished" or "running" not in states
    assert result["failed"] is (not in_time or bool({"failed", "lost"} & set(states)))
    assert result["changed"] is any(state != "running" for state in states)


REFUSED, SILENT = "refused", "silent"
# Outages, how it is waited for: when the wait is over, how many looks were missed, what becomes of it.
OUTAGES: list[tuple[str, list[Job], list[Outage], dict[str, t.Any], float, int, str]] = [
    ("refused for 6 s", [Job(30)], [(5, 11, REFUSED)], {}, 30, 3, "ends"),
    ("refused for 6 s, without held looks", [Job(30)], [(4, 10, REFUSED)], {"long_poll": 0.0}, 30.75, 3, "ends"),
    ("silent for 6 s", [Job(30)], [(5, 11, SILENT)], {}, 51, 1, "ends"),
    ("gone for good, refused", [Job(NEVER)], [(5, NEVER, REFUSED)], {"unreachable_timeout": 60.0}, 67, 15, "unreachable"),
    ("gone for good, silent", [Job(NEVER)], [(25, NEVER, SILENT)], {"unreachable_timeout": 100.0}, 167, 4, "unreachable"),
    ("no patience", [Job(NEVER)], [(5, NEVER, REFUSED)], {"unreachable_timeout": 0.0}, 5, 1, "unreachable"),
    ("never there", [Job(NEVER)], [(0, NEVER, REFUSED)], {"unreachable_timeout": 5.0}, 7, 4, "unreachable"),
    ("two outages, each within patience", [Job(60)], [(5, 30, REFUSED), (35, 58, REFUSED)], {"unreachable_timeout": 30.0}, 60, 12, "ends"),
    ("the deadline passes meanwhile", [Job(NEVER)], [(5, NEVER, REFUSED)], {"timeout": 30.0}, 30, 8, "timeout"),
    ("the deadline passes meanwhile, silent", [Job(NEVER)], [(5, NEVER, SILENT)], {"timeout": 30.0}, 50, 1, "timeout"),
    ("back before the deadline", [Job(12)], [(5, 28, REFUSED)], {"timeout": 30.0}, 30, 7, "ends"),
]


@pytest.mark.parametrize(
    ("jobs", "outages", "fields", "over", "missed", "comes_to"), [pytest.param(*row[1:], id=row[0]) for row in OUTAGES]
)
def test_outages(
    told: list[str], jobs: list[Job], outages: list[Outage], fields: dict[str, t.Any], over: float, missed: int, comes_to: str
) -> None:
    scene = Scene(*jobs, outages=outages)
    result = scene.wait(**fields)
    assert scene.side.now == pytest.approx(over)
    assert result["missed_looks"] == missed
    warnings = result.get("warnings", [])
    assert told[1:] == warnings  # said at once too
    assert len(warnings) == result["missed_looks"] - (comes_to == "unreachable")
    assert all("web1 was not reached: " in warning and "asked again" in warning for warning in warnings)
    job = result["jobs"][0]
    assert job["ansible_job_id"] == "j1.1"
    assert job["job"]["reachable"] is (comes_to == "ends")
    assert result.get("unreachable", False) is (comes_to == "unreachable")
    assert result["finished"] is (comes_to == "ends")
    assert result["failed"] is (comes_to == "timeout")
    if comes_to == "timeout":
        assert "j1.1; left as it is: web1 was not reached: " in result["msg"]
    elif comes_to == "unreachable":
        assert f"given up after {fields['unreachable_timeout']:g} s" in result["msg"]


def test_a_missed_look_is_followed_by_one_that_is_not_held() -> None:
    """So that it is soon known whether the host is there."""
    scene = Scene(Job(90), outages=[(5, 20, REFUSED)])
    scene.wait()
    assert [hold for _when, _verb, hold, _count in scene.side.looks] == [20, 0, 0, 0, 0, 0, 20, 20, 20, 20]


def test_each_end_is_fetched_once() -> None:
    scene = Scene(Job(3), Job(30), Job(55))
    scene.wait(long_poll=10.0)
    assert [count for _when, _verb, _hold, count in scene.side.looks] == [3, 2, 2, 1, 1, 1]


def test_how_to_come_back_is_said_before_the_waiting(told: list[str]) -> None:
    Scene(Job(3), Job(3, name="nightly")).wait(Reference("j1.1"), Reference(name="nightly"))
    words = "waiting for 2 jobs: j1.1, nightly; if this play is stopped, what runs goes on by itself"
    assert told == [f"web1: {words}; to ask for it: longhaul.jobs.async_info with these names or ids as jobs"]
    told.clear()
    Scene(*[Job(0)] * 12).wait()
    assert "j10.1 and 2 more; " in told[0]


def test_nobody_is_waited_for(told: list[str]) -> None:
    scene = Scene()
    result = scene.wait(selection=Selection([]))
    assert result == {"jobs": [], "finished": True, "failed": False, "changed": False, "looks": 0, "missed_looks": 0}
    assert (scene.side.looks, told) == ([], [])


@pytest.mark.parametrize("return_when", ["all_finished", "first_finished", "first_failed"])
def test_what_was_never_started_needs_no_look(return_when: str, told: list[str]) -> None:
    scene = Scene()
    result = scene.wait(Reference(new_jid(check_mode=True)), return_when=return_when)
    assert (result["finished"], result["failed"], scene.side.looks, told) == (True, False, [], [])
    result = scene.wait(Reference(never_started="no such module"), return_when=return_when)
    assert (result["finished"], result["failed"], scene.side.looks, told) == (True, True, [], [])
    assert "no such module" in result["jobs"][0]["msg"]


def test_the_first_may_be_one_that_was_never_started() -> None:
    scene = Scene(Job(NEVER))
    result = scene.wait(Reference("j1.1"), Reference(never_started="no"), return_when="first_failed")
    assert (scene.side.looks, result["finished"], result["failed"]) == ([], False, True)


def test_a_name_is_resolved_once() -> None:
    scene = Scene(Job(30, name="nightly"))
    scene.wait(Reference(name="nightly"))
    assert [asked["jobs"] for asked in scene.side.asked] == [[{"name": "nightly"}], [{"jid": "j1.1"}]]
    assert scene.side.asked[0]["options"] == {"return_when": "all_finished", "follow": None}


def test_filters_are_resolved_once(told: list[str]) -> None:
    scene = Scene(Job(5, name="a"), Job(25))
    filters = {"states": ["running"]}
    result = scene.wait(selection=Selection(filters=filters))
    assert scene.verbs == "info wait wait"
    assert (scene.side.asked[0]["jobs"], scene.side.asked[0]["filters"]) == (None, filters)
    assert scene.side.asked[1]["jobs"] == [{"jid": "j1.1"}, {"jid": "j2.1"}]
    assert (scene.states, result["looks"]) == (["succeeded"] * 2, 3)
    assert "waiting for 2 jobs: a (j1.1), j2.1;" in told[0]


def test_filters_that_nothing_matches(told: list[str]) -> None:
    scene = Scene()
    result = scene.wait(selection=Selection(filters={"states": ["running"]}))
    assert (result["jobs"], result["finished"], result["failed"], scene.verbs, told) == ([], True, False, "info", [])


@pytest.mark.parametrize("from_start", [False, True])
def test_filters_of_a_host_that_is_away(from_start: bool) -> None:
    scene = Scene(Job(5), outages=[(0, 4, REFUSED)])
    assert scene.wait(selection=Selection(filters={"states": ["running"]}))["finished"] is True
    scene = Scene(Job(5), outages=[(0, NEVER, REFUSED)])
    result = scene.wait(selection=Selection(filters={"states": ["running"]}), timeout=10.0, from_start=from_start)
    assert (result["failed"], result["finished"]) == (True, False)
    assert "which jobs there are was not known 10 s after the waiting began: web1 was not reached: refused" in result["msg"]
    result = scene.wait(selection=Selection(filters={"states": ["running"]}), unreachable_timeout=10.0)
    assert (result["unreachable"], result["finished"], result["jobs"]) == (True, False, [])


def test_what_still_runs_at_the_deadline_is_named() -> None:
    """S10"""
    scene = Scene(Job(1), Job(NEVER, name="slow"), Job(2, "failed"))
    result = scene.wait(timeout=10.0)
    still = "1 of 3 jobs had not ended 10 s after the waiting began: j2.1; left running"
    assert result["msg"] == f"{still}; 1 of 3 jobs failed: j3.1 (failed)"
    assert (result["finished"], result["failed"], scene.verbs) == (False, True, "wait")


def test_what_still_runs_at_the_deadline_is_cancelled() -> None:
    """S10"""
    scene = Scene(Job(1), Job(NEVER), Job(NEVER))
    result = scene.wait(timeout=10.0, cancels=True)
    assert scene.verbs == "wait cancel wait"
    cancel = scene.side.asked[1]
    assert cancel["jobs"] == [{"jid": "j2.1"}, {"jid": "j3.1"}]
    assert (cancel["options"]["reason"], cancel["options"]["signal"]) == ("the wait's timeout of 10 s passed", "TERM")
    assert scene.states == ["succeeded", "cancelled", "cancelled"]
    assert "2 of 3 jobs had not ended 10 s after the waiting began: j2.1, j3.1; cancelled: j2.1, j3.1" in result["msg"]
    assert (result["finished"], result["failed"]) == (True, True)


def test_jobs_are_cancelled_each_at_its_own_deadline() -> None:
    scene = Scene(Job(NEVER, age=15), Job(NEVER, age=5))
    scene.wait(timeout=20.0, from_start=True, cancels=True)
    assert [(when, verb) for when, verb, _hold, _count in scene.side.looks if verb == "cancel"] == [(5, "cancel"), (15, "cancel")]
    assert scene.states == ["cancelled"] * 2


def test_what_could_not_be_cancelled_is_said() -> None:
    scene = Scene(Job(NEVER, stubborn=True), Job(NEVER))
    result = scene.wait(timeout=10.0, cancels=True)
    assert "; cancelled: j2.1; not cancelled: j1.1 (see what is said of each job)" in result["msg"]
    assert result["finished"] is False
    away = Scene(Job(NEVER), outages=[(5, NEVER, REFUSED)]).wait(timeout=10.0, cancels=True)
    assert "not cancelled: j1.1 (web1 was not reached: refused)" in away["msg"]


def test_a_refusal_is_one() -> None:
    scene = Scene(Job(1))
    scene.side.refuses = "the async dir /x belongs to another user"
    with pytest.raises(AnsibleActionFail, match="belongs to another user"):
        scene.wait()


def test_the_connection_is_closed_after_each_look() -> None:
    scene = Scene(Job(8))
    scene.wait(close_connection=True, long_poll=0.0)
    assert scene.side.closed == len(scene.side.looks) == 3
    scene = Scene(Job(8), outages=[(4, 6, REFUSED)])
    scene.wait(close_connection=True, long_poll=0.0)
    assert scene.side.closed == len(scene.side.looks)


@pytest.mark.parametrize(("job", "failed"), [(Job(NEVER), False), (Job(0), False), (Job(0, "failed"), True)])
def test_check_mode_looks_once(job: Job, failed: bool, told: list[str]) -> None:
    """S13, S38: what still runs is no failure."""
    scene = Scene(job)
    result = scene.wait(check=True, timeout=5.0, cancels=True)
    assert (result["failed"], scene.side.looks, told) == (failed, [(0, "wait", 0, 1)], [])
    scene.wait(check=True, selection=Selection(filters={"names": ["*"]}))
    assert scene.verbs == "wait info wait"
    assert Scene(job, outages=[(0, 9, REFUSED)]).wait(check=True)["unreachable"] is True


class Restless(Side):
    """Holds nothing."""

    def ask(self, verb: str, jobs: list[dict[str, t.Any]] | None, options: dict[str, t.Any], **more: t.Any) -> list[dict[str, t.Any]]:
        return super().ask(verb, jobs, options, **{**more, "hold": 0.0})


def test_a_far_side_that_does_not_hold_is_not_asked_without_a_pause() -> None:
    scene = Scene(Job(NEVER), side=Restless)
    scene.wait(timeout=10.0)
    assert 10 <= len(scene.side.looks) <= 12


def test_following(told: list[str]) -> None:
    writes = ((0.0, "one\n"), (2.0, "\x1b[31mtwo\rthree\n"), (3.0, "x" * 250 + "\nlast"))
    scene = Scene(Job(3, name="build", writes=writes), Job(3, no_log=True))
    scene.wait(follow=True, long_poll=1.0)
    assert "web1 | build: one" in told
    assert "web1 | build: three" in told
    assert told.count("web1 | j2.1: its output is not shown, for it was started with no_log") == 1
    shown = "".join(line.removeprefix("web1 | build: ") for text in told for line in text.split("\n") if " | build: x" in text)
    assert shown == "x" * 250 + "last"
    assert scene.states == ["succeeded"] * 2


class Hostile(Side):
    """Tells of output what nobody can show."""

    outputs: t.ClassVar[list[t.Any]] = ["x", [1, 2], [[0, "x", 1]], [[0, "x", 1], [0, 1, 1]], [[-1, "x", 1]] * 2, [[True, "x", 1]] * 2]

    def ask(self, verb: str, jobs: list[dict[str, t.Any]] | None, options: dict[str, t.Any], **more: t.Any) -> list[dict[str, t.Any]]:
        entries = super().ask(verb, jobs, options, **more)
        for one, output in zip(entries, self.outputs, strict=True):
            one["job"]["output"] = output
        return entries


def test_what_a_hostile_target_tells_of_output_is_not_shown(told: list[str]) -> None:
    Scene(*[Job(1)] * len(Hostile.outputs), side=Hostile).wait(follow=True)
    assert not [text for text in told if " | " in text]


def test_a_denied_login_is_not_tried_again() -> None:
    remote: t.Any = Far(AnsibleAuthenticationFailure("wrong password"))
    result = Wait(remote, Selection([Reference("j1.1")]), clock=TurnedClock()).run()
    assert (result["unreachable"], result["looks"], len(remote.asked)) == (True, 1, 1)
    assert result["msg"].startswith("web1 was not reached: ")
    assert result["msg"].endswith("wrong password")


def test_what_never_started_is_not_the_first_that_finishes() -> None:
    scene = Scene(Job(30), Job(50))
    references = [Reference("j1.1"), Reference("j2.1"), Reference(never_started="no")]
    result = scene.wait(selection=Selection(references), return_when="first_finished")
    assert [job["finished"] for job in result["jobs"]] == [True, False, True]
    assert scene.wait(selection=Selection(references[2:]), return_when="first_finished")["looks"] == 0
