# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One exchange: which way it goes, what of its answers is an answer."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.longhaul.jobs.plugins.module_utils import _boot
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _core, _program, _reply
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import JID, TASK_VARS, action, core, entry

__all__ = ["core"]
REPLY: dict[str, t.Any] = {"schema": 1, "jobs": [entry()], "warnings": []}
JOBS = [{"jid": JID}]


class Target:
    """The other end of _core.send."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, reply: t.Any = None, **answer: t.Any) -> None:
        self.answer = {"rc": 0, "stdout": None, "stderr": "", **answer}
        self.reply = REPLY if reply is None else reply
        self.calls: list[tuple[str, float]] = []
        self.requests: list[dict[str, t.Any]] = []
        monkeypatch.setattr(_core, "send", self.send)
        monkeypatch.setattr(_program, "build", self.build)

    def build(self, verb: str, request: dict[str, t.Any], nonce: str, payload: bytes) -> bytes:
        self.requests.append(json.loads(json.dumps(request)))
        self.nonce = nonce
        return payload

    def send(self, _action: t.Any, command: str, _data: bytes, deadline: float) -> dict[str, t.Any]:
        self.calls.append((command, deadline))
        if isinstance(self.reply, Exception):
            raise self.reply
        body = _boot.encode(self.reply)
        stdout = self.answer["stdout"]
        return {**self.answer, "stdout": _boot.FRAME % (self.nonce, len(body), body) if stdout is None else stdout}


def _remote(task_vars: dict[str, t.Any] | None = None, async_dir: str | None = None, **fields: t.Any) -> Remote:
    return Remote(action(**fields), {**TASK_VARS, **(task_vars or {})}, async_dir)


def test_a_reply_that_is_too_large_is_asked_for_in_parts(core: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking the same again would never help, and the host is as well as can be."""
    asked: list[list[str]] = []

    class Wordy(Target):
        def send(self, _action: t.Any, command: str, _data: bytes, deadline: float) -> dict[str, t.Any]:
            jids = [job["jid"] for job in self.requests[-1]["jobs"]]
            asked.append(jids)
            self.reply = {"schema": 1, "jobs": [{**entry(), "stdout": jid + "x" * 1000} for jid in jids], "warnings": []}
            return super().send(_action, command, _data, deadline)

    Wordy(monkeypatch)
    jobs = [{"jid": f"j1.{number}"} for number in range(5)]
    monkeypatch.setattr(_reply, "MOST", 4000)
    found = _remote().ask("status", jobs, {"mode": "status"})
    assert [one["stdout"].rstrip("x") for one in found] == [job["jid"] for job in jobs]
    assert [len(part) for part in asked] == [5, 2, 3]
    monkeypatch.setattr(_reply, "MOST", 500)
    with pytest.raises(LookMissed, match="the reply is larger"):
        _remote().ask("status", jobs[:1], {"mode": "status"})


def test_the_request(core: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(monkeypatch)
    found = _remote(check_mode=True).ask(
        "status", JOBS, {"mode": "status"}, hold=5.0, attempt=2, ago=1.5, also_in=["/b", "/b", "~/.ansible_async"]
    )
    assert found == [entry()]
    assert target.requests == [
        {
            "schema": 1,
            "verb": "status",
            "async_dirs": ["~/.ansible_async", None],
            "also_in": ["/b"],
            "jobs": JOBS,
            "filters": None,
            "options": {"mode": "status"},
            "attempt": 2,
            "ago": 1.5,
            "hold": 5.0,
            "check": True,
        }
    ]
    assert target.calls == [("/usr/bin/python3 -ISE -", 35.0)]


def test_an_explicit_async_dir_is_the_only_one(core: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(monkeypatch)
    _remote(async_dir="/x").ask("status", JOBS, {}, also_in=["/b"])
    assert (target.requests[0]["async_dirs"], target.requests[0]["also_in"]) == (["/x"], [])


def test_the_interpreter_is_found_once(core: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(monkeypatch)
    core.interpreter = (["/usr/bin/env", "python3"], {"discovered_interpreter_python": "/p"}, ["w"])
    remote = _remote()
    remote.ask("status", JOBS, {})
    remote.ask("status", JOBS, {})
    assert [command for command, _deadline in target.calls] == ["/usr/bin/env python3 -ISE -"] * 2
    assert (remote.facts, remote.warnings) == ({"discovered_interpreter_python": "/p"}, ["w"])


@pytest.mark.parametrize("reply", [{"schema": 1}, {"jobs": None}, {"jobs": []}, {"jobs": [entry(), entry()]}, {"jobs": "x"}])
def test_an_answer_to_something_else_is_a_missed_look(core: t.Any, monkeypatch: pytest.MonkeyPatch, reply: t.Any) -> None:
    Target(monkeypatch, reply)
    with pytest.raises(LookMissed):
        _remote().ask("status", JOBS, {})


@pytest.mark.parametrize("answer", [{"stdout": ""}, {"stdout": "\nLONGHAUL-REP"}, {"stdout": "", "rc": 137}])
def test_no_reply_is_a_missed_look(core: t.Any, monkeypatch: pytest.MonkeyPatch, answer: dict[str, t.Any]) -> None:
    Target(monkeypatch, **answer)
    with pytest.raises(LookMissed, match="no reply came back"):
        _remote().ask("status", JOBS, {})


def test_a_program_that_cannot_run_is_said_at_once(core: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Target(monkeypatch, stdout="", stderr="motd\nsh: /usr/bin/python3: not found\n", rc=127)
    with pytest.raises(AnsibleActionFail, match=r"/usr/bin/python3 on web1 gave no reply but rc 127, and said: .*not found"):
        _remote().ask("status", JOBS, {})


def test_what_the_target_refuses_is_one_short_sentence(core: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Target(monkeypatch, {"schema": 1, "error": "the async dir\n/x belongs\ud800 to another" + " x" * 5000})
    with pytest.raises(AnsibleActionFail) as caught:
        _remote().ask("start", JOBS, {})
    assert str(caught.value).startswith("the async dir /x belongs? to another x")
    assert len(str(caught.value)) < 2100


def test_hostile_entries_and_warnings(core: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Target(monkeypatch, {"jobs": ["x"], "warnings": [{"a": 1}, "b\nc"] * 100})
    remote = _remote()
    assert remote.ask("status", JOBS, {}) == [{}]
    assert remote.warnings[:2] == ["{'a': 1}", "b c"]
    assert len(remote.warnings) == 20


def test_who_is_asked(core: t.Any) -> None:
    assert _remote().host == "web1"
    assert _remote(delegate_to="db1").host == "db1"
    core.refusal = "the host is a Windows host"
    with pytest.raises(AnsibleActionFail, match="there are no jobs on web1: the host is a Windows host"):
        _remote()


def test_variables_are_those_of_the_host_that_is_asked(core: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(monkeypatch)
    _remote({"longhaul_look_timeout": "1m"}).ask("status", JOBS, {})
    delegated = {"longhaul_look_timeout": 5, "ansible_delegated_vars": {"db1": {"longhaul_look_timeout": 7}}}
    _remote(delegated, delegate_to="db1").ask("status", JOBS, {})
    assert [deadline for _command, deadline in target.calls] == [60.0, 7.0]
    with pytest.raises(AnsibleActionFail, match="longhaul_look_timeout: got 'soon'"):
        _remote({"longhaul_look_timeout": "soon"})
    with pytest.raises(AnsibleActionFail, match="longhaul_transport: got 'maybe'; it takes one of auto, direct, module"):
        _remote({"longhaul_transport": "maybe"})


def _by_module(remote: Remote, answer: t.Any) -> list[dict[str, t.Any]]:
    calls: list[dict[str, t.Any]] = []

    def execute(**call: t.Any) -> t.Any:
        calls.append({**call, "environment": remote.action._task.environment})
        if isinstance(answer, Exception):
            raise answer
        return answer

    remote.action._execute_module = execute
    return calls


@pytest.mark.parametrize("how", ["asked", "unable", "tty"])
def test_the_module_way(core: t.Any, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    target = Target(monkeypatch, _core.NeedsModuleWay("become needs a terminal"))
    core.direct = "the connection cannot" if how == "unable" else None
    remote = _remote({"longhaul_transport": "module"} if how == "asked" else {})
    calls = _by_module(remote, {"reply": _boot.encode(REPLY)})
    for _time in range(2):
        assert remote.ask("start", JOBS, {}, payload=b"\0payload") == [entry()]
    assert len(target.calls) == (1 if how == "tty" else 0)
    assert [call["module_name"] for call in calls] == ["longhaul.jobs.async_start"] * 2
    envelope = calls[0]["module_args"]["_longhaul"]
    assert base64.b64decode(envelope["payload"]) == b"\0payload"
    assert json.loads(envelope["request"])["jobs"] == JOBS
    assert calls[0]["environment"] == []
    assert remote.action._task.environment == [{"A": "b"}]


def test_the_direct_way_and_no_other(core: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Target(monkeypatch, _core.NeedsModuleWay("become needs a terminal"))
    with pytest.raises(AnsibleActionFail, match="longhaul_transport: got 'direct', but become needs a terminal"):
        _remote({"longhaul_transport": "direct"}).ask("status", JOBS, {})


def test_misses_and_failures_of_the_module_way(core: t.Any) -> None:
    remote = _remote({"longhaul_transport": "module"})
    _by_module(remote, AnsibleConnectionFailure("gone"))
    with pytest.raises(LookMissed, match="gone"):
        remote.ask("status", JOBS, {})
    assert remote.action._task.environment == [{"A": "b"}]
    _by_module(remote, {"failed": True, "msg": "MODULE FAILURE"})
    with pytest.raises(AnsibleActionFail, match="MODULE FAILURE"):
        remote.ask("status", JOBS, {})
    _by_module(remote, {"reply": "half"})
    with pytest.raises(LookMissed):
        remote.ask("status", JOBS, {})


def test_a_connection_that_fails_while_python_is_looked_for(core: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interpreter(*_arguments: t.Any) -> t.Any:
        raise AnsibleConnectionFailure("gone")

    monkeypatch.setattr(_core, "interpreter", interpreter)
    with pytest.raises(LookMissed, match="gone"):
        _remote().ask("status", JOBS, {})
