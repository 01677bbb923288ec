# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S48 beside the walk: real processes that race each other, and a reboot between the payload's end and its commit."""

from __future__ import annotations

import json
import random
import time
import typing as t

import pytest
from ansible_collections.longhaul.jobs.tests.crash_walk.cases import JobCase, kill
from ansible_collections.longhaul.jobs.tests.crash_walk.scene import ENDED, Core, Scene, a_scene
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Job, wait_for

ROUNDS = 20
CANCEL = {"signal": 15, "grace": 0.2, "reason": None, "by": "pytest"}


class Race(JobCase):
    def __init__(self, module: bool = False) -> None:
        self.module = module

    def request(self, scene: Scene) -> tuple[dict[str, t.Any], bytes]:
        if not self.module:
            return super().request(scene)
        payload, data = scene.module()
        return scene.start_request(payload, jid=scene.jid, module="test.module"), data


def answers(scene: Scene, *requests: dict[str, t.Any]) -> list[Job]:
    """Carry out these requests at once; the job results, in that order."""
    replies = [scene.hear(process) for process in [scene.launch(request) for request in requests]]
    assert all(reply and "error" not in reply for reply in replies), replies
    return [reply["jobs"][0] for reply in replies if reply]


def test_two_cancellers(core: Core) -> None:
    for _round in range(ROUNDS):
        with a_scene(core) as scene:
            case = Race()
            case.begin(scene)
            cancel = scene.request("cancel", [scene.jid], options=CANCEL)
            first, second = answers(scene, cancel, cancel)
            assert sorted((first.pop("changed"), second.pop("changed"))) == [False, True]
            assert (first.pop("failed"), second.pop("failed")) == (False, False)
            job = scene.follow(lambda _job: scene.rank == ENDED and not scene.living())
            assert job["job"]["state"] == "cancelled"
            for answer in (first, second):  # which leave out what the command has left
                scene.judge({**answer, "rc": job["rc"], "stdout": job["stdout"]}, set())
            case.finale(scene, job)


def test_two_cleaners(core: Core) -> None:
    for _round in range(ROUNDS):
        with a_scene(core) as scene:
            case = Race()
            case.begin(scene)
            scene.release()
            scene.follow(lambda _job: scene.rank == ENDED and not scene.living())
            cleanup = scene.request("status", [scene.jid], options={"mode": "cleanup"})
            both = answers(scene, cleanup, cleanup)
            assert [answer for answer in both if "erased" in answer], both
            case.removed(scene)


def test_cleanup_against_an_end(core: Core) -> None:
    """Refused of a running job, and of an ended one carried out: nothing between."""
    outcomes = set()
    for nth in range(ROUNDS):
        with a_scene(core) as scene:
            case = Race()
            case.begin(scene)
            process = scene.launch(scene.request("status", [scene.jid], options={"mode": "cleanup"}))
            if nth:
                time.sleep(0.003 * nth)  # about as long as the program needs to come to its look
                scene.release()
            reply = scene.hear(process)
            if not nth:
                scene.release()
            assert reply is not None
            erased = "erased" in reply["jobs"][0]
            outcomes.add(erased)
            if not erased:
                assert reply["jobs"][0]["failed"] is True
                scene.follow(lambda _job: scene.rank == ENDED and not scene.living())
                assert scene.both()["job"]["state"] == "succeeded"
                assert "erased" in scene.status(scene.jid, mode="cleanup")
            wait_for(lambda: not scene.living())
            case.removed(scene)
    assert False in outcomes  # the first for certain, since it was released behind the reply


def test_cores_cleanup_against_an_end(core: Core) -> None:
    """Core removes the job file alone, and also that of a running job: its end then stands in a new one, or was cleaned away."""
    for nth in range(ROUNDS):
        with a_scene(core) as scene:
            case = Race()
            case.begin(scene)
            scene.release()
            time.sleep(0.0005 * nth)
            answer = core.ask(scene.spool, scene.jid, mode="cleanup")
            assert answer["erased"] == str(scene.results)
            scene.removing = True
            job = scene.follow(lambda _job: not scene.living())
            if scene.results.exists():
                assert job["job"]["state"] == "succeeded"
                case.finale(scene, job)
                continue
            assert job["job"]["state"] == "unknown"
            assert scene.ask_core()["msg"] == "could not find job"
            late = case.start(scene, attempt=2)
            assert late is not None
            assert late["job"]["state"] == "unknown"
            assert len(scene.runs()) == 1


# Where the reboot comes: the end is written wholly, by half, or not at all.
WHOLE, HALF, NOTHING = ("rename JID.d/end.new -> JID", "before"), ("write JID.d/end.new", "torn"), ("write JID.d/end.new", "before")
LOST = ("lost", "host_rebooted")
DONE = ("succeeded", "exited")


@pytest.mark.parametrize(
    ("module", "point", "end"),
    [(False, WHOLE, DONE), (False, HALF, LOST), (False, NOTHING, LOST), (True, WHOLE, DONE), (True, HALF, DONE), (True, NOTHING, DONE)],
)
def test_a_reboot_before_the_commit(core: Core, module: bool, point: tuple[str, str], end: tuple[str, str]) -> None:
    with a_scene(core) as scene:
        case = Race(module)
        scene.strike = ["supervisor", point[0], 1, point[1]]
        case.begin(scene)
        scene.release()
        wait_for(lambda: not scene.living())
        record = json.loads((scene.directory / "job.json").read_text())
        record["boot"]["boot_id"] = "another"
        (scene.directory / "job.json").write_text(json.dumps(record))
        assert len(scene.notes("struck")) == 1
        job = scene.both()
        assert (job["job"]["state"], job["job"]["cause"]) == end
        case.finale(scene, job)


def test_a_cancel_of_what_is_not_yet_executed(core: Core) -> None:
    """The supervisor dies while the payload's process has not come to its exec: a cancel ends that too."""
    with a_scene(core) as scene:
        case = Race()
        request, payload = case.request(scene)
        scene.strike = ["payload", "exec", 1, "late"]
        process = scene.launch(request, payload)
        wait_for(lambda: scene.notes("struck"))
        kill(scene, "supervisor")
        (cancelled,) = answers(scene, scene.request("cancel", [scene.jid], options=CANCEL))
        assert (cancelled["job"]["state"], cancelled["changed"]) == ("cancelled", True)
        assert scene.living() == set()
        started = case.started(scene, scene.hear(process))
        assert started is not None
        assert started["job"]["state"] == "cancelled"
        assert scene.runs() == []
        case.finale(scene, scene.both())


def test_starts_at_once(core: Core) -> None:
    """Four attempts of one start at the same time: one payload, and the same answer."""
    for _round in range(ROUNDS // 2):
        with a_scene(core) as scene:
            case = Race()
            request, payload = case.request(scene)
            attempts = [request | {"attempt": nth, "ago": nth - 1.0} for nth in random.sample(range(1, 5), 4)]
            jobs = [case.started(scene, scene.hear(process)) for process in [scene.launch(each, payload) for each in attempts]]
            assert all(job is not None and job["job"]["state"] == "running" for job in jobs)
            assert len(scene.runs()) == 1
            scene.release()
            case.finale(scene, scene.follow(lambda _job: scene.rank == ENDED and not scene.living()))
