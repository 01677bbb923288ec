# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios have in common: how their job is started, and what must hold when all is over."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import typing as t
from pathlib import Path

from ansible_collections.longhaul.jobs.tests.crash_walk.scene import ENDED, GONE, Scene
from ansible_collections.longhaul.jobs.tests.crash_walk.walk import Case, Point
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Job, wait_for

CUT = "[longhaul.jobs: the file system was full when the job ended; output may be missing here]"


def no_space(point: Point | None, *labels: str) -> bool:
    """Whether the disk was full at one of these steps."""
    return point is not None and point.how == "no space" and point.label in labels


def kill(scene: Scene, *roles: str) -> None:
    """Kill these processes of the job, and wait until they are dead."""
    for role in roles:
        for _role, pid in scene.living(role):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not scene.living(*roles))


class JobCase(Case):
    """A scenario around one job."""

    options: t.ClassVar[dict[str, t.Any]] = {}
    stubborn = False  # whether the payload ignores TERM

    def request(self, scene: Scene) -> tuple[dict[str, t.Any], bytes]:
        return scene.start_request(scene.command(self.stubborn), jid=scene.jid, **self.options), b""

    def start(self, scene: Scene, attempt: int = 1) -> Job | None:
        """The job result of an attempt, None where no reply came, or a refusal: a sentence, and nothing has been started."""
        request, payload = self.request(scene)
        return self.started(scene, scene.run(request | {"attempt": attempt, "ago": attempt - 1.0}, payload))

    def started(self, scene: Scene, reply: dict[str, t.Any] | None) -> Job | None:
        """The job result in a start's reply, held against what is true."""
        if reply is None:
            return None
        if "error" in reply:
            scene.story.append(reply["error"])
            assert "; nothing was started" in reply["error"], reply["error"]
            self.refused(scene)
            assert scene.runs() == [], "refused, but it has run"
            return None
        job: Job = reply["jobs"][0]
        scene.judge(job, scene.living() | {("supervisor", 0)})
        if job["started"] and not job["finished"]:
            scene.told_started = True
            # A child that is killed at the exec itself cannot be told from one that is killed right behind it.
            struck = [["payload", "exec"] for role, *where in scene.notes("struck") if role == "payload" and "exec" in str(where)]
            reached = scene.notes("step") + struck
            assert any(step[:2] == ["payload", "exec"] for step in reached), "said to have started before its exec"
            wait_for(lambda: scene.runs() or not scene.living("payload"))
        return job

    def refused(self, scene: Scene) -> None:
        """Nothing is begun and nothing left where a request is refused."""
        assert not scene.directory.exists(), "refused, but the request was taken"
        wait_for(lambda: not scene.living())
        assert scene.left() == [], "refused, but something is left"

    def begin(self, scene: Scene) -> None:
        """Have the job running."""
        job = self.start(scene)
        assert job is not None
        assert job["job"]["state"] in ("running", "orphaned")

    def hold_up(
        self, scene: Scene, request: dict[str, t.Any], meanwhile: t.Callable[[], object], payload: bytes = b""
    ) -> dict[str, t.Any] | None:
        """Run what is held up where ``scene.strike`` says, and do something meanwhile; the reply of what was held up.

        Without a strike nothing is done meanwhile.
        """
        struck = scene.strike is not None
        process = scene.launch(request, payload)
        trail, role = scene.trails[-1], scene.role
        try:
            wait_for(lambda: scene.notes("struck", [trail]) or process.poll() is not None)
            if struck:
                scene.role = "starter"
                meanwhile()
        finally:
            Path(f"{trail}.go").touch()
            scene.role = role
        return scene.hear(process)

    def launch_and_wait(self, scene: Scene, attempt: int) -> subprocess.Popen[bytes]:
        """Send an attempt, and give it time; it may have to wait for who is held up, so a second is enough."""
        request, payload = self.request(scene)
        process = scene.launch(request | {"attempt": attempt, "ago": attempt - 1.0}, payload)
        until = time.monotonic() + 1.0
        wait_for(lambda: process.poll() is not None or time.monotonic() > until)
        return process

    def finale(self, scene: Scene, job: Job) -> None:
        """The job has ended, whatever harm was done: all readers say so, no start runs it again, a cleanup leaves nothing."""
        wait_for(lambda: not scene.living())
        assert scene.rank == ENDED
        assert scene.both() == job, "the end has changed"
        assert scene.status(scene.jid) == job, "asked over the wire it is another end"
        assert self.start(scene, attempt=4) == job, "a repeat has another answer"
        erased = scene.status(scene.jid, mode="cleanup")
        assert (erased["changed"], erased["erased"]) == (True, str(scene.results))
        self.removed(scene)

    def removed(self, scene: Scene) -> None:
        """The job was cleaned up: no reader finds it, a late start does not begin it anew, and what is left of it goes when it is old."""
        scene.rank = GONE
        assert scene.both()["job"]["state"] == "unknown"
        assert scene.ask_core()["msg"] == "could not find job"
        late = self.start(scene, attempt=5)
        assert late is not None
        assert (late["job"]["state"], late["started"]) == ("unknown", False)
        assert len(scene.runs()) <= 1, "it has run again"
        wait_for(lambda: not scene.living())
        assert [name for name in scene.left() if name != ".new"] == ["JID.d", "JID.d/removed"]
        scene.sweep()
        assert scene.left() == [], "not all that is left was swept"
        assert scene.processes() == []


class InHandshake(JobCase):
    """A start that is held up between two of its steps, and somebody else comes meanwhile."""

    hows = ("late",)

    def points(self, steps: list[list[str]]) -> list[Point]:
        waits = next((at for at, step in enumerate(steps) if step[:2] == ["supervisor", "wait for a signal"]), len(steps))
        return super().points(steps[:waits])
