# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the milliseconds of each loop item, by the task's name, to the file that LONGHAUL_ITEM_TIMES names.

They are counted from the item before, less the rest between the two (LONGHAUL_ITEM_REST, in seconds).
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: item_times
type: aggregate
short_description: Times of loop items
description: For the benchmarks of longhaul.jobs.
author: The longhaul.jobs authors (@longhaul)
"""


class CallbackModule(CallbackBase):
    """The first item of a loop is left out: it has the task's own start in it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "item_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, list[float]] = {}
        self.before: dict[str, float] = {}
        self.rest = float(os.environ["LONGHAUL_ITEM_REST"])

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        now = time.perf_counter()
        task = result._task
        if task._uuid in self.before:
            rest = self.rest if task.loop_control and task.loop_control.pause else 0.0
            self.times.setdefault(task.name, []).append((now - self.before[task._uuid] - rest) * 1000)
        self.before[task._uuid] = now

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        raise AssertionError(f"an item of {result._task.name} failed: {result._result}")

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        with open(os.environ["LONGHAUL_ITEM_TIMES"], "w") as stream:
            json.dump(self.times, stream)
