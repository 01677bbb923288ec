# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what a run's callbacks are told, one JSON object a line, to the file that LONGHAUL_EVENTS names."""

from __future__ import annotations

import json
import os
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: events
type: notification
short_description: What callbacks are told
description: For the scenario tests of longhaul.jobs.
author: The longhaul.jobs authors (@longhaul)
"""


class CallbackModule(CallbackBase):
    """One line for each result, with its kind: ok, failed, unreachable, skipped, retry; those of loop items with item_ before it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "events"
    CALLBACK_NEEDS_ENABLED = False

    def _tell(self, kind: str, result: t.Any) -> None:
        event = {"kind": kind, "task": result._task.name, "host": result._host.get_name(), "result": result._result}
        with open(os.environ["LONGHAUL_EVENTS"], "a") as stream:
            stream.write(json.dumps(event, default=str) + "\n")

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._tell("ok", result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._tell("failed", result)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._tell("unreachable", result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._tell("skipped", result)

    def v2_runner_retry(self, result: t.Any) -> None:
        self._tell("retry", result)

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        self._tell("item_ok", result)

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        self._tell("item_failed", result)
