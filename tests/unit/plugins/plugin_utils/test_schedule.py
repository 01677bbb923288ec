# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time: a clock that the test turns itself."""

from __future__ import annotations

from ansible_collections.longhaul.jobs.plugins.plugin_utils._schedule import Clock, Patience, Rhythm
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import TurnedClock


def test_real_clock_goes_on() -> None:
    clock = Clock()
    before = clock.now()
    clock.sleep(0.001)
    assert clock.now() > before


def test_patience_counts_from_the_first_miss_of_a_row_over_objects() -> None:
    clock = TurnedClock()
    key = object()
    assert Patience(key, 10, clock).missed(clock.now())
    clock.time += 9
    assert Patience(key, 10, clock).missed(clock.now())
    Patience(key, 10, clock).answered()
    clock.time += 9
    assert Patience(key, 10, clock).missed(clock.now())
    clock.time += 10
    assert not Patience(key, 10, clock).missed(clock.now())
    assert Patience(object(), 10, clock).missed(clock.now())


def test_without_patience_the_first_miss_is_enough() -> None:
    clock = TurnedClock()
    assert not Patience(object(), 0, clock).missed(clock.now())


def test_looks_begin_an_interval_apart_however_long_they_take() -> None:
    clock = TurnedClock()
    rhythm = Rhythm(30, clock)
    assert rhythm.hold == 20
    clock.time += 20
    rhythm.wait()
    clock.time += 45
    rhythm.wait()
    clock.time += 1
    rhythm.wait()
    assert clock.slept == [10, 29]


def test_a_missed_look_is_tried_again_sooner() -> None:
    clock = TurnedClock()
    rhythm = Rhythm(600, clock)
    for _look in range(6):
        rhythm.wait_after_miss()
    assert clock.slept == [1, 2, 4, 8, 15, 15]
    short = Rhythm(2, clock)
    for _look in range(3):
        short.wait_after_miss()
    assert clock.slept[-3:] == [1, 2, 2]
    assert short.hold == 2


def test_looks_become_rarer_and_none_is_later_than_it_has_to_be() -> None:
    clock = TurnedClock()
    rhythm = Rhythm(4, clock, growth=1.5, most=10)
    for _look in range(4):
        rhythm.wait()
    rhythm.wait(clock.time + 3)
    rhythm.wait_after_miss(clock.time + 0.5)
    rhythm.wait_after_miss(clock.time - 1)
    assert clock.slept == [4, 6, 9, 10, 3, 0.5]
