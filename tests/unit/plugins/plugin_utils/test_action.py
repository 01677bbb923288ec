# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all actions have in common."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.longhaul.jobs.plugins.plugin_utils._action import JobsAction
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import task


class Refusing(JobsAction):
    instead = "use something else"

    def carry_out(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        raise AnsibleActionFail("no")


def test_refusals_are_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActionBase, "run", lambda _self, *_args: {})
    action: t.Any = Refusing.__new__(Refusing)
    action._task = task()
    assert action.run() == {"failed": True, "changed": False, "msg": "no"}
