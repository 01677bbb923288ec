# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Payloads: what a `task` becomes, and what is refused before anything is started."""

from __future__ import annotations

import datetime
import re
import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _core, _payload
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import TASK_VARS, action, core

__all__ = ["core"]
THIN = ("command", "shell", "package", "service", "uri", "dnf")


@pytest.fixture
def built(core: t.Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, t.Any]]]:
    """What core is asked to build; modules are those of ansible.builtin, copy has an action plugin, nosuch is none."""
    found: list[tuple[str, dict[str, t.Any]]] = []

    def resolve(_action: t.Any, name: str) -> _core.Resolved:
        short = name.removeprefix("ansible.builtin.")
        kind = short if short in THIN else "module"
        why_not = {"copy": "it has an action plugin (ansible.builtin.copy), which runs on the controller", "nosuch": "there is no module"}
        return _core.Resolved(name, f"ansible.builtin.{short}", (name,), kind, why_not.get(short))

    def build(_action: t.Any, name: str, args: dict[str, t.Any], _task_vars: t.Any) -> _core.Built:
        found.append((name, args))
        if name == "old":
            return _core.Built("file", ["/bin/sh"], b"old", "a=b ")
        return _core.Built("new", ["/usr/bin/python3"], b"zip", None)

    monkeypatch.setattr(_core, "resolve", resolve)
    monkeypatch.setattr(_core, "build", build)
    return found


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _self, text: texts.append(text))
    return texts


def _make(task: t.Any, cmd: str | None = None, **facts: t.Any) -> _payload.Payload:
    return _payload.make(action(), {**TASK_VARS, "ansible_facts": facts}, task, cmd)


COMMAND = {
    "kind": "command",
    "shell": False,
    "argv": None,
    "cmd": None,
    "chdir": None,
    "creates": None,
    "removes": None,
    "executable": None,
    "stdin": None,
    "stdin_add_newline": True,
    "strip_empty_ends": True,
    "expand_argument_vars": True,
}


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("task", "request_"),
    [
        ({"command": "ls -l 'a b' chdir=/x"}, {"argv": ["ls", "-l", "a b", "chdir=/x"]}),
        ({"command": {"cmd": "ls 'a b'"}}, {"argv": ["ls", "a b"]}),
        (
            {"ansible.builtin.command": {"argv": ["a b", 5], "chdir": "/x", "creates": "/c"}},
            {"argv": ["a b", "5"], "chdir": "/x", "creates": "/c"},
        ),
        (
            {"command": {"cmd": "ls", "expand_argument_vars": False, "stdin": "x"}},
            {"argv": ["ls"], "expand_argument_vars": False, "stdin": "x"},
        ),
        ({"shell": "ls | wc a=b"}, {"shell": True, "cmd": "ls | wc a=b"}),
        ({"shell": {"cmd": "ls", "executable": "/bin/bash"}}, {"shell": True, "cmd": "ls", "executable": "/bin/bash"}),
    ],
)
def test_commands(task: t.Any, request_: dict[str, t.Any]) -> None:
    made = _make(task)
    assert made.request == {**COMMAND, **request_}
    assert made.module in ("ansible.builtin.command", "ansible.builtin.shell")
    assert made.data == b""


@pytest.mark.usefixtures("built")
def test_cmd_is_a_shell_line() -> None:
    assert _make(None, "ls | wc") == _make({"ansible.builtin.shell": {"cmd": "ls | wc"}})


def test_executable_of_a_command_is_not_used(built: t.Any, warned: list[str]) -> None:
    assert _make({"command": {"cmd": "ls", "executable": "/bin/x"}}).request["executable"] is None
    assert warned == ["command does not use the argument 'executable'"]


@pytest.mark.parametrize("arguments", [None, "", {}])
def test_modules(built: list[t.Any], arguments: t.Any) -> None:
    assert _make({"ping": arguments}) == _payload.Payload(
        "ansible.builtin.ping", {"kind": "module", "style": "new", "words": ["/usr/bin/python3"]}, b"zip"
    )
    assert built == [("ping", {})]
    assert _make({"old": {"a": "b"}}).request == {"kind": "module", "style": "file", "words": ["/bin/sh"], "args": "a=b "}


REFUSED: list[tuple[t.Any, str]] = [
    (None, "task: got None; it takes a dict of one module's name"),
    ("ls", "task: got 'ls'; it takes"),
    ({}, r"task: got 0 keys \(none\); it takes"),
    ({"command": "ls", "shell": "ls"}, r"task: got 2 keys \(command, shell\)"),
    ({5: {}}, "task: got 5 for a module's name"),
    ({"ping": ["a"]}, r"task: got \['a'\] for the arguments of ping; it takes a dict"),
    ({"ping": "data=x"}, "task: got the string 'data=x' for ping"),
    ({"copy": {}}, r"copy cannot be started detached: it has an action plugin \(ansible.builtin.copy\).*nothing was started"),
    ({"nosuch": {}}, "nosuch cannot be started detached: there is no module; nothing was started"),
    ({"shell": {"cmd": "ls", "nope": 1}}, "shell: got the unknown argument 'nope'; it takes cmd, chdir"),
    ({"shell": {"argv": ["ls"]}}, "shell: got the unknown argument 'argv'"),
    ({"command": {"cmd": "ls", "_uses_shell": True}}, "command: got the unknown argument '_uses_shell'"),
    ({"command": {"cmd": "ls", "argv": ["ls"]}}, "command: .*mutually exclusive"),
    ({"command": {"cmd": "ls", "strip_empty_ends": "maybe"}}, "command: .*strip_empty_ends"),
    ({"command": 'echo "x'}, "command: the command 'echo \"x' cannot be split into words: No closing quotation"),
    ({"command": {}}, "command: there is no command; it takes cmd or argv, or a string"),
    ({"command": {"cmd": " "}}, "command: there is no command"),
    ({"shell": None}, "shell: there is no command; it takes cmd, or a string"),
    ({"uri": {"url": "x", "src": "a"}}, "uri cannot be started detached with a file of the controller"),
    ({"uri": {"body_format": "form-multipart", "body": {"f": {"filename": "a"}}}}, "uri cannot be started detached with a file"),
    ({"package": {"name": "x"}}, "package cannot be started detached: the host's package manager is not known; it takes use, or facts"),
    ({"package": {"name": "x", "use": "nosuch"}}, "package cannot be started detached: there is no module 'nosuch'"),
    ({"package": {"name": "x", "use": "copy"}}, "package cannot be started detached: there is no module 'copy'"),
    ({"package": {"name": "x", "use": "../x"}}, "package cannot be started detached: there is no module '../x'"),
    ({"dnf": {"name": "x"}}, "dnf cannot be started detached: the host's package manager is not known; it takes use_backend"),
    ({"dnf": {"name": "x", "use": "dnf", "use_backend": "dnf"}}, "dnf: use and use_backend exclude each other"),
]


@pytest.mark.parametrize(("task", "sentence"), REFUSED)
def test_refusals(built: list[t.Any], task: t.Any, sentence: str) -> None:
    with pytest.raises(AnsibleActionFail, match=sentence):
        _make(task)
    assert built == []


@pytest.mark.parametrize(
    ("task", "facts", "module", "arguments"),
    [
        ({"package": {"name": "x"}}, {"pkg_mgr": "apt"}, "apt", {"name": "x"}),
        ({"package": {"name": "x", "use": "zypper"}}, {"pkg_mgr": "apt"}, "zypper", {"name": "x"}),
        ({"package": {"name": "x", "use": "auto"}}, {"pkg_mgr": "dnf"}, "dnf", {"name": "x"}),
        ({"dnf": {"name": "x"}}, {"pkg_mgr": "dnf5"}, "dnf5", {"name": "x"}),
        ({"dnf": {"name": "x", "use_backend": "dnf4"}}, {}, "dnf", {"name": "x"}),
        ({"dnf": {"name": "x", "use": "yum"}}, {"pkg_mgr": "dnf"}, "dnf", {"name": "x"}),
        ({"service": {"name": "x"}}, {}, "service", {"name": "x"}),
        ({"service": {"name": "x"}}, {"service_mgr": "sysvinit"}, "sysvinit", {"name": "x"}),
        ({"service": {"name": "x", "use": "nosuch"}}, {}, "service", {"name": "x"}),
        ({"service": {"name": "x", "sleep": 5}}, {"service_mgr": "systemd"}, "systemd", {"name": "x"}),
        ({"uri": {"url": "x", "src": "/a", "remote_src": True}}, {}, "uri", {"url": "x", "src": "/a", "remote_src": True}),
        ({"uri": {"url": "x", "body": {"a": 1}}}, {}, "uri", {"url": "x", "body": {"a": 1}}),
    ],
)
def test_thin_action_plugins(
    built: list[t.Any], warned: list[str], task: t.Any, facts: dict[str, str], module: str, arguments: dict[str, t.Any]
) -> None:
    made = _make(task, **facts)
    assert made.module == f"ansible.builtin.{next(iter(task))}"
    assert built == [(module, arguments)]
    assert bool(warned) == (module == "systemd")


def test_a_delegated_task_goes_by_its_host(built: list[t.Any]) -> None:
    task_vars = {**TASK_VARS, "ansible_facts": {"pkg_mgr": "apt"}, "hostvars": {"db1": {"ansible_facts": {"pkg_mgr": "pacman"}}}}
    _payload.make(action(delegate_to="db1"), task_vars, {"package": {"name": "x"}}, None)
    assert built == [("pacman", {"name": "x"})]


def test_omit_and_defaults(built: list[t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "defaults", lambda _action, fqcn, args: {"state": fqcn, **args})
    _payload.make(action(), {**TASK_VARS, "omit": "__omit__"}, {"file": {"path": "/x", "mode": "__omit__"}}, None)
    assert built == [("file", {"state": "ansible.builtin.file", "path": "/x"})]


def test_cmd_is_no_list() -> None:
    with pytest.raises(AnsibleActionFail, match="it takes a shell line, as a string"):
        _payload.make(action(), TASK_VARS, None, ["ls", "-l"])


@pytest.mark.usefixtures("built")
def test_the_same_work_has_the_same_digest() -> None:
    """However it is written; the arguments themselves cannot be read from it."""
    same: list[t.Any] = [{"shell": {"cmd": "ls"}}, {"ansible.builtin.shell": "ls"}, {"shell": {"_raw_params": "ls", "chdir": None}}]
    works = {_make(task).work for task in same} | {_make(None, "ls").work}
    assert len(works) == 1
    assert re.fullmatch("[0-9a-f]{64}", works.pop())
    ping = _make({"ping": {"data": "x", "more": {"b": [1, None], "a": True}}}).work
    assert ping == _make({"ansible.builtin.ping": {"more": {"a": True, "b": [1, None]}, "data": "x"}}).work
    others: list[t.Any] = [
        {"ping": {"data": "y"}},
        {"ping": {"data": "1"}},
        {"ping": {"data": 1}},
        {"setup": {"data": 1}},
        {"shell": "ls -l"},
    ]
    assert len({_make(task).work for task in others} | {ping}) == 6
    assert _make({"ping": {"data": datetime.date(2026, 1, 2)}}).work == _make({"ping": {"data": "2026-01-02"}}).work
