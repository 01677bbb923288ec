# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection's actions have in common: how core calls them, and what becomes of a refusal."""

from __future__ import annotations

import abc
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _core, _options


class JobsAction(ActionBase):
    """An action of this collection; `carry_out` is what it does."""

    instead: t.ClassVar[str]  # what to write instead of core's keywords `async` and `poll`, to complete a sentence

    @abc.abstractmethod
    def carry_out(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """The task's result. Raises AnsibleActionFail for a refusal, in one sentence: nothing was started, changed or removed."""

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> dict[str, t.Any]:
        """The task's result; of a refusal a failed one, since core until 2.18 tells of an exception with it."""
        self._supports_check_mode = True
        try:
            _options.refuse_keywords(self._task, self._task.action, self.instead)
            super().run(tmp, task_vars)
            return self.carry_out(task_vars)
        except AnsibleActionFail as refusal:
            return {"failed": True, "changed": False, "msg": str(refusal.message)}

    def cleanup(self, force: bool = False) -> None:
        """What core does after a task; a lost link does not take the place of the result."""
        _core.clean_up(self, force)
