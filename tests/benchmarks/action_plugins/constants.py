# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action that returns what stands in a file, read when it is loaded: what a task with such a result costs core by itself."""

from __future__ import annotations

import json
import os
import typing as t

from ansible.plugins.action import ActionBase

with open(os.environ["LONGHAUL_CONSTANTS"], encoding="utf-8") as _stream:
    RESULT: dict[str, t.Any] = json.load(_stream)


class ActionModule(ActionBase):
    """constants"""

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> dict[str, t.Any]:
        """What was read."""
        super().run(tmp, task_vars)
        return RESULT
