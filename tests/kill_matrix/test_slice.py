# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thin slice of the kill matrix (S5): one trial of every leaf, by a limit with the supervisor alive and a cancel with it dead."""

from __future__ import annotations

import concurrent.futures
import typing as t

import pytest
from ansible_collections.longhaul.jobs.tests.kill_matrix import trials
from ansible_collections.longhaul.jobs.tests.kill_matrix.trials import LEAVES, Ground, Leaf, Situation

SLICE = (Situation("limit", "alive"), Situation("cancel", "dead"))


@pytest.fixture(scope="module")
def place() -> t.Iterator[Ground]:
    """A ground for all the trials."""
    with trials.ground() as one:
        yield one


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.name)
def test_nothing_survives_that_may_be_signalled(leaf: Leaf, place: Ground) -> None:
    if why := trials.missing(leaf):
        pytest.skip(why)
    cells = [(owner, situation) for owner in trials.owners() for situation in SLICE]
    with concurrent.futures.ThreadPoolExecutor(1 if leaf.forks else len(cells)) as pool:
        outcomes = list(pool.map(lambda cell: trials.trial(leaf, cell[0], cell[1], place), cells))
    for (owner, situation), outcome in zip(cells, outcomes, strict=True):
        assert not outcome.faults, f"{owner.name}, {situation}"
        assert (outcome.killable, outcome.listed) == (0, outcome.others)
