# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts by a name, and removals of what holds one, struck between each two steps: never two jobs of a name (PROTOCOL 2, step 3)."""

from __future__ import annotations

import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _claim, _facts
from ansible_collections.longhaul.jobs.tests.crash_walk.cases import InHandshake, JobCase
from ansible_collections.longhaul.jobs.tests.crash_walk.scene import ENDED, Core, Scene, a_scene
from ansible_collections.longhaul.jobs.tests.crash_walk.test_readers import Cleanup
from ansible_collections.longhaul.jobs.tests.crash_walk.test_start import Late, Life
from ansible_collections.longhaul.jobs.tests.crash_walk.walk import Case, Point, walk
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Job, command, wait_for

NAME = "nightly"
OTHER = "j000000000002.2"  # always the same, for its steps to have the same labels


def claim(scene: Scene) -> Path:
    return Path(_claim.path(str(scene.spool), _facts.Here(), NAME))


def known(scene: Scene) -> list[str]:
    """The ids of the jobs that there are, or were."""
    return sorted(path.name[:-2] for path in scene.spool.glob("*.d"))


class Named(Life):
    """A start by a name that nobody holds."""

    name = "start by a name"
    roles = ("starter", "supervisor", "payload")
    options: t.ClassVar[dict[str, t.Any]] = {"name": NAME}

    def end_it(self, scene: Scene) -> None:
        """Before it ends: whoever starts by the name now finds it."""
        other = scene.call(scene.start_request(scene.command(), **self.options))["jobs"][0]
        assert (other["ansible_job_id"], other["job"]["attached"]) == (scene.jid, True)
        assert known(scene) == [scene.jid]
        super().end_it(scene)

    def removed(self, scene: Scene) -> None:
        super().removed(scene)
        assert not claim(scene).exists(), "the claim of a removed job is left"


class NamedLate(Late):
    """The same, held up, while a repeat of it comes."""

    name = "start by a name, overtaken by its repeat"
    roles = ("starter", "supervisor")
    options: t.ClassVar[dict[str, t.Any]] = {"name": NAME}


class SecondCase(JobCase):
    """A start by the name that the scene's job holds."""

    options: t.ClassVar[dict[str, t.Any]] = {"name": NAME}
    mode = "attach"

    def second(self, scene: Scene, attempt: int = 1) -> dict[str, t.Any]:
        """The request: for the same work, but that where it is to replace the other it notes whether it is alone."""
        payload = scene.command(self.stubborn)
        if self.mode == "replace":
            first = scene.runs()[0]
            lives = f"grep -q '^State:.[^ZX]' /proc/{first}/status 2>/dev/null && echo two >> {scene.folder}/two"
            payload = command(cmd=f"{lives}; echo $$ >> {scene.folder}/second; read x < {scene.gate}; echo second")
        again = {"attempt": attempt, "ago": attempt - 1.0}
        return scene.start_request(payload, jid=OTHER, name=NAME, if_running=self.mode, grace=0.2, **again)

    def answer(self, scene: Scene, reply: dict[str, t.Any] | None) -> Job | None:
        """The job result in the reply; None where there is none, or a refusal."""
        if reply is None:
            return None
        if "error" in reply:
            scene.story.append(reply["error"])
            assert reply["error"].endswith("nothing was started")
            assert not (scene.spool / f"{OTHER}.d").exists(), "refused, but the request was taken"
            return None
        return t.cast(Job, reply["jobs"][0])

    def prepare(self, scene: Scene) -> None:
        self.begin(scene)

    def alone(self, scene: Scene) -> None:
        assert not (scene.folder / "two").exists(), "two of one name have run at the same time"
        assert len(scene.runs()) == 1


class Attach(SecondCase):
    """It attaches."""

    name = "start by a name that is held"
    roles = ("starter", "middle", "supervisor")

    def act(self, scene: Scene) -> None:
        self.attached(scene, self.answer(scene, scene.run(self.second(scene))))

    def attached(self, scene: Scene, job: Job | None) -> None:
        if job is not None:
            assert (job["ansible_job_id"], job["job"]["attached"], job["job"]["state"]) == (scene.jid, True, "running")

    def check(self, scene: Scene, point: Point | None) -> None:
        again = self.answer(scene, scene.run(self.second(scene, attempt=2)))
        assert again is not None
        self.attached(scene, again)
        self.alone(scene)
        assert known(scene) == [scene.jid]
        assert not [path for path in scene.spool.iterdir() if OTHER in path.name]
        assert claim(scene).read_text() == f"{scene.jid}\n"
        scene.release()
        scene.follow(lambda _job: scene.rank == ENDED and not scene.living())
        self.finale(scene, scene.both())
        assert not claim(scene).exists()


class Replace(SecondCase):
    """It replaces: the first is ended for sure before the second is begun."""

    name = "start by a name that replaces"
    roles = ("starter", "middle")
    mode = "replace"
    stubborn = True

    def act(self, scene: Scene) -> None:
        self.answer(scene, scene.run(self.second(scene)))

    def check(self, scene: Scene, point: Point | None) -> None:
        self.alone(scene)
        scene.both(check=False)
        job = self.answer(scene, scene.run(self.second(scene, attempt=2)))
        assert job is not None, scene.story
        assert (job["ansible_job_id"], job["job"]["attached"]) == (OTHER, False)
        wait_for((scene.folder / "second").exists)
        self.alone(scene)
        first = scene.look()
        assert (first["job"]["state"], first["job"]["survivors"]) == ("cancelled", [])
        assert job["job"]["state"] == "running", job
        assert claim(scene).read_text() == f"{OTHER}\n"
        assert known(scene) == sorted((OTHER, scene.jid))
        scene.release()
        wait_for(lambda: scene.status(OTHER)["finished"] and not scene.living())
        end = scene.status(OTHER)
        assert end["job"]["state"] == "succeeded", end
        assert (scene.folder / "second").read_text().count("\n") == 1
        self.alone(scene)
        assert "erased" in scene.status(OTHER, mode="cleanup")
        assert not claim(scene).exists()
        assert scene.both() == first


class RaceByName(InHandshake):
    """A start by a name is held up between each two steps, and another's by the same name comes meanwhile: one job of both."""

    name = "start by a name, overtaken by another's"
    roles = ("starter", "supervisor", "payload")
    options: t.ClassVar[dict[str, t.Any]] = {"name": NAME}

    def act(self, scene: Scene) -> None:
        request, _payload = self.request(scene)
        others: list[subprocess.Popen[bytes]] = []
        reply = self.hold_up(scene, request, lambda: others.append(self.launch_other(scene)))
        jobs = [each["jobs"][0] for each in (reply, *map(scene.hear, others)) if each and "jobs" in each]
        assert len(jobs) == 1 + len(others)
        assert {job["ansible_job_id"] for job in jobs} == set(known(scene)), "not one job"
        assert len(known(scene)) == 1
        assert sum(job["job"]["attached"] for job in jobs) == len(others)
        assert all(job["started"] and not job["finished"] for job in jobs)

    def launch_other(self, scene: Scene) -> subprocess.Popen[bytes]:
        process = scene.launch(scene.start_request(scene.command(), jid=OTHER, **self.options))
        wait_for(lambda: process.poll() is not None or _waits(process.pid))
        return process

    def check(self, scene: Scene, point: Point | None) -> None:
        wait_for(lambda: len(scene.payloads()) == 1)
        assert claim(scene).read_text().strip() == known(scene)[0]
        scene.release()
        assert scene.status(known(scene)[0], hold=10)["job"]["state"] == "succeeded"
        wait_for(lambda: not scene.living())
        assert len(scene.runs()) == 1


def _waits(pid: int) -> bool:
    """Whether a process sleeps, as one that waits for another's lock does most of the time."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


class NamedCleanup(Cleanup):
    """The cleanup of an ended job that holds a name."""

    name = "cleanup of what holds a name"
    options: t.ClassVar[dict[str, t.Any]] = {"name": NAME}

    def removed(self, scene: Scene) -> None:
        super().removed(scene)
        assert not claim(scene).exists(), "the claim of a removed job is left"


class CleanupRace(Cleanup):
    """The same, held up between each two steps, and a start by the name comes meanwhile: it gets a job of its own, and keeps the name."""

    name = "cleanup of what holds a name, overtaken by a start"
    hows = ("late",)
    options: t.ClassVar[dict[str, t.Any]] = {"name": NAME}

    def wanted(self, point: Point) -> bool:
        return super().wanted(point) and not point.label.startswith("unlink names/")  # with the claim locked: whoever starts waits

    def act(self, scene: Scene) -> None:
        def start() -> None:
            begun = scene.start("sleep 60", jid=OTHER, name=NAME)
            assert (begun["ansible_job_id"], begun["job"]["attached"]) == (OTHER, False)

        job = self.cleanup(scene, self.hold_up(scene, self.asked(scene), start))
        assert job is not None
        assert "erased" in job

    def check(self, scene: Scene, point: Point | None) -> None:
        if point is not None:
            assert claim(scene).read_text() == f"{OTHER}\n", "the cleanup has taken another's claim"
            assert scene.start("sleep 60", name=NAME)["ansible_job_id"] == OTHER
            assert scene.cancel(OTHER)["job"]["state"] == "cancelled"
            assert "erased" in scene.status(OTHER, mode="cleanup")
        assert not claim(scene).exists()
        assert scene.both()["job"]["state"] == "unknown"


class PruneRace(CleanupRace):
    """The same of a prune."""

    name = "prune of what holds a name, overtaken by a start"

    def asked(self, scene: Scene) -> dict[str, t.Any]:
        options = {"keep_last": None, "max_bytes": None, "include_core": False}
        return scene.request("prune", [], options=options, jobs=None, filters={"names": [NAME]})

    def cleanup(self, scene: Scene, reply: dict[str, t.Any] | None) -> Job | None:
        assert reply is not None
        assert [job["ansible_job_id"] for job in reply["jobs"]] == [scene.jid]
        return super().cleanup(scene, {"jobs": [reply["jobs"][0] | {"erased": ""}]})


class StartRace(InHandshake):
    """A start by a name is held up between each two steps, and the ended job that held the name is cleaned up meanwhile."""

    name = "start by a name whose last job is cleaned up"
    roles = ("starter", "supervisor")
    options: t.ClassVar[dict[str, t.Any]] = {"name": NAME}

    def prepare(self, scene: Scene) -> None:
        assert scene.start("true", jid=OTHER, name=NAME, hold=10.0)["job"]["state"] == "succeeded"

    def act(self, scene: Scene) -> None:
        request, _payload = self.request(scene)
        job = self.started(scene, self.hold_up(scene, request, lambda: scene.status(OTHER, mode="cleanup")))
        assert job is not None
        assert (job["job"]["state"], job["job"]["attached"]) == ("running", False)

    def check(self, scene: Scene, point: Point | None) -> None:
        assert claim(scene).read_text() == f"{scene.jid}\n", "the cleanup has taken another's claim"
        again = scene.start_request(scene.command(), **self.options)
        reply = scene.call(again)["jobs"][0]
        assert (reply["ansible_job_id"], reply["job"]["attached"]) == (scene.jid, True)
        scene.release()
        scene.follow(lambda _job: scene.rank == ENDED and not scene.living())
        assert len(scene.runs()) == 1


ALL: tuple[type[Case], ...] = (Named, NamedLate, Attach, Replace, RaceByName, NamedCleanup, CleanupRace, PruneRace, StartRace)


@pytest.mark.parametrize("case", [case() for case in ALL], ids=lambda case: case.name)
def test_name(case: Case, core: Core) -> None:
    faults = walk(case, core)
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("is_there", [True, False])
def test_who_attaches_waits_for_the_exec(core: Core, is_there: bool) -> None:
    """The starter dies, which frees its claim, while its supervisor is still in the handshake: its job may never start."""
    with a_scene(core) as scene:
        payload = scene.command() if is_there else command(argv=[str(scene.folder / "nowhere")])
        scene.strike = ["supervisor", "fork", 1, "late"]
        first = scene.launch(scene.start_request(payload, jid=scene.jid, name=NAME))
        trail = scene.trails[-1]
        wait_for(lambda: scene.notes("struck"))
        first.kill()
        scene.hear(first)
        second = scene.launch(scene.start_request(payload, jid=OTHER, name=NAME))
        until = time.monotonic() + 1.0
        wait_for(lambda: second.poll() is not None or time.monotonic() > until)
        assert second.poll() is None, "it was told of a job that had not started yet"
        Path(f"{trail}.go").touch()
        reply = scene.hear(second)
        assert reply is not None
        job = reply["jobs"][0]
        expected = (scene.jid, True, "running", True) if is_there else (OTHER, False, "lost", False)
        assert (job["ansible_job_id"], job["job"]["attached"], job["job"]["state"], job["started"]) == expected
        scene.release()
        wait_for(lambda: not scene.living())
        assert len(scene.runs()) == is_there
