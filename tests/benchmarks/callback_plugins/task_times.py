# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the milliseconds of each task on one host, by the task's name, to the file that LONGHAUL_TASK_TIMES names."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: task_times
type: aggregate
short_description: Times of tasks
description: For the benchmarks of longhaul.jobs.
author: The longhaul.jobs authors (@longhaul)
"""


class CallbackModule(CallbackBase):
    """From a task's start to its result, core's own part included."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, list[float]] = {}
        self.begun = 0.0

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self.begun = time.perf_counter()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self.times.setdefault(result._task.name, []).append((time.perf_counter() - self.begun) * 1000)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        with open(os.environ["LONGHAUL_TASK_TIMES"], "w") as stream:
            json.dump(self.times, stream)
