# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When to look, how long a look may stay open, how long looks may be missed. All times are seconds of a monotonic clock."""

from __future__ import annotations

import math
import time
import typing as t

LONGEST_HOLD = 20.0  # seconds that one exchange stays open for the target to answer early
LONGEST_PAUSE = 15.0  # seconds between two tries of a missed look

# When the first of the missed looks in a row was begun. A dict of the module's, because core makes a new action object for
# each attempt of `until`; the attempts of one host's task are all made in one process.
_first_missed: dict[t.Hashable, float] = {}


class Clock:
    """Time as the controller has it; tests bring their own."""

    def now(self) -> float:
        """Seconds on a clock that nobody sets."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; core's `timeout:` and Ctrl-C end it."""
        time.sleep(seconds)


class Patience:
    """For how many seconds looks at one thing may be missed in a row, told by `key`."""

    def __init__(self, key: t.Hashable, budget: float, clock: Clock) -> None:
        self._key = key
        self._budget = budget
        self._clock = clock

    def missed(self, begun: float) -> bool:
        """Note a missed look that was begun then; true while patience is left."""
        return self._clock.now() - _first_missed.setdefault(self._key, begun) < self._budget

    def answered(self) -> None:
        """Note that a look was answered."""
        _first_missed.pop(self._key, None)


class Rhythm:
    """Looks that begin every `interval` seconds, and sooner, at growing distances, while they are missed.

    Each interval is `growth` times as long as the one before, up to `most` seconds.
    """

    def __init__(self, interval: float, clock: Clock, *, growth: float = 1.0, most: float = math.inf) -> None:
        self._interval = interval
        self._clock = clock
        self._growth = growth
        self._most = max(interval, most)
        self._begun = clock.now()
        self._pause = 1.0

    @property
    def hold(self) -> float:
        """Seconds that a look may stay open."""
        return min(self._interval, LONGEST_HOLD)

    def wait(self, until: float = math.inf) -> None:
        """Sleep until the next look is due, or until then; none is left out or made up for where one took longer."""
        self._pause = 1.0
        due = self._begun + self._interval
        self._interval = min(self._interval * self._growth, self._most)
        self._sleep_until(min(due, until))

    def wait_after_miss(self, until: float = math.inf) -> None:
        """Sleep a little: 1 s, 2 s, 4 s, …, never longer than the interval or LONGEST_PAUSE, nor than until then."""
        pause = min(self._pause, LONGEST_PAUSE, max(self._interval, 1.0))
        self._pause = pause * 2
        self._sleep_until(min(self._clock.now() + pause, until))

    def _sleep_until(self, due: float) -> None:
        left = due - self._clock.now()
        if left > 0:
            self._clock.sleep(left)
        self._begun = self._clock.now()
