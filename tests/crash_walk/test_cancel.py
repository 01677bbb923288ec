# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cancels, struck between each two steps of the canceller, and of a supervisor that is told to end (PROTOCOL 3)."""

from __future__ import annotations

import json
import os
import signal
import typing as t

import pytest
from ansible_collections.longhaul.jobs.tests.crash_walk.cases import JobCase, kill
from ansible_collections.longhaul.jobs.tests.crash_walk.scene import ENDED, Core, Scene
from ansible_collections.longhaul.jobs.tests.crash_walk.walk import Case, Point, walk
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Job, wait_for


def _written(scene: Scene) -> dict[str, t.Any]:
    """Of an end that is written what a cancel does not tell."""
    document = json.loads(scene.results.read_text()) if scene.results.exists() else {}
    return {key: document.get(key) for key in ("rc", "stdout")} if document.get("finished") else {}


class Cancel(JobCase):
    """A cancel while the supervisor lives."""

    name = "cancel"
    role = "canceller"
    roles = ("canceller",)
    stubborn = True
    unanswered = False

    def cause(self, scene: Scene) -> str:
        """Of the cancelled job."""
        return "cancelled"

    def prepare(self, scene: Scene) -> None:
        self.begin(scene)

    def asked(self, scene: Scene) -> dict[str, t.Any]:
        options = {"signal": 15, "grace": 0.2, "reason": "a test", "by": "pytest"}
        request = scene.request("cancel", [scene.jid], options=options)
        return request | {"jobs": [{"jid": scene.jid, "unanswered": self.unanswered}]}

    def cancel(self, scene: Scene) -> Job | None:
        """The job result, None where no reply came, or a refusal."""
        return self.cancelled(scene, scene.run(self.asked(scene)))

    def cancelled(self, scene: Scene, reply: dict[str, t.Any] | None) -> Job | None:
        """The job result in a cancel's reply, held against what is true."""
        if reply is None:
            return None
        job: Job = reply["jobs"][0]
        failed, changed = job.pop("failed"), job.pop("changed")
        if failed and job["job"]["state"] == "unknown":  # a start that was not called off
            scene.story.append(job["msg"])
            assert self.unanswered, job
            assert "No space left" in job["msg"], job
            self.refused(scene)
            return None
        known, told = scene.end, _written(scene)
        scene.judge({**job, **told}, scene.living())
        scene.end = scene.end if told else known
        if failed:
            assert [how for *_step, how in scene.notes("struck")] == ["no space"], job
            assert "No space left" in job["msg"]
            assert (job["finished"], changed) == (False, False), job
        return job

    def act(self, scene: Scene) -> None:
        self.cancel(scene)

    def check(self, scene: Scene, point: Point | None) -> None:
        first = scene.both(check=not scene.living())
        if point is None:
            assert first["finished"]
        again = self.cancel(scene)
        assert again is not None
        assert (again["job"]["state"], again["job"]["cause"]) == ("cancelled", self.cause(scene)), again
        wait_for(lambda: not scene.living())
        job = scene.both()
        assert scene.rank == ENDED
        assert (job["job"]["state"], job["job"]["cause"], job["job"]["survivors"]) == ("cancelled", self.cause(scene), [])
        assert job["job"]["reason"] == "a test"
        assert job["started"] == bool(scene.runs()) == (self.cause(scene) == "cancelled")
        assert len(scene.runs()) <= 1
        assert not scene.done.exists()
        self.finale(scene, job)


class CancelOfAnOrphan(Cancel):
    name = "cancel, supervisor dead"

    def prepare(self, scene: Scene) -> None:
        super().prepare(scene)
        kill(scene, "supervisor")


class CancelOfAStopped(Cancel):
    name = "cancel, supervisor stopped"
    workers = 6  # most of its time each waits for the supervisor to answer

    def prepare(self, scene: Scene) -> None:
        super().prepare(scene)
        ((_role, pid),) = scene.living("supervisor")
        os.kill(pid, signal.SIGSTOP)


class Tombstone(Cancel):
    """A cancel of a start that was never answered, and has not come."""

    name = "cancel of an unanswered start"
    unanswered = True

    def cause(self, scene: Scene) -> str:
        return "never_started"

    def prepare(self, scene: Scene) -> None:
        """Nothing is there, not even the async dir."""


class TombstoneLate(Tombstone):
    """The same, held up between two steps, while the start comes after all."""

    name = "cancel of an unanswered start that comes"
    hows = ("late",)

    def cause(self, scene: Scene) -> str:
        return "cancelled" if scene.runs() else "never_started"

    def act(self, scene: Scene) -> None:
        came: list[Job | None] = []
        job = self.cancelled(scene, self.hold_up(scene, self.asked(scene), lambda: came.append(self.start(scene))))
        assert job is not None
        assert (job["job"]["state"], job["job"]["cause"]) == ("cancelled", self.cause(scene))
        for start in came:
            assert start is not None
            assert start["started"] is bool(scene.runs())


class CancelLate(Cancel):
    """A cancel that is held up between two steps, while the job comes to its end by itself."""

    name = "cancel, overtaken by the end"
    hows = ("late",)
    stubborn = False

    def act(self, scene: Scene) -> None:
        def end() -> None:
            scene.release()
            scene.follow(lambda job: not scene.living())

        job = self.cancelled(scene, self.hold_up(scene, self.asked(scene), end))
        assert job is not None
        assert job["job"]["state"] in ("cancelled", "succeeded")

    def check(self, scene: Scene, point: Point | None) -> None:
        job = scene.both()
        # Once TERM is under way, the job may be ended in its very last step.
        assert scene.done.exists() or job["job"]["state"] == "cancelled"
        assert len(scene.runs()) == 1
        self.finale(scene, job)


class Cancelled(Cancel):
    """A supervisor that is told to end, struck from then on."""

    name = "a cancel's supervisor"
    role = "starter"
    roles = ("supervisor",)

    def prepare(self, scene: Scene) -> None:
        pass

    def act(self, scene: Scene) -> None:
        self.begin(scene)
        self.cancel(scene)

    def points(self, steps: list[list[str]]) -> list[Point]:
        waiting = next(at for at, step in enumerate(steps) if step[:2] == ["supervisor", "wait for a signal"])
        return super().points(steps[waiting:])


ALL: tuple[type[Case], ...] = (Cancel, CancelOfAnOrphan, CancelOfAStopped, Tombstone, Cancelled, TombstoneLate, CancelLate)


@pytest.mark.parametrize("case", [case() for case in ALL], ids=lambda case: case.name)
def test_cancel(case: Case, core: Core) -> None:
    faults = walk(case, core)
    assert not faults, "\n" + "\n".join(faults)
