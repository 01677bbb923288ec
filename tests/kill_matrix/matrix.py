# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kill matrix: every leaf in every situation, as root and as a user, with core's own limit beside it (SCENARIOS, S5).

Cells are made side by side, for a trial mostly waits; what forks on has the machine to itself.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import statistics
import sys
import threading
import time
import typing as t

from ansible_collections.longhaul.jobs.tests.kill_matrix import core_limit, trials
from ansible_collections.longhaul.jobs.tests.kill_matrix.trials import LEAVES, SITUATIONS, Ground, Leaf, Outcome, Owner, Situation

TRIALS, CORE_TRIALS = 10, 3
SIDE_BY_SIDE = 6
CORE = Situation("core's limit", "")
Key = tuple[Leaf, Owner, Situation]


@dataclasses.dataclass
class Cell:
    """The trials of one leaf in one situation."""

    leaf: Leaf
    owner: Owner
    situation: Situation
    outcomes: list[Outcome] = dataclasses.field(default_factory=list)

    @property
    def key(self) -> Key:
        return self.leaf, self.owner, self.situation

    def __str__(self) -> str:
        """Survivors/trials, median/worst seconds: ``0/10 0.34/0.52s``; ``+20`` for listed others, ``hole`` for what is known."""
        lost = sum(bool(one.killable) for one in self.outcomes)
        seconds = [one.seconds for one in self.outcomes]
        text = f"{lost}/{len(self.outcomes)} {statistics.median(seconds):.2f}/{max(seconds):.2f}s".replace("infs", "never")
        others, holes = self.total("others"), self.total("hole")
        return text + (f" +{others}" if others else "") + (f" hole {holes}" if holes else "")

    def total(self, figure: str) -> int:
        """Sum of one of the outcomes' figures."""
        return sum(getattr(one, figure) for one in self.outcomes)

    def faults(self) -> list[str]:
        """What is wrong, in sentences; core's survivors are no faults of ours."""
        where = f"{self.owner.name}, {self.leaf.name}, {self.situation}"
        return [f"{where}: {fault}" for one in self.outcomes for fault in one.faults]


class Matrix:
    """All the cells, made on one ground."""

    def __init__(self, place: Ground, count: int = TRIALS, core_count: int = CORE_TRIALS) -> None:
        self.place = place
        self.count = count
        self.core_count = core_count
        self.core = core_limit.Core(place) if core_count else None
        self.owners = trials.owners()
        self.skipped = {leaf.name: why for leaf in LEAVES if (why := trials.missing(leaf))}
        self.leaves = [leaf for leaf in LEAVES if leaf.name not in self.skipped]
        self.cells: dict[Key, Cell] = {}
        self.stopped = threading.Event()

    def run(self) -> None:
        """Make all the trials; a line for each cell to the standard error."""
        columns = [*SITUATIONS, CORE] if self.core else list(SITUATIONS)
        cells = [Cell(leaf, owner, column) for leaf in self.leaves for owner in self.owners for column in columns]
        self.cells = {cell.key: cell for cell in cells}
        for forks, workers in ((False, SIDE_BY_SIDE), (True, 1)):
            with concurrent.futures.ThreadPoolExecutor(workers) as pool:
                try:
                    for future in [pool.submit(self._fill, cell) for cell in cells if cell.leaf.forks == forks]:
                        future.result()
                except BaseException:
                    self.stopped.set()  # trials that are under way clean up after themselves
                    raise

    def _fill(self, cell: Cell) -> None:
        count = self.core_count if cell.situation == CORE else self.count
        for _number in range(count):
            if self.stopped.is_set():
                return
            if cell.situation == CORE and self.core:
                outcome = core_limit.trial(cell.leaf, cell.owner, self.core)
            else:
                outcome = trials.trial(cell.leaf, cell.owner, cell.situation, self.place)
            cell.outcomes.append(outcome)
        print(f"{cell.owner.name:5}{cell.leaf.name:22}{cell.situation!s:22}{cell}", file=sys.stderr, flush=True)

    def table(self) -> t.Iterator[str]:
        """The tables of root and the user, line by line, what is wrong, and the closing line."""
        beside = f"; core {self.core.version}'s own limit, {self.core_count} trials" if self.core else ""
        yield f"{self.count} trials a cell, limit {trials.LIMIT:g} s, grace {trials.GRACE:g} s{beside}."
        yield "A cell: trials with a survivor that may be signalled (core's: with any)/trials, median/worst seconds to the answer,"
        yield "from the limit or the call that ended the job; +N survivors that may not be signalled, hole N those of the one known hole."
        for owner in self.owners:
            yield ""
            yield from self._rows(owner)
        yield ""
        for name, why in self.skipped.items():
            yield f"skipped: {name}: {why}"
        if len(self.owners) == 1:
            yield "skipped: root's half: needs root"
        anew = sum(cell.total("anew") for cell in self.cells.values())
        if anew:
            yield f"made anew, since the leaf came later than the limit: {anew} trials"
        faults = [fault for cell in self.cells.values() for fault in cell.faults()]
        yield from (f"WRONG: {fault}" for fault in faults)
        yield self.closing()

    def _rows(self, owner: Owner) -> list[str]:
        columns = [*SITUATIONS, *([CORE] if self.core else [])]
        rows = [[f"as {owner.name}", *map(str, columns)]]
        rows += [[leaf.name, *(str(self.cells[leaf, owner, column]) for column in columns)] for leaf in self.leaves]
        widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
        return ["".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]

    def closing(self) -> str:
        """The figures over all cells but core's."""
        ours = [cell for cell in self.cells.values() if cell.situation != CORE]

        def total(figure: str) -> int:
            return sum(cell.total(figure) for cell in ours)

        made, killable, others, listed, hole = map(total, ("made", "killable", "others", "listed", "hole"))
        count = sum(len(cell.outcomes) for cell in ours)
        return (
            f"kill matrix: {count} trials, {made} processes made, may be signalled and survived: {killable}, "
            f"others listed: {listed} of {others}, known hole: {hole}"
        )

    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not any(cell.faults() for cell in self.cells.values())


def main(count: int, core_count: int) -> int:
    """Make the matrix and print its table; the exit status."""
    began = time.monotonic()
    with trials.ground() as place:
        matrix = Matrix(place, count, core_count)
        matrix.run()
    for line in matrix.table():
        print(line)
    print(f"{time.monotonic() - began:.0f} s", flush=True)
    return 0 if matrix.good() else 1
