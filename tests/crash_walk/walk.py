# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The walk: what a scenario does is done once without harm, which names its steps; then once for each point, with the harm done there."""

from __future__ import annotations

import dataclasses
import os
import traceback
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.longhaul.jobs.tests.crash_walk.scene import Core, Scene, a_scene

EVERY = int(os.environ.get("LONGHAUL_WALK_EVERY", "1"))  # try only every so manieth point


@dataclasses.dataclass(frozen=True)
class Point:
    """Where in the protocol what happens: ``how`` is before, after, torn (half written, then killed), no space, or late (held up)."""

    role: str
    label: str
    nth: int
    how: str

    def __str__(self) -> str:
        return f"{self.role}: {self.how} {self.label}{f' #{self.nth}' if self.nth > 1 else ''}"


class Case:
    """A scenario. ``role`` is who the struck program is, ``roles`` whose points are tried."""

    name = ""
    role = "starter"
    roles: tuple[str, ...] = ()
    workers = 2
    hows: tuple[str, ...] = ("before", "after", "torn", "no space")

    def prepare(self, scene: Scene) -> None:
        """What is there before."""

    def act(self, scene: Scene) -> None:
        """What is struck: the program that ``scene.strike`` is meant for, and on to where all the points of ``roles`` lie behind."""
        raise NotImplementedError

    def check(self, scene: Scene, point: Point | None) -> None:
        """Whether all that is said and left is true and as it has to be; without a point: that no harm was done."""
        raise NotImplementedError

    def wanted(self, point: Point) -> bool:
        """Whether to try this point."""
        return point.role in self.roles and point.how in self.hows

    def points(self, steps: list[list[str]]) -> list[Point]:
        """The points of what was done without harm, step by step."""
        found = []
        for role, label, nth, kind in steps:
            if nth == "1" or not label.startswith(("kill ", "reap", "wait ")):  # how often these come, chance decides
                found += [Point(role, label, int(nth), how) for how in _hows(kind)]
        return [point for point in found if self.wanted(point)]


def _hows(kind: str) -> tuple[str, ...]:
    """What may happen at a step of that kind."""
    return {
        "writes": ("late", "before", "torn", "no space"),
        "replies": ("late", "before", "torn"),
        "makes": ("late", "before", "after", "no space"),
        "execs": ("late", "before"),
    }.get(kind, ("late", "before", "after"))


@dataclasses.dataclass
class Tally:
    """Of one scenario and role."""

    points: int = 0
    tried: int = 0
    passed: int = 0


TALLIES: dict[tuple[str, str], Tally] = {}


def walk(case: Case, core: Core) -> list[str]:
    """Try the points of a scenario; what went wrong, a text for each point that failed."""
    points: list[Point] = []
    fault = _try(case, core, None, points)
    if fault:
        return [fault]
    for point in points:
        TALLIES.setdefault((case.name, point.role), Tally()).points += 1
    chosen = points[::EVERY]
    with ThreadPoolExecutor(case.workers) as pool:
        faults = list(pool.map(lambda point: _try(case, core, point), chosen))
    for point, fault in zip(chosen, faults, strict=True):
        tally = TALLIES[case.name, point.role]
        tally.tried += 1
        tally.passed += not fault
    return [fault for fault in faults if fault]


def _try(case: Case, core: Core, point: Point | None, points: list[Point] | None = None) -> str:
    """What went wrong at that point, empty for nothing; without one: list the points."""
    with a_scene(core) as scene:
        try:
            case.prepare(scene)
            scene.role = case.role
            scene.strike = [point.role, point.label, point.nth, point.how] if point else None
            struck = len(scene.trails)
            case.act(scene)
            scene.role = "starter"
            case.check(scene, point)
            trails = scene.trails[struck:]
            if point:
                assert scene.notes("struck", trails[:1]), "the point was not reached"
                assert len(scene.notes("struck", trails)) == 1, "struck twice"
            elif points is not None:
                points += case.points(scene.notes("step", trails[:1]))
        except Exception as fault:
            frames = [frame for frame in traceback.extract_tb(fault.__traceback__) if "crash_walk" in frame.filename]
            where = " ".join(f"{frame.name}:{frame.lineno}" for frame in frames)
            return f"{case.name}: {point or 'without harm'}: {type(fault).__name__}: {fault}\n    in {where}\n    {scene.story}"
    return ""
