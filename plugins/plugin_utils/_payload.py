# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns a start's `task` or `cmd` into what the job runs: a command, natively, or a module as core builds it.

Everything that can be known to be wrong is refused here, in one sentence, before anything is started.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _core, _options

display = Display()

_SHELL = "ansible.builtin.shell"
_TAKES = "it takes a dict of one module's name and its arguments"

# As in core's modules/command.py; the engine does what they say.
_COMMAND: dict[str, dict[str, t.Any]] = {
    "_raw_params": {},
    "cmd": {},
    "argv": {"type": "list", "elements": "str"},
    "chdir": {},
    "creates": {},
    "removes": {},
    "executable": {},
    "stdin": {},
    "stdin_add_newline": {"type": "bool", "default": True},
    "strip_empty_ends": {"type": "bool", "default": True},
    "expand_argument_vars": {"type": "bool", "default": True},
}
_NOT_OF_SHELL = ("argv", "expand_argument_vars")

# As in core's plugins/action/service.py: what a service module besides `service` does not take.
_NOT_OF_SYSTEMD = ("pattern", "runlevel", "sleep", "arguments", "args")
_DNF = {"yum": "dnf", "yum4": "dnf", "dnf": "dnf", "dnf4": "dnf", "dnf5": "dnf5"}


@dataclass(frozen=True)
class Payload:
    """What a job runs: the module's name as it is shown, the request's description of it, and a module's bytes."""

    module: str
    request: dict[str, t.Any]
    data: bytes = b""
    work: str = field(default="", compare=False)  # a digest of module and arguments; what is built of them differs from run to run


def make(action: ActionBase, task_vars: dict[str, t.Any], task: object, cmd: object) -> Payload:
    """The payload of a start. Raises AnsibleActionFail for all that cannot be detached, AnsibleConnectionFailure where the
    target has to be asked for its Python and is not reached."""
    if cmd is not None and not isinstance(cmd, str):
        raise AnsibleActionFail(f"cmd: got {_options.shown(cmd)}; it takes a shell line, as a string")
    name, arguments = (_SHELL, {"cmd": cmd}) if cmd is not None else _one_module(task)
    resolved = _core.resolve(action, name)
    if resolved.why_not:
        raise AnsibleActionFail(f"{name} cannot be started detached: {resolved.why_not}; nothing was started")
    if isinstance(arguments, str):
        if resolved.kind not in ("command", "shell"):
            raise AnsibleActionFail(f"task: got the string {_options.shown(arguments)} for {name}; it takes a dict of arguments there")
        arguments = {"_raw_params": arguments}
    arguments = _core.defaults(action, resolved.fqcn, _core.strip_omit(arguments, task_vars))
    if resolved.kind in ("command", "shell"):
        command = _command(name, arguments, shell=resolved.kind == "shell")
        return Payload(resolved.fqcn, command, work=_digest(resolved.fqcn, command))
    module, arguments = _without_action(action, task_vars, resolved, arguments)
    work = _digest(resolved.fqcn, arguments)
    built = _core.build(action, module, arguments, task_vars)
    request: dict[str, t.Any] = {"kind": "module", "style": built.style, "words": built.words}
    if built.style != "new":
        request["args"] = built.args_text
    return Payload(resolved.fqcn, request, built.data, work)


def _digest(module: str, arguments: Mapping[str, t.Any]) -> str:
    """SHA-256, in hex, of a module's name and its arguments, whatever order they were written in."""
    text = json.dumps([module, _plain(arguments)], sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: object) -> object:
    """`value` as JSON has it; of whatever else there is its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, type(None))) else str(value)


def _one_module(task: object) -> tuple[str, dict[str, t.Any] | str]:
    if not isinstance(task, Mapping):
        raise AnsibleActionFail(f"task: got {_options.shown(task)}; {_TAKES}")
    if len(task) != 1:
        found = ", ".join(sorted(map(str, task))) or "none"
        raise AnsibleActionFail(f"task: got {len(task)} keys ({found}); {_TAKES}, and nothing else")
    ((name, arguments),) = task.items()
    if not isinstance(name, str) or not name.strip():
        raise AnsibleActionFail(f"task: got {_options.shown(name)} for a module's name; {_TAKES}")
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        arguments = {}
    if not isinstance(arguments, (str, Mapping)):
        raise AnsibleActionFail(f"task: got {_options.shown(arguments)} for the arguments of {name}; it takes a dict there")
    return str(name), str(arguments) if isinstance(arguments, str) else dict(arguments)


def _command(name: str, arguments: dict[str, t.Any], *, shell: bool) -> dict[str, t.Any]:
    """The request of a command or a shell line, its arguments checked as core's module does."""
    spec = {key: value for key, value in _COMMAND.items() if not (shell and key in _NOT_OF_SHELL)}
    _options.refuse_unknown(name, arguments, spec)
    forms = [key for key in ("_raw_params", "cmd", "argv") if key in spec]
    checked = ArgumentSpecValidator(spec, mutually_exclusive=[forms]).validate(arguments)
    if checked.error_messages:
        raise AnsibleActionFail(f"{name}: {'; '.join(checked.error_messages)}; nothing was started")
    found: dict[str, t.Any] = {key: checked.validated_parameters.get(key) for key in _COMMAND}
    found["expand_argument_vars"] = found["expand_argument_vars"] is not False
    line, argv = found.pop("_raw_params") or found.pop("cmd"), found.pop("argv")
    found.pop("cmd", None)
    if not shell and found["executable"]:
        display.warning(f"{name} does not use the argument 'executable'")
        found["executable"] = None
    if not shell and not argv:
        argv = _words(name, line or "")
    if not (line if shell else argv):
        raise AnsibleActionFail(f"{name}: there is no command; it takes {'cmd' if shell else 'cmd or argv'}, or a string")
    return {"kind": "command", "shell": shell, "argv": None if shell else argv, "cmd": line if shell else None, **found}


def _words(name: str, line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        why = str(error)
    raise AnsibleActionFail(f"{name}: the command {_options.shown(line)} cannot be split into words: {why}")


def _without_action(
    action: ActionBase, task_vars: dict[str, t.Any], resolved: _core.Resolved, arguments: dict[str, t.Any]
) -> tuple[str, dict[str, t.Any]]:
    """The module and the arguments that the thin action plugins of core would end up with."""
    facts = _facts(action, task_vars)
    if resolved.kind == "package":
        manager = arguments.pop("use", None) or "auto"
        if manager == "auto":
            manager = _own_variable(action, task_vars, "ansible_package_use") or facts.get("pkg_mgr")
        return _backend(action, resolved, str(manager or ""), arguments, "use, or facts that hold pkg_mgr")
    if resolved.kind == "dnf":
        given = [arguments.pop(key) for key in ("use", "use_backend") if key in arguments]
        if len(given) > 1:
            raise AnsibleActionFail(f"{resolved.name}: use and use_backend exclude each other; nothing was started")
        manager = given[0] if given and given[0] not in ("auto", "yum") else facts.get("pkg_mgr")
        return _backend(action, resolved, _DNF.get(str(manager), ""), arguments, "use_backend, or facts that hold pkg_mgr")
    if resolved.kind == "service":
        manager = str(arguments.pop("use", None) or "auto").lower()
        if manager == "auto":
            manager = str(facts.get("service_mgr", "auto"))
        if manager == "systemd":
            for unused in [key for key in _NOT_OF_SYSTEMD if key in arguments]:
                display.warning(f"{resolved.name} ignores {unused!r}, which systemd does not have")
                del arguments[unused]
        found = None if manager in ("auto", "service") else _module(action, manager)
        return (found.name, _core.defaults(action, found.fqcn, arguments)) if found else (resolved.name, arguments)
    if resolved.kind == "uri":
        _refuse_files(resolved.name, arguments)
    return resolved.name, arguments


def _backend(
    action: ActionBase, resolved: _core.Resolved, manager: str, arguments: dict[str, t.Any], takes: str
) -> tuple[str, dict[str, t.Any]]:
    found = _module(action, manager)
    if not found:
        got = f"there is no module {_options.shown(manager)}" if manager else "the host's package manager is not known"
        raise AnsibleActionFail(f"{resolved.name} cannot be started detached: {got}; it takes {takes}; nothing was started")
    return found.name, _core.defaults(action, found.fqcn, arguments)


def _module(action: ActionBase, name: str) -> _core.Resolved | None:
    """What runs the work of a thin action plugin, or None; the name may come from a target's facts."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", name, re.ASCII):
        return None
    found = _core.resolve(action, name)
    return found if found.why_not is None and found.kind in ("module", "dnf", "service") else None


def _facts(action: t.Any, task_vars: dict[str, t.Any]) -> Mapping[str, t.Any]:
    delegate = action._task.delegate_to
    host_vars = task_vars["hostvars"].get(delegate, {}) if delegate else task_vars
    facts = host_vars.get("ansible_facts", {})
    return facts if isinstance(facts, Mapping) else {}


def _own_variable(action: t.Any, task_vars: dict[str, t.Any], name: str) -> object:
    """As core's plugins/action/package.py: a delegated task has it among its own variables or not at all."""
    return action._templar.template((action._task.vars if action._task.delegate_to else task_vars).get(name))


def _refuse_files(name: str, arguments: Mapping[str, t.Any]) -> None:
    """uri's action plugin copies files from the controller beforehand; nobody would do so for a job."""
    if str(arguments.get("remote_src", "no")).lower() in ("yes", "true", "on", "1", "y", "t"):
        return
    body = arguments.get("body") if arguments.get("body_format") == "form-multipart" else None
    fields = body.values() if isinstance(body, Mapping) else []
    if arguments.get("src") or any(isinstance(field, Mapping) and field.get("filename") and not field.get("content") for field in fields):
        raise AnsibleActionFail(f"{name} cannot be started detached with a file of the controller; it takes remote_src: true, or a body")
