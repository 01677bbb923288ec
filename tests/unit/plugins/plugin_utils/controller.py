# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller without hosts: what the tests of this folder, and of the actions, put in the place of core and of the engine."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _core
from ansible_collections.longhaul.jobs.plugins.plugin_utils._schedule import Clock

JID = "j123456789012.3456"
TASK_VARS: dict[str, t.Any] = {"inventory_hostname": "web1", "hostvars": {}, "ansible_facts": {}}


class TurnedClock(Clock):
    """Sleeps without waiting."""

    def __init__(self) -> None:
        self.time = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def task(**fields: t.Any) -> t.Any:
    """A task without a play."""
    known: dict[str, t.Any] = {
        "delegate_to": None,
        "check_mode": False,
        "no_log": False,
        "until": [],
        "environment": [{"A": "b"}],
        "vars": {},
        "args": {},
    }
    known.update(async_val=0, poll=15, action="longhaul.jobs.async_start", _uuid="a task")
    return types.SimpleNamespace(**{**known, **fields})


def action(**fields: t.Any) -> t.Any:
    """An action of that task; core's part of it is what `core` puts there."""
    templar = types.SimpleNamespace(template=lambda value: value)
    return types.SimpleNamespace(_task=task(**fields), _templar=templar)


def entry(jid: str = JID, state: str = "running", **fields: t.Any) -> dict[str, t.Any]:
    """What the engine tells of a job."""
    ended = state not in ("running", "orphaned")
    job = {"schema": 1, "jid": jid, "state": state, "cause": "exited" if ended else None, "no_log": False, "core": False}
    job.update(fields.pop("job", {}))
    return {"ansible_job_id": jid, "started": True, "finished": ended, "results_file": f"/a/{jid}", "job": job, **fields}


class Engine:
    """Answers in the place of the engine, one after the other; an exception among the answers is raised."""

    def __init__(self, *answers: t.Any) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, t.Any]] = []

    def ask(self, verb: str, jobs: list[dict[str, t.Any]], options: dict[str, t.Any], **more: t.Any) -> list[dict[str, t.Any]]:
        self.asked.append({"verb": verb, "jobs": jobs, "options": options, **more})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return t.cast("list[dict[str, t.Any]]", answer if isinstance(answer, list) else [answer])


class Far(Engine):
    """A Remote that leads to such an engine."""

    def __init__(self, *answers: t.Any, host: str = "web1") -> None:
        super().__init__(*answers)
        self.host = host
        self.action = action()
        self.task_vars = dict(TASK_VARS)
        self.facts: dict[str, str] = {}
        self.warnings: list[str] = []
        self.task_key = ("a task", host)
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def clean(_action: t.Any, document: t.Any, _task_vars: t.Any) -> tuple[dict[str, t.Any], dict[str, t.Any] | None, list[str]]:
    """In the place of core's cleaning, which has tests of its own."""
    found = {key: value for key, value in document.items() if not key.startswith("_ansible")}
    return found, found.pop("ansible_facts", None), found.pop("warnings", [])


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """Core's part of an action; tests change what it answers."""
    answers = types.SimpleNamespace(refusal=None, direct=None, sent=[], interpreter=(["/usr/bin/python3"], {}, []), closed=0)
    monkeypatch.setattr(_core, "refusal", lambda _action: answers.refusal)
    monkeypatch.setattr(_core, "direct_ok", lambda _action: answers.direct)
    monkeypatch.setattr(_core, "shell_async_dir", lambda _action: "~/.ansible_async")
    monkeypatch.setattr(_core, "interpreter", lambda _action, _vars: answers.interpreter)
    monkeypatch.setattr(_core, "clean", clean)
    monkeypatch.setattr(_core, "environment", lambda _action: {"A": "b"})
    monkeypatch.setattr(_core, "defaults", lambda _action, _fqcn, args: dict(args))
    monkeypatch.setattr(_core, "close", lambda _action: setattr(answers, "closed", answers.closed + 1))
    return answers


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is displayed at once."""
    from ansible.utils.display import Display

    texts: list[str] = []
    monkeypatch.setattr(Display, "display", lambda _self, text, **_more: texts.append(text))
    return texts
