# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's whole life, from its start to its end, struck between each two steps of starter, supervisor and payload (PROTOCOL 2 and 3)."""

from __future__ import annotations

import os
import subprocess
import typing as t

import pytest
from ansible_collections.longhaul.jobs.tests.crash_walk.cases import CUT, InHandshake, JobCase, no_space
from ansible_collections.longhaul.jobs.tests.crash_walk.scene import ENDED, Core, Scene
from ansible_collections.longhaul.jobs.tests.crash_walk.walk import Case, Point, walk
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Job, command, wait_for

# Steps behind the commit, until which a module's own output is kept: who is killed there leaves it to a cleanup.
LAST_STEPS = ("rename JID.d/end.new -> JID", "fsync .", "unlink JID.d/result.raw")


class Life(JobCase):
    """A command that ends by itself."""

    name = "start of a command"
    roles: tuple[str, ...] = ("starter", "middle", "supervisor", "payload")
    at_once = False  # whether the start is repeated at once, as where its link was lost

    def act(self, scene: Scene) -> None:
        self.start(scene)

    def end_it(self, scene: Scene) -> None:
        """What makes the job end."""
        scene.release()

    def settled(self, scene: Scene, job: Job, point: Point | None) -> bool:
        """Whether nothing changes any more until the job is made to end."""
        if job["finished"]:
            return not scene.living()
        if not scene.living("supervisor"):
            return job["job"]["state"] == "orphaned" and bool(scene.payloads())
        # A full disk may keep the running job file away: then the directory tells all readers but core's.
        there = scene.results.exists() or no_space(point, "write JID.d/running", "rename JID.d/running -> JID")
        return there and bool(scene.payloads())

    def check(self, scene: Scene, point: Point | None) -> None:
        scene.both(check=False)
        if self.at_once:
            self.start(scene, attempt=2)
        job = scene.follow(lambda job: self.settled(scene, job, point))
        if job["job"]["state"] == "unknown":
            assert scene.left() == [], "nothing has begun, but something is left"
            again = self.start(scene, attempt=3)
            assert again is not None
            assert again["job"]["state"] != "unknown"
            job = scene.follow(lambda job: self.settled(scene, job, point))
        job = scene.both()
        if not job["finished"]:
            self.end_it(scene)
            scene.follow(lambda job: scene.rank == ENDED)
        wait_for(lambda: not scene.living())
        job = scene.both()
        self.true_end(scene, job, point)
        self.finale(scene, job)

    def true_end(self, scene: Scene, job: Job, point: Point | None) -> None:
        """Whether the end is what has happened."""
        state, cause, runs = job["job"]["state"], job["job"]["cause"], len(scene.runs())
        assert runs <= 1, f"it has run {runs} times"
        if state == "succeeded":
            self.success(scene, job, point)
        elif cause == "never_started":
            assert runs == 0, "never started, but it has run"
            assert job["started"] is False
        elif cause == "signaled":
            assert (job["job"]["signal"], scene.done.exists()) == ("KILL", False)
            assert point is not None
            assert point.role == "payload"
        else:
            self.other_end(scene, job, point)
        if point is None or point.role in ("starter", "middle"):
            assert state == "succeeded", f"the job itself was not struck, but is {state}"

    def success(self, scene: Scene, job: Job, point: Point | None) -> None:
        stdout = job["stdout"]
        if no_space(point, "write JID.d/end.new", "fsync JID.d/end.new"):
            stdout = stdout.replace(f"\n{CUT}\n", "")
        assert (job["rc"], stdout, job["changed"]) == (0, "out\ndone", True)
        assert scene.done.exists()

    def other_end(self, scene: Scene, job: Job, point: Point | None) -> None:
        assert (job["job"]["state"], job["job"]["cause"]) == ("lost", "exit_unknown")
        assert point is not None
        assert point.role == "supervisor"
        assert point.how != "no space", "its supervisor lived: how it ended is known"
        assert job["stdout"] in ("out\ndone", "out")


class Again(Life):
    """The same, and the start is repeated at once."""

    name = "start of a command, repeated at once"
    roles = ("starter", "middle")
    hows = ("before", "after", "torn")
    at_once = True


class Late(InHandshake, Life):
    """The start is held up between two steps, and a repeat of it is carried out meanwhile; then it goes on."""

    name = "start of a command, overtaken by its repeat"
    roles: tuple[str, ...] = ("starter", "supervisor", "payload")

    def act(self, scene: Scene) -> None:
        request, payload = self.request(scene)
        again: list[subprocess.Popen[bytes]] = []
        reply = self.hold_up(scene, request, lambda: again.append(self.launch_and_wait(scene, attempt=2)), payload)
        for each in (reply, *map(scene.hear, again)):
            job = self.started(scene, each)
            assert job is not None
            self.answered(job)

    def answered(self, job: Job) -> None:
        assert (job["started"], job["finished"]) == (True, False)

    def true_end(self, scene: Scene, job: Job, point: Point | None) -> None:
        super().true_end(scene, job, None)


class Repeat(Life):
    """A repeat of the start of a job that runs."""

    name = "repeat of a start"
    roles = ("starter", "middle", "supervisor", "payload")

    def prepare(self, scene: Scene) -> None:
        self.begin(scene)

    def act(self, scene: Scene) -> None:
        self.start(scene, attempt=2)

    def true_end(self, scene: Scene, job: Job, point: Point | None) -> None:
        super().true_end(scene, job, None)


class Module(Life):
    name = "start of a module"

    def request(self, scene: Scene) -> tuple[dict[str, t.Any], bytes]:
        payload, data = scene.module()
        return scene.start_request(payload, jid=scene.jid, module="test.module"), data

    def success(self, scene: Scene, job: Job, point: Point | None) -> None:
        assert (job["answer"], job["changed"]) == (42, True)
        killed = point is not None and point.label in LAST_STEPS and point.how in ("before", "after")
        assert killed or not (scene.directory / "result.raw").exists()

    def other_end(self, scene: Scene, job: Job, point: Point | None) -> None:
        # Of a result that finds no room, it is said that it found none.
        assert no_space(point, "write JID.d/end.new", "fsync JID.d/end.new"), job
        assert (job["job"]["state"], job["job"]["cause"], job["failed"]) == ("failed", "no_space", True)


class Limit(Life):
    """A command that its time limit ends."""

    name = "start with a time limit"
    workers = 4  # half of its time each waits for the limit
    roles = ("supervisor", "payload")
    options: t.ClassVar[dict[str, t.Any]] = {"time_limit": 0.5, "grace": 0.3}
    stubborn = True

    def settled(self, scene: Scene, job: Job, point: Point | None) -> bool:
        return bool(job["finished"]) and not scene.living()

    def true_end(self, scene: Scene, job: Job, point: Point | None) -> None:
        if job["job"]["state"] == "timed_out":
            assert (len(scene.runs()), job["job"]["survivors"]) == (1, [])
        else:
            assert point is not None
            assert job["job"]["state"] != "succeeded"
            super().true_end(scene, job, point)


class NoExec(Life):
    """A command that is not there."""

    name = "start whose exec fails"
    roles = ("starter", "supervisor", "payload")

    def request(self, scene: Scene) -> tuple[dict[str, t.Any], bytes]:
        return scene.start_request(command(argv=[str(scene.folder / "nowhere")]), jid=scene.jid), b""

    def settled(self, scene: Scene, job: Job, point: Point | None) -> bool:
        return bool(job["finished"]) and not scene.living()

    def true_end(self, scene: Scene, job: Job, point: Point | None) -> None:
        assert scene.runs() == []
        if job["job"]["cause"] != "signaled":
            assert (job["job"]["state"], job["job"]["cause"], job["started"]) == ("lost", "never_started", False)
        else:
            assert point is not None
            assert point.role == "payload"


class NoExecLate(Late):
    """The same of a command that is not there: nobody may be told that it has started."""

    name = "start whose exec fails, overtaken by its repeat"
    roles = ("supervisor", "payload")
    request = NoExec.request
    settled = NoExec.settled
    true_end = NoExec.true_end

    def answered(self, job: Job) -> None:
        assert (job["job"]["cause"], job["started"], job["finished"]) == ("never_started", False, True)


class Sweep(Life):
    """A start that meets what others have left: a start that died, a mark of a removal, a removal in progress."""

    name = "sweep by a start"
    roles = ("starter",)

    def prepare(self, scene: Scene) -> None:
        scene.spool.mkdir(mode=0o700)
        for folder, name in ((".new-j2.2-0a1b2c3d", "lock"), ("j3.3.d", "removed"), (".trash-00000000", "rest")):
            (scene.spool / folder).mkdir(mode=0o700)
            (scene.spool / folder / name).write_text("{}")
            os.utime(scene.spool / folder, (1.0, 1.0))

    def wanted(self, point: Point) -> bool:
        return super().wanted(point) and ".trash" in point.label

    def finale(self, scene: Scene, job: Job) -> None:
        self.start(scene, attempt=3)
        assert [name for name in scene.left() if not name.startswith("JID")] == [], "the next sweep has not finished it"
        super().finale(scene, job)


ALL = (Life, Again, Late, Repeat, Module, Limit, NoExec, NoExecLate, Sweep)


@pytest.mark.parametrize("case", [case() for case in ALL], ids=lambda case: case.name)
def test_start(case: Case, core: Core) -> None:
    faults = walk(case, core)
    assert not faults, "\n" + "\n".join(faults)
