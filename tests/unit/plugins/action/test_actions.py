# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions as core calls them, with engine and connection replaced; and that options, modules and documentation agree."""

from __future__ import annotations

import importlib
import types
import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.longhaul.jobs.plugins.action import (
    async_cancel,
    async_info,
    async_log,
    async_prune,
    async_start,
    async_status,
    async_wait,
)
from ansible_collections.longhaul.jobs.plugins.doc_fragments import common, filters
from ansible_collections.longhaul.jobs.plugins.module_utils import _module_way
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _payload, _selection
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import new_jid
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import JID, TASK_VARS, Engine, core, entry, task, told

__all__ = ["core", "told"]
yaml: t.Any = importlib.import_module("yaml")  # without types
pytestmark = pytest.mark.usefixtures("core", "told")


class Play:
    """Runs tasks; the engine gives the answers it was told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine = Engine()
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(Remote, "ask", lambda _self, *args, **more: self.engine.ask(*args, **more))
        monkeypatch.setattr(ActionBase, "run", lambda _self, *_args: {})
        made = _payload.Payload("ansible.builtin.shell", {"kind": "command"}, b"", "digest")
        monkeypatch.setattr(_payload, "make", lambda *_args: made)

    def run(self, module: types.ModuleType, args: dict[str, t.Any], *answers: t.Any, **fields: t.Any) -> dict[str, t.Any]:
        self.engine.answers, self.engine.asked = list(answers), []
        self.task = task(args=args, action=f"longhaul.jobs.{module.__name__.rpartition('.')[2]}", **fields)
        templar = types.SimpleNamespace(template=lambda value: value)
        action = module.ActionModule(self.task, None, None, None, templar, None)
        return t.cast("dict[str, t.Any]", action.run(None, {**TASK_VARS, "jid": JID}))


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    return Play(monkeypatch)


def test_a_start(play: Play) -> None:
    result = play.run(
        async_start,
        {"cmd": "ls", "time_limit": "2h", "grace": 5, "name": "n", "labels": {"a": 1}, "retain": "1d", "async_dir": "/x"}
        | {"if_running": "fail", "if_finished": "reuse", "reuse_for": "1h"},
        entry(job={"name": "n"}),
        no_log=True,
    )
    assert (result["changed"], result["failed"], result["started"]) == (True, False, True)
    asked = play.engine.asked[0]
    assert asked["options"] == {
        "name": "n",
        "labels": {"a": "1"},
        "no_log": True,
        "time_limit": 7200.0,
        "grace": 5.0,
        "retain": 86400.0,
        "if_running": "fail",
        "if_finished": "reuse",
        "reuse_for": 3600.0,
        "work": "digest",
        "module": "ansible.builtin.shell",
        "payload": {"kind": "command"},
        "environment": {"A": "b"},
    }
    assert asked["jobs"][0]["jid"] == result["job"]["jid"]


def test_a_start_in_check_mode_asks_nobody(play: Play) -> None:
    result = play.run(async_start, {"cmd": "ls", "name": "n", "poll": 5}, check_mode=True)
    assert play.engine.asked == []
    assert result["ansible_job_id"].startswith("j000000000000.")
    assert (result["changed"], result["started"], result["finished"], result["failed"]) == (True, False, False, False)
    job = result["job"]
    assert (job["name"], job["module"], job["state"], job["cause"]) == ("n", "ansible.builtin.shell", None, None)


def test_a_start_that_is_waited_for(play: Play, core: t.Any) -> None:
    end = entry(state="failed", failed=True, msg="no", rc=3, ansible_facts={"a": 1})
    result = play.run(async_start, {"cmd": "ls", "poll": "5s", "close_connection": True}, end)
    assert (result["failed"], result["msg"], result["rc"], result["ansible_facts"]) == (True, "no", 3, {"a": 1})
    assert core.closed == 1


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({}, "one of the following is required: task, cmd"),
        ({"cmd": "ls", "task": {"ping": {}}}, "mutually exclusive"),
        ({"cmd": "ls", "nope": 1}, "longhaul.jobs.async_start: got the unknown argument 'nope'; it takes task, cmd"),
        ({"cmd": "ls", "_longhaul": {}}, "got the unknown argument '_longhaul'"),
        ({"cmd": "ls", "time_limit": 0}, "time_limit: got '0'"),
        ({"cmd": "ls", "poll": "x"}, "poll: got 'x'"),
        ({"cmd": "ls", "name": JID}, "name: got"),
        ({"cmd": "ls", "async_dir": "x"}, "async_dir: got 'x'"),
        ({"cmd": "ls", "if_running": "attach"}, "if_running: got 'attach' without a name; it takes effect with name only"),
        ({"cmd": "ls", "if_finished": "reuse"}, "if_finished: got 'reuse' without a name"),
        ({"cmd": "ls", "reuse_for": "1h"}, "reuse_for: got '1h' without a name"),
        ({"cmd": "ls", "name": "n", "reuse_for": "1h"}, "reuse_for: got '1h'; it takes effect with if_finished: reuse only"),
        ({"cmd": "ls", "name": "n", "if_finished": "reuse", "reuse_for": "x"}, "reuse_for: got 'x'; it takes seconds"),
        ({"cmd": "ls", "name": "n", "if_finished": "reuse", "reuse_for": 0}, "reuse_for: got '0'"),
        ({"cmd": "ls", "name": "n", "if_running": "x"}, "value of if_running must be one of: attach, fail, replace, got: x"),
        ({"cmd": "ls", "name": "n", "if_finished": "x"}, "value of if_finished must be one of: restart, reuse, got: x"),
    ],
)
def test_senseless_starts(play: Play, args: dict[str, t.Any], sentence: str) -> None:
    result = play.run(async_start, args)
    assert result["failed"] is True
    assert sentence in result["msg"]
    assert play.engine.asked == []


@pytest.mark.parametrize("module", [async_cancel, async_info, async_log, async_prune, async_start, async_status, async_wait])
@pytest.mark.parametrize("keyword", [{"async_val": 60, "poll": 0}, {"poll": 5}])
def test_the_keywords_are_refused(play: Play, module: t.Any, keyword: dict[str, int]) -> None:
    result = play.run(module, {"cmd": "ls"}, **keyword)
    assert result["failed"] is True
    assert "at the task's level" in result["msg"]


def test_a_host_that_can_have_no_jobs(play: Play, core: t.Any) -> None:
    core.refusal = "the host is a Windows host"
    assert play.run(async_status, {"jid": JID})["msg"] == "there are no jobs on web1: the host is a Windows host"


def test_status_of_one_has_core_s_keys(play: Play) -> None:
    running = play.run(async_status, {"jid": JID}, entry())
    assert {key: running[key] for key in ("stdout", "stderr", "stdout_lines", "stderr_lines")} == {
        "stdout": "",
        "stderr": "",
        "stdout_lines": [],
        "stderr_lines": [],
    }
    assert (running["ansible_job_id"], running["started"], running["finished"], running["failed"]) == (JID, True, False, False)
    ended = play.run(async_status, {"jid": JID, "mode": "cleanup"}, entry(state="failed", erased="/a/x", changed=True))
    assert (ended["erased"], ended["failed"], ended["changed"]) == ("/a/x", False, True)
    assert play.engine.asked[0]["options"] == {"mode": "cleanup"}


def test_status_of_many_is_a_list(play: Play) -> None:
    registered = {"results": [{"ansible_job_id": "j1.1", "job": {}}, {"ansible_job_id": "j2.2"}, {"skipped": True}]}
    result = play.run(async_status, {"jobs": registered}, [entry("j1.1", state="succeeded"), entry("j2.2")])
    assert [job["ansible_job_id"] for job in result["jobs"]] == ["j1.1", "j2.2"]
    assert (result["finished"], result["failed"]) == (False, False)
    by_name = play.run(async_status, {"jobs": "nightly"}, [entry("j3.3", job={"name": "nightly"})])
    assert (by_name["jobs"][0]["ansible_job_id"], play.engine.asked[-1]["jobs"]) == ("j3.3", [{"name": "nightly"}])
    assert play.run(async_status, {"jobs": []}) == {"jobs": [], "finished": True, "failed": False, "changed": False}


def test_status_of_check_mode(play: Play) -> None:
    result = play.run(async_status, {"jid": new_jid(check_mode=True)})
    assert (result["finished"], result["failed"]) == (True, False)
    assert play.engine.asked == []


@pytest.mark.parametrize(
    "args",
    [{}, {"jid": "../x"}, {"jid": JID, "jobs": []}, {"jobs": "no name"}, {"jid": "name"}, {"jobs": {"a": 1}}, {"jid": JID, "mode": "x"}],
)
def test_senseless_questions(play: Play, args: dict[str, t.Any]) -> None:
    assert play.run(async_status, args)["failed"] is True
    assert play.engine.asked == []


def test_a_dead_host(play: Play) -> None:
    lost = LookMissed("gone")
    result = play.run(async_status, {"jid": JID}, lost)
    assert (result["unreachable"], result["started"], result["finished"], result["failed"]) == (True, True, False, False)
    missed = play.run(async_status, {"jid": JID, "unreachable_timeout": 60}, lost, until=["r.finished"])
    assert "unreachable" not in missed
    assert missed["warnings"] == ["web1 was not reached: gone; asked again, until it has been so for 60 s"]
    assert play.task.until == ["r.finished"]
    given_up = play.run(async_status, {"jobs": [JID], "unreachable_timeout": 0}, lost, until=["r.finished"])
    assert given_up["unreachable"] is True
    assert play.task.until == []


def test_a_refusal_of_the_target(play: Play) -> None:
    assert play.run(async_status, {"jid": JID}, AnsibleActionFail("the async dir /x belongs to another user"))["msg"].startswith(
        "the async dir"
    )


@pytest.mark.parametrize("action", [async_cancel, async_info, async_log, async_prune, async_start, async_status, async_wait])
def test_action_module_and_documentation_have_the_same_options(action: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name = action.__name__.rpartition(".")[2]
    module = importlib.import_module(f"ansible_collections.longhaul.jobs.plugins.modules.{name}")
    specs: list[dict[str, t.Any]] = []

    class Stop(Exception):
        pass

    def ansible_module(argument_spec: dict[str, t.Any], **_more: t.Any) -> None:
        specs.append(argument_spec)
        raise Stop

    monkeypatch.setattr(module, "AnsibleModule", ansible_module)
    with pytest.raises(Stop):
        module.main()
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    documented |= yaml.safe_load(common.ModuleDocFragment.DOCUMENTATION)["options"]
    checked_here = (
        {"task": {"type": "dict"}, "cmd": {"type": "str"}, "labels": {"type": "dict", "default": {}}} if name == "async_start" else {}
    )
    if "filters" in action.OPTIONS:
        documented |= yaml.safe_load(filters.ModuleDocFragment.DOCUMENTATION)["options"]
        assert set(documented["filters"]["suboptions"]) == set(_module_way.FILTERS["options"]) == set(_selection.FILTERS)
        checked_here = {"filters": _module_way.FILTERS}
    assert {key: spec for key, spec in specs[0].items() if not key.startswith("_")} == {
        **action.OPTIONS,
        **checked_here,
    }
    assert {key for key in documented if not key.startswith("_")} == set(action.OPTIONS)
    for key, option in action.OPTIONS.items():
        assert documented[key].get("default") == option.get("default"), key
        assert documented[key].get("choices") == option.get("choices"), key
