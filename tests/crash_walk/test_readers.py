# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks that have to write an end, and cleanups, struck between each two of their steps (PROTOCOL 3, "Verdict" and "Prune, cleanup")."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.longhaul.jobs.tests.crash_walk.cases import CUT, JobCase, kill, no_space
from ansible_collections.longhaul.jobs.tests.crash_walk.scene import ENDED, GONE, Core, Scene
from ansible_collections.longhaul.jobs.tests.crash_walk.walk import Case, Point, walk
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Job, wait_for


class Look(JobCase):
    """A look at a job that was killed with its supervisor."""

    name = "look at a killed job"
    role = "reader"
    roles = ("reader",)
    ends: t.ClassVar[set[tuple[str, str]]] = {("lost", "exit_unknown")}
    mode = "status"

    def prepare(self, scene: Scene) -> None:
        self.begin(scene)
        kill(scene, "supervisor", "payload")

    def asked(self, scene: Scene) -> dict[str, t.Any]:
        return scene.request("status", [scene.jid], options={"mode": self.mode})

    def answered(self, scene: Scene, reply: dict[str, t.Any] | None) -> Job | None:
        """The job result in the reply, held against what is true."""
        if reply is None:
            return None
        assert "error" not in reply, reply
        job: Job = reply["jobs"][0]
        if scene.rank != GONE:  # else it was asked before
            scene.judge(job, scene.living())
        return job

    def act(self, scene: Scene) -> None:
        self.answered(scene, scene.run(self.asked(scene)))

    def check(self, scene: Scene, point: Point | None) -> None:
        job = scene.both()
        assert scene.rank == ENDED
        if no_space(point, "write JID.d/end.new", "fsync JID.d/end.new"):
            self.no_space(job)
        else:
            assert (job["job"]["state"], job["job"]["cause"]) in self.ends, job
            self.true_end(scene, job)
        self.finale(scene, job)

    def true_end(self, scene: Scene, job: Job) -> None:
        assert (job["stdout"], scene.done.exists()) == ("out", False)

    def no_space(self, job: Job) -> None:
        """Whether an end that was cut says so."""
        assert (job["job"]["state"], job["job"]["cause"]) in self.ends
        assert job["stdout"].endswith(f"\n{CUT}\n")


class LookLate(Look):
    """The same, held up, and another looks and another cleans up meanwhile: neither may wait for long, or write."""

    name = "look at a killed job, overtaken by others"
    hows = ("late",)

    def act(self, scene: Scene) -> None:
        def others() -> None:
            scene.look()
            cleanup = scene.status(scene.jid, mode="cleanup")
            assert ("erased" in cleanup) != bool(cleanup.get("failed")), cleanup
            if "erased" in cleanup:
                scene.rank = GONE

        self.answered(scene, self.hold_up(scene, self.asked(scene), others))

    def check(self, scene: Scene, point: Point | None) -> None:
        if scene.rank == GONE:
            self.removed(scene)
        else:
            super().check(scene, point)


class LookPastLimit(Look):
    """A look at an orphan past its limit, which it ends."""

    name = "look at an orphan past its limit"
    # Killed between the payload's end and the commit, nobody knows any more who ended it.
    ends: t.ClassVar[set[tuple[str, str]]] = {("timed_out", "time_limit"), ("lost", "exit_unknown")}
    options: t.ClassVar[dict[str, t.Any]] = {"time_limit": 0.5, "grace": 0.2}
    stubborn = True

    def prepare(self, scene: Scene) -> None:
        self.begin(scene)
        kill(scene, "supervisor")
        wait_for(lambda: scene.look(check=True)["job"]["overdue"])

    def check(self, scene: Scene, point: Point | None) -> None:
        if point is None or point.how == "no space":
            assert scene.end is not None
            assert scene.end[0] == "timed_out"
        super().check(scene, point)


class LookReady(Look):
    """A look at a job whose supervisor was killed with its end written, but not yet renamed."""

    name = "look at an end that lies ready"
    ends: t.ClassVar[set[tuple[str, str]]] = {("succeeded", "exited")}

    def prepare(self, scene: Scene) -> None:
        scene.strike = ["supervisor", "rename JID.d/end.new -> JID", 1, "before"]
        self.begin(scene)
        scene.release()
        wait_for(lambda: not scene.living())

    def true_end(self, scene: Scene, job: Job) -> None:
        assert (job["rc"], job["stdout"], scene.done.exists()) == (0, "out\ndone", True)

    def no_space(self, job: Job) -> None:
        assert (job["rc"], job["stdout"]) == (0, "out\ndone"), "it had its space"


class LookResult(Look):
    """A look at a module that came to its end without its supervisor."""

    name = "look at a module's result"
    ends: t.ClassVar[set[tuple[str, str]]] = {("succeeded", "exited")}

    def request(self, scene: Scene) -> tuple[dict[str, t.Any], bytes]:
        payload, data = scene.module()
        return scene.start_request(payload, jid=scene.jid, module="test.module"), data

    def prepare(self, scene: Scene) -> None:
        self.begin(scene)
        kill(scene, "supervisor")
        scene.release()
        wait_for(lambda: not scene.living())

    def true_end(self, scene: Scene, job: Job) -> None:
        assert (job["answer"], scene.done.exists()) == (42, True)

    def no_space(self, job: Job) -> None:
        assert (job["job"]["state"], job["job"]["cause"], job["failed"]) == ("failed", "no_space", True)


class LookNeverStarted(Look):
    """A look at a job whose starter and supervisor died in the handshake."""

    name = "look at a start that died"
    ends: t.ClassVar[set[tuple[str, str]]] = {("lost", "never_started")}

    def prepare(self, scene: Scene) -> None:
        scene.strike = ["supervisor", "fork", 1, "late"]
        request, payload = self.request(scene)
        process = scene.launch(request, payload)
        wait_for(lambda: scene.notes("struck"))
        process.kill()
        kill(scene, "supervisor")
        scene.hear(process)

    def true_end(self, scene: Scene, job: Job) -> None:
        assert scene.runs() == []

    def no_space(self, job: Job) -> None:
        assert (job["job"]["state"], job["job"]["cause"]) in self.ends


class Cleanup(Look):
    """The cleanup of an ended job."""

    name = "cleanup"
    role = "cleaner"
    roles = ("cleaner",)
    mode = "cleanup"

    def prepare(self, scene: Scene) -> None:
        self.begin(scene)
        scene.release()
        scene.follow(lambda job: scene.rank == ENDED and not scene.living())
        scene.removing = True

    def cleanup(self, scene: Scene, reply: dict[str, t.Any] | None) -> Job | None:
        if reply is None:
            return None
        if "error" in reply:
            scene.story.append(reply["error"])
            assert "No space left" in reply["error"], reply
            return None
        job: Job = reply["jobs"][0]
        if "erased" in job:
            scene.rank = GONE
        return job

    def act(self, scene: Scene) -> None:
        self.cleanup(scene, scene.run(self.asked(scene)))

    def check(self, scene: Scene, point: Point | None) -> None:
        assert point is not None or scene.rank == GONE
        first = scene.both()
        assert first["job"]["state"] in ("succeeded", "unknown")
        again = self.cleanup(scene, scene.run(self.asked(scene)))
        assert again is not None
        assert "erased" in again or again["job"]["state"] == "unknown"
        self.removed(scene)


class CleanupLate(Cleanup):
    """The same, held up, and a late repeat of the start comes meanwhile, and another cleanup."""

    name = "cleanup, overtaken by a start"
    hows = ("late",)

    def act(self, scene: Scene) -> None:
        def others() -> None:
            late = self.start(scene, attempt=2)
            assert late is not None
            assert late["job"]["state"] in ("succeeded", "unknown")
            again = scene.status(scene.jid, mode="cleanup")
            assert "erased" in again or again["job"]["state"] in ("unknown", "succeeded")

        job = self.cleanup(scene, self.hold_up(scene, self.asked(scene), others))
        assert job is not None


class CleanupWrites(Look):
    """The cleanup of a job that was killed: its end is written first."""

    name = "cleanup of a killed job"
    role = "cleaner"
    roles = ("cleaner",)
    mode = "cleanup"

    def act(self, scene: Scene) -> None:
        scene.removing = True
        reply = scene.run(self.asked(scene))
        if reply is not None and "error" not in reply and "erased" in reply["jobs"][0]:
            scene.rank = GONE

    def check(self, scene: Scene, point: Point | None) -> None:
        job = scene.both()
        assert (job["job"]["state"], job["job"]["cause"]) in {*self.ends, ("unknown", None)}
        again = scene.status(scene.jid, mode="cleanup")
        assert "erased" in again or again["job"]["state"] == "unknown"
        self.removed(scene)


ALL: tuple[type[Case], ...] = (
    Look,
    LookLate,
    LookPastLimit,
    LookReady,
    LookResult,
    LookNeverStarted,
    Cleanup,
    CleanupLate,
    CleanupWrites,
)


@pytest.mark.parametrize("case", [case() for case in ALL], ids=lambda case: case.name)
def test_reader(case: Case, core: Core) -> None:
    faults = walk(case, core)
    assert not faults, "\n" + "\n".join(faults)
