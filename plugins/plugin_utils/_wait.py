# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for jobs of one host: look after look, under deadlines, over lost connections, until what is waited for is there."""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass, field

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _results
from ansible_collections.longhaul.jobs.plugins.plugin_utils._following import Following
from ansible_collections.longhaul.jobs.plugins.plugin_utils._question import Question
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote
from ansible_collections.longhaul.jobs.plugins.plugin_utils._results import JobResult
from ansible_collections.longhaul.jobs.plugins.plugin_utils._schedule import Clock, Patience, Rhythm
from ansible_collections.longhaul.jobs.plugins.plugin_utils._selection import Selection

display = Display()

GROWTH = 1.5  # of the distance between two looks that hold nothing
SHORTEST_HELD = 1.0  # seconds between two looks at least, where the first was to be held, was not, and told nothing new
GRACE = 10.0  # seconds that a job has to end which is cancelled
CANCEL_SECONDS = 20.0  # beyond its grace, within which a cancel is answered
_MOST_NAMED = 10


@dataclass
class _Waited:
    """One job that is waited for."""

    reference: Reference
    result: JobResult | None = None  # as it was told last
    started: float | None = None  # when, on the wait's clock, as far as the host has told
    ended: bool = False
    given_up: bool = False  # its deadline has passed

    @property
    def is_open(self) -> bool:
        return not self.ended and not self.given_up

    @property
    def who(self) -> str:
        """What people know it by."""
        name, jid = self.reference.name, self.reference.jid
        return f"{name} ({jid})" if name and jid else str(name or jid or "a job")

    def note(self, result: JobResult, now: float) -> None:
        """Take what was just told of it. A name is this job's from now on, whatever later job gets it."""
        self.result, self.ended = result, result.shown["finished"]
        job = result.shown["job"]
        if isinstance(job.get("elapsed"), (int, float)):
            # Never later than it was, nor than when it was first heard of, whatever a target tells.
            self.started = min(now - max(0.0, job["elapsed"]), math.inf if self.started is None else self.started)
        if not self.reference.jid and job["jid"]:
            self.reference = Reference(job["jid"], self.reference.name, self.reference.host, job.get("async_dir"))


@dataclass
class Wait:
    """One wait: for which jobs, until when, and how it looks."""

    remote: Remote
    selection: Selection
    return_when: str = "all_finished"
    timeout: float | None = None  # seconds
    from_start: bool = False  # whether the timeout counts from each job's start
    cancels: bool = False  # whether what runs at its deadline is cancelled
    poll_interval: float = 5.0  # seconds between the beginnings of looks that are not held
    poll_interval_max: float = 60.0
    long_poll: float = 20.0  # seconds that a look may be held; 0: never
    unreachable_timeout: float = 300.0
    follow: bool = False
    close_connection: bool = False
    check: bool = False  # look once and wait for nothing
    clock: Clock = field(default_factory=Clock)

    def run(self) -> _results.Result:
        """The task's result. Raises AnsibleActionFail for what the target refuses."""
        self._begun = self.clock.now()
        self._patience = Patience(object(), 0.0 if self.check else self.unreachable_timeout, self.clock)
        self._rhythm = Rhythm(self.poll_interval, self.clock, growth=GROWTH, most=self.poll_interval_max)
        self._following = Following(self.remote.host)
        self._jobs: list[_Waited] = []
        self._looks = self._missed_looks = 0
        self._warnings: list[str] = []
        self._away = ""  # why the last look was missed; empty where it was answered
        self._is_denied = False  # because the login was
        self._not_cancelled = ""  # why what was to be cancelled was not
        self._is_chosen = self._is_unreachable = False
        if self.selection.references is not None:
            self._choose(self.selection.references)
        while not self._is_over():
            begun, hold = self.clock.now(), self._hold()
            has_news = self._look(hold)
            if self._is_unreachable or (self.check and not self._is_first_look):
                break
            self._give_up()
            if not self._is_over():
                self._pause(begun, hold, has_news)
        self._patience.answered()
        return self._shown()

    def _choose(self, references: list[Reference]) -> None:
        self._is_chosen = True
        self._jobs = [_Waited(reference) for reference in references]
        real = [job for job in self._jobs if job.reference.is_askable]
        for job in self._jobs:
            if not job.reference.is_askable:
                job.note(Question(self.remote, Selection([job.reference])).ask()[0], self._begun)
        if real and not self.check:
            display.display(
                f"{self.remote.host}: waiting for {_count(real)}: {_named(real)}; if this play is stopped, what runs goes on by itself;"
                " to ask for it: longhaul.jobs.async_info with these names or ids as jobs"
            )

    def _is_over(self) -> bool:
        if not self._is_chosen:
            return self.timeout is not None and self.clock.now() >= self._begun + self.timeout
        ended = [job for job in self._jobs if job.ended and job.result]
        # What never started has not finished either, but it has failed.
        met = self.return_when == "first_finished" and any(job.reference.is_askable for job in ended)
        met = met or (self.return_when == "first_failed" and any(job.result.shown["failed"] for job in ended if job.result))
        return not self._to_ask() if not met else not any(map(self._has_more, self._jobs))

    def _to_ask(self) -> list[_Waited]:
        return [job for job in self._jobs if job.is_open or self._has_more(job)]

    def _has_more(self, job: _Waited) -> bool:
        return job.ended and self._deadline(job) > self.clock.now() and self._following.has_more(job.reference.jid)

    def _deadline(self, job: _Waited) -> float:
        """When a job is given up."""
        if self.timeout is None:
            return math.inf
        return (job.started if self.from_start and job.started is not None else self._begun) + self.timeout

    def _next_deadline(self) -> float:
        """The nearest of all; of many that are close together, not each takes a look of its own."""
        if self.timeout is None:
            return math.inf
        nearest = min((self._deadline(job) for job in self._jobs if job.is_open), default=self._begun + self.timeout)
        return max(nearest, self.clock.now() + SHORTEST_HELD) if self.from_start else nearest

    def _hold(self) -> float:
        """Seconds that the target may hold the next look."""
        if self.check or self._away or not self._is_chosen:
            return 0.0
        if self.from_start and self.timeout is not None and self._is_first_look:
            return 0.0  # how long they have run already has to be asked first
        return max(0.0, min(self.long_poll, self._next_deadline() - self.clock.now()))

    def _look(self, hold: float) -> bool:
        """Ask once; whether there is anything new."""
        begun, jobs = self.clock.now(), self._to_ask()
        results, output = self._ask(jobs, hold)
        now = self.clock.now()
        if self._away:
            self._miss(min(now, begun + hold))
            return False
        self._patience.answered()
        if not self._is_chosen:
            found = [result.shown["job"] for result in results]
            self._choose([Reference(job["jid"], job["name"], self.remote.host, job.get("async_dir")) for job in found])
            return True
        has_news = has_output = False
        for job, result, written in zip(jobs, results, output, strict=True):
            if self.follow:
                has_output = self._following.show(result, written) or has_output
            if not job.ended:
                job.note(result, now)
                has_news = has_news or job.ended
        if not has_output:
            self._following.give_up()
        return has_news or has_output

    def _pause(self, begun: float, hold: float, has_news: bool) -> None:
        """Wait until it is time for the next look; the last one was begun then."""
        if self._away:
            self._rhythm.wait_after_miss(self._next_deadline())
        elif self._is_first_look or any(map(self._has_more, self._jobs)):
            return
        elif not self.long_poll:
            self._rhythm.wait(self._next_deadline())
        elif not has_news and hold >= SHORTEST_HELD:
            self.clock.sleep(max(0.0, SHORTEST_HELD - (self.clock.now() - begun)))

    @property
    def _is_first_look(self) -> bool:
        """Whether the next look is the first at these jobs."""
        return not self._is_chosen or any(not job.result for job in self._jobs)

    def _ask(self, jobs: list[_Waited], hold: float) -> tuple[list[JobResult], list[object]]:
        """What one look tells of these jobs, or of which there are, where that is not known yet; sets whether it was missed."""
        if self._is_chosen:
            options = {"return_when": self.return_when, "follow": self._following.offsets if self.follow else None}
            question = Question(self.remote, Selection([job.reference for job in jobs]), "wait", options, hold, clock=self.clock)
        else:
            question = Question(self.remote, self.selection, "info", clock=self.clock)
        try:
            results = question.ask()
        finally:
            if self.close_connection:
                self.remote.close()
        self._looks += 1
        self._away, self._is_denied = question.missed, question.denied
        told = [entry.get("job") for entry in question.entries]
        return results, [job.get("output") if isinstance(job, dict) else None for job in told]

    def _miss(self, due: float) -> None:
        """A look was missed whose answer was due then."""
        self._missed_looks += 1
        if not self._patience.missed(due) or self._is_denied:
            self._is_unreachable = True
            return
        self._warnings.append(f"{self._away}; it is asked again, until it has been so for {self.unreachable_timeout:g} s")
        # Now: since core 2.19 a warning is held back to the end of the task.
        display.display(self._warnings[-1], color="bright purple")

    def _give_up(self) -> None:
        """What is past its deadline is waited for no longer; where that is asked for, it is cancelled, in one exchange."""
        late = [job for job in self._jobs if job.is_open and self._deadline(job) <= self.clock.now()]
        if not late or self._is_over():
            return
        for job in late:
            job.given_up = True
        if not self.cancels:
            return
        options = {"signal": "TERM", "grace": GRACE, "reason": f"the wait's timeout of {self.timeout:g} s passed", "by": "async_wait"}
        references = Selection([job.reference for job in late])
        cancel = Question(self.remote, references, "cancel", options, extra=GRACE + CANCEL_SECONDS, clock=self.clock)
        try:
            told = cancel.ask()
        except AnsibleActionFail as refusal:
            self._not_cancelled = str(refusal.message)
            return
        self._not_cancelled = cancel.missed
        if not cancel.missed:
            results, _output = self._ask(late, 0.0)  # with what they have written
            for job, result in zip(late, told if self._away else results, strict=True):
                job.note(result, self.clock.now())

    def _shown(self) -> _results.Result:
        shown = _results.listed([self._result(job) for job in self._jobs])
        shown.update(looks=self._looks, missed_looks=self._missed_looks)
        if self._warnings:
            shown["warnings"] = self._warnings
        if self._is_unreachable:
            patience = "" if self._is_denied else f"; given up after {self.unreachable_timeout:g} s"
            shown.update(unreachable=True, finished=False, msg=self._away + patience)
        elif any(job.given_up for job in self._jobs) or not self._is_chosen:
            shown.update(failed=True, finished=shown["finished"] and self._is_chosen)
            shown["msg"] = "; ".join(filter(None, [self._of_timeout(), shown.get("msg")]))
        return shown

    def _result(self, job: _Waited) -> JobResult:
        if job.result is None:
            return _results.missed(self.remote.host, job.reference)
        if self._away and not job.ended:
            job.result.shown["job"]["reachable"] = False
        return job.result

    def _of_timeout(self) -> str:
        """What became of the jobs that were given up, in one sentence."""
        if not self._is_chosen:
            return f"which jobs there are was not known {self.timeout:g} s after the waiting began: {self._away}"
        late = [job for job in self._jobs if job.given_up]
        since = "its start" if self.from_start else "the waiting began"
        running = [job for job in late if not job.ended]
        ended = [job for job in late if job.ended]
        parts = [f"{len(late)} of {_count(self._jobs)} had not ended {self.timeout:g} s after {since}: {_named(late)}"]
        if ended:
            parts.append(f"cancelled: {_named(ended)}")
        if running and self.cancels:
            why = self._not_cancelled or "see what is said of each job"
            parts.append(f"not cancelled: {_named(running)} ({why})")
        elif running:
            parts.append("left running" if not self._away else f"left as it is: {self._away}")
        return "; ".join(parts)


def _count(jobs: t.Sized) -> str:
    return f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"


def _named(jobs: list[_Waited]) -> str:
    more = len(jobs) - _MOST_NAMED
    return ", ".join(job.who for job in jobs[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
