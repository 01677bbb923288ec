# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection needs of ansible-core beyond its public interfaces, for core 2.16 to 2.22.

The only file that knows core's private names and what differs between its versions. Where a name exists in some versions
only it is asked for (`getattr`), not the version. Every function has a test that runs on every version.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import shlex
import typing as t
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.release import __version__
from ansible_collections.longhaul.jobs.plugins.plugin_utils._clean import MAX_DEPTH, prepare
from ansible_collections.longhaul.jobs.plugins.plugin_utils._look import Deadline

CORE: tuple[int, int] = t.cast("tuple[int, int]", tuple(int(part) for part in __version__.split(".")[:2]))

# Untyped on purpose: what they hold differs between versions.
_module_common: t.Any = importlib.import_module("ansible.executor.module_common")
_discovery: t.Any = importlib.import_module("ansible.executor.interpreter_discovery")
_BuiltModule = getattr(_module_common, "_BuiltModule", None)  # since core 2.19
_CORE_MASKS = CORE >= (2, 22)  # modules' results come with their secrets in clear, and core masks them where it shows them

_RESET_SECONDS = 10.0
_CLEAN_UP_SECONDS = 3.0  # after a missed look it comes on top of the look's own

# Modules whose action plugin does nothing on the controller that we do not do ourselves.
_THIN = {
    "ansible.builtin.command": "command",
    "ansible.builtin.shell": "shell",
    "ansible.builtin.package": "package",
    "ansible.builtin.service": "service",
    "ansible.builtin.uri": "uri",
    "ansible.builtin.dnf": "dnf",
    "ansible.builtin.yum": "dnf",  # a module of its own until core 2.16, later a name of dnf's action plugin
}
# In core's modules folder for their documentation only.
_STATEMENTS = ("import_playbook", "import_role", "import_tasks", "include_role", "include_tasks", "meta")

Document = dict[str, t.Any]


@dataclass(frozen=True)
class Resolved:
    """What a module's name stands for."""

    name: str  # as asked for
    fqcn: str  # after redirects; the name itself where there is no such module
    names: tuple[str, ...]  # every name on the way, for module_defaults and filters
    kind: str  # 'module', or the one of the thin action plugins: command, shell, package, service, uri, dnf
    why_not: str | None  # completes "cannot be started detached: …"


@dataclass(frozen=True)
class Built:
    """A module ready to be run on the target."""

    style: str  # 'new': `words` are run with `data` on standard input; 'file': `words`, the file, the file of arguments
    words: list[str]  # the interpreter's; empty where the file itself is executable
    data: bytes
    args_text: str | None  # what the file of arguments holds; None for 'new'


class LookMissed(Exception):
    """The target was not reached, or did not answer in time; whether anything happened there is not known."""

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out


class NeedsModuleWay(Exception):
    """Nothing was run: standard input cannot be used here after all. Its text is the reason."""


def refusal(action: ActionBase) -> str | None:
    """Why nothing can be detached on this connection at all, or None.

    Source: plugins/connection/__init__.py (`NetworkConnectionBase`), plugins/shell/powershell.py; all versions alike.
    """
    connection = _private(action)._connection
    if getattr(connection._shell, "_IS_WINDOWS", False):
        return "the host is a Windows host"
    if getattr(connection, "_remote_is_local", False):
        return f"the {connection.transport} connection leads to a network device"
    return None


def resolve(action: ActionBase, name: str) -> Resolved:
    """Return what `name` stands for in this task, and whether it can run detached. Does not raise.

    Core decides on the action plugin by the name as written; here every name of the chain of redirects counts, for a
    collection's module that is redirected to ansible.builtin.copy has no plugin under its own name.
    Source: plugins/loader.py (`find_plugin_with_context`), executor/task_executor.py (`_get_action_handler…`); all versions alike.
    """
    private = _private(action)
    loaders, collections = private._shared_loader_obj, private._task.collections
    try:
        module = loaders.module_loader.find_plugin_with_context(name, collection_list=collections)
        names = tuple(dict.fromkeys([name, *([module.resolved_fqcn] if module.resolved else []), *module.redirect_list]))
        plugins = [module.action_plugin] if module.resolved and module.action_plugin else []
        for candidate in [*names, *_network_actions(names)]:
            plugin = loaders.action_loader.find_plugin_with_context(candidate, collection_list=collections)
            plugins += [plugin.resolved_fqcn] if plugin.resolved else []
    except AnsibleError as error:  # removed with a tombstone, redirected in a circle
        return Resolved(name, name, (name,), "module", _sentence(error))
    fqcn = module.resolved_fqcn if module.resolved else plugins[0] if plugins else name
    kind = _THIN.get(fqcn, "module")
    foreign = [plugin for plugin in plugins if kind == "module" or plugin != fqcn]
    why_not = refusal(action)
    if why_not is None and foreign:
        why_not = f"it has an action plugin ({foreign[0]}), which runs on the controller"
    elif why_not is None and not module.resolved and kind == "module":
        why_not = f"it is redirected to {names[-1]}, which is not there" if len(names) > 1 else "there is no module of that name"
    elif why_not is None and fqcn in {f"ansible.builtin.{statement}" for statement in _STATEMENTS}:
        why_not = "it is a statement of the playbook language, not a module"
    return Resolved(name, fqcn, names, kind, why_not)


def defaults(action: ActionBase, fqcn: str, args: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return `args` with the module_defaults, groups included, of the module with the resolved name `fqcn` below them.

    Source: executor/module_common.py, `get_action_args_with_defaults` until 2.18, `_apply_action_arg_defaults` since 2.19.
    """
    private = _private(action)
    task, own = private._task, dict(args)
    apply = getattr(_module_common, "_apply_action_arg_defaults", None)
    if apply is not None:
        return dict(apply(fqcn, task, own, private._templar))
    groups = task._parent._play._action_groups
    return dict(_module_common.get_action_args_with_defaults(fqcn, own, task.module_defaults, private._templar, action_groups=groups))


def strip_omit(value: t.Any, task_vars: Mapping[str, t.Any]) -> t.Any:
    """Return `value` without the items of dicts and lists, at any depth, that are `omit`.

    Core drops them from dicts, but until 2.18 leaves its placeholder string in lists.
    """
    omit = task_vars.get("omit")
    if omit is None:
        return value
    if isinstance(value, Mapping):
        return {key: strip_omit(item, task_vars) for key, item in value.items() if item != omit}
    if isinstance(value, (list, tuple)):
        return [strip_omit(item, task_vars) for item in value if item != omit]
    return value


def build(action: ActionBase, name: str, args: Mapping[str, t.Any], task_vars: dict[str, t.Any]) -> Built:
    """Return the module `name` with its arguments, built by core as for a task, but for `_ansible_tmpdir`: None, so that a
    detached module makes its own, for the task's is removed when the task ends.

    Discovers the interpreter where that is still to be done (1 or 2 round trips); `interpreter` then tells of it.
    Raises AnsibleActionFail (no such module, arguments that cannot be sent, PowerShell) and, from the discovery,
    AnsibleConnectionFailure.
    Source: plugins/action/__init__.py, `_execute_module`: a tuple of four until 2.18, a `_BuiltModule` and its path since 2.19.
    """
    private = _private(action)
    values = strip_omit(dict(args), task_vars)
    try:
        private._update_module_args(name, values, task_vars)
        values["_ansible_tmpdir"] = None
        built = private._configure_module(module_name=name, module_args=values, task_vars=task_vars)
        if _BuiltModule is None:
            style, shebang, data, path = built
            bits = None
        else:
            bits, path = built
            style, shebang, data = bits.module_style, bits.shebang, bits.b_module_data
        args_text = _args_text(style, values, bits)
    except AnsibleConnectionFailure:
        raise
    except (AnsibleError, TypeError, ValueError) as error:
        raise _failure(f"{name} cannot be started detached: {_sentence(error)}") from error
    if getattr(bits, "command_lookup", None) or "powershell" in (shebang or ""):
        raise _failure(f"{name} cannot be started detached: it is a PowerShell module")
    if not shebang and style != "binary":
        raise _failure(f"{name} cannot be started detached: its file has no interpreter line")
    words = [] if style == "binary" else _words(shebang.removeprefix("#!"))
    # since 2.21 core leaves a file that it did not change where it is
    return Built("new" if style == "new" else "file", words, data or Path(path).read_bytes(), args_text)


def interpreter(action: ActionBase, task_vars: dict[str, t.Any]) -> tuple[list[str], dict[str, str], list[str]]:
    """Return the words of the target's Python, the facts to return from the action, and warnings.

    The words are as core writes them into a shell line, unquoted: `~` and `$` are for the target's shell. The facts spare the
    next task the discovery; they are empty where nothing was discovered, and on a delegated task without `delegate_facts`, for
    core since 2.21 would store them with the wrong host. Discovery is 1 or 2 round trips, and is done once for a task,
    whether here or in `build`. Raises AnsibleConnectionFailure, and AnsibleActionFail where a quote is not closed.
    Source: plugins/action/__init__.py (`_configure_module`), executor/interpreter_discovery.py; until 2.18 the warnings are
    left in lists of the action, since 2.19 core shows them itself.
    """
    private = _private(action)
    task = private._task
    host_vars = task_vars["ansible_delegated_vars"][task.delegate_to] if task.delegate_to else task_vars
    is_local = bool(getattr(private._connection, "_remote_is_local", False))
    try:
        found = _module_common._get_shebang("/usr/bin/python", host_vars, private._templar, remote_is_local=is_local)[1]
    except _discovery.InterpreterDiscoveryRequiredError as needed:
        found = _discovery.discover_interpreter(
            action=action, interpreter_name=needed.interpreter_name, discovery_mode=needed.discovery_mode, task_vars=host_vars
        )
        fact = f"discovered_interpreter_{needed.interpreter_name}"
        host_vars.setdefault("ansible_facts", {})[fact] = found
        if not task.delegate_to or task.delegate_facts:
            private._discovered_interpreter_key, private._discovered_interpreter = fact, found
    key = private._discovered_interpreter_key
    warnings = [str(text) for text in getattr(private, "_discovery_warnings", [])]
    warnings += [str(item["msg"]) for item in getattr(private, "_discovery_deprecation_warnings", [])]
    for told in ("_discovery_warnings", "_discovery_deprecation_warnings"):
        getattr(private, told, []).clear()
    return _words(found), {key: str(private._discovered_interpreter)} if key else {}, warnings


def direct_ok(action: ActionBase) -> str | None:
    """Return why a program cannot be sent over standard input here, so that the module way has to be gone, or None.

    It asks what the connection and the become plugin are able to, not whether ANSIBLE_PIPELINING is on.
    Source: `is_pipelining_enabled` of plugins/connection/__init__.py and ssh.py since 2.19, `_is_pipelining_enabled` of
    plugins/action/__init__.py until 2.18, where su is told by its name.
    """
    connection = _private(action)._connection
    become = connection.become
    if not connection.has_pipelining or getattr(connection._shell, "_IS_WINDOWS", False):
        return f"the {connection.transport} connection does not take a program on standard input"
    if constants.config.get_config_value("DEFAULT_KEEP_REMOTE_FILES"):
        return "ANSIBLE_KEEP_REMOTE_FILES is on"
    if become and (become.name == "su" or not getattr(become, "pipelining", True)):
        return f"{become.name} does not take a program on standard input"
    if become and getattr(become, "require_tty", False):
        return f"{become.name} needs a terminal"
    if connection.transport == "ssh" and _asks_for_tty(action):
        return "the ssh arguments ask for a terminal"
    return None


def send(action: ActionBase, command: str, data: bytes, deadline: float) -> dict[str, t.Any]:
    """Run the shell line `command`, with become as the task has it, and `data` on its standard input; return `rc`, `stdout`
    and `stderr` (text; bytes that are not UTF-8 as surrogates).

    Raises LookMissed if the target is not reached or has not answered within `deadline` seconds (the connection is then closed,
    so that the next one is a new one), NeedsModuleWay if become wants a terminal, AnsibleError if become fails. A wrong password
    for the connection is no missed look but AnsibleAuthenticationFailure: repeating it locks accounts.
    Source: plugins/action/__init__.py (`_low_level_execute_command`), plugins/connection/local.py, which without its
    `pipelining` option gives a become with a password a terminal for standard input, and drops `data`; all versions.
    """
    private = _private(action)
    answer: dict[str, t.Any] = {}
    failure: Exception | None = None
    with _pipelining(private._connection), Deadline(deadline) as limit:
        try:
            answer = private._low_level_execute_command(command, in_data=data, sudoable=True)
        except (AnsibleError, OSError) as error:
            failure = error
    if limit.passed:
        close(action)
        raise LookMissed(f"no answer within {deadline:g} seconds", timed_out=True)
    trouble = str(failure) if failure else answer["stderr"] if answer["rc"] else ""
    if re.search(r"must (have a tty|be run from a terminal)", trouble):
        raise NeedsModuleWay("become needs a terminal")
    if isinstance(failure, AnsibleConnectionFailure) and not isinstance(failure, AnsibleAuthenticationFailure):
        raise LookMissed(_sentence(failure)) from failure
    if failure is not None:
        raise failure
    return {"rc": answer["rc"], "stdout": answer["stdout"], "stderr": answer["stderr"]}


def environment(action: ActionBase) -> dict[str, str]:
    """Return the task's environment, merged with its play's and blocks' and templated, as text.

    Raises AnsibleError where it is not a dict. Source: plugins/action/__init__.py (`_compute_environment_string`), all versions.
    """
    merged: dict[str, t.Any] = {}
    _private(action)._compute_environment_string(merged)
    return {str(key): str(value) for key, value in merged.items()}


def close(action: ActionBase) -> None:
    """Close the connection for real where it is ssh: its master stops, running sessions of others go on. Does not raise.

    Source: plugins/connection/ssh.py: `close` leaves the master alone, `reset` asks it to stop; all versions.
    """
    connection = _private(action)._connection
    if connection.transport == "ssh":
        with Deadline(_RESET_SECONDS), contextlib.suppress(AnsibleError, OSError):
            connection.reset()


def clean_up(action: ActionBase, force: bool) -> None:
    """Core's own cleanup after a task, which removes what the module way has put on the target. Does not raise.

    It has no deadline in core, and on a lost link its failure would take the place of the result (all versions:
    executor/task_executor.py, `run`; plugins/action/__init__.py, `cleanup`).
    """
    shell = _private(action)._connection._shell
    if shell.tmpdir is not None:
        with Deadline(_CLEAN_UP_SECONDS), contextlib.suppress(AnsibleError, OSError):
            ActionBase.cleanup(action, force)
        shell.tmpdir = None


def shell_async_dir(action: ActionBase) -> str:
    """Return core's async directory for this host (`ansible_async_dir`), with `~` as it is."""
    return str(_private(action).get_shell_option("async_dir", default="~/.ansible_async"))


def clean(action: ActionBase, document: Document | str, task_vars: dict[str, t.Any]) -> tuple[Document, Document | None, list[str]]:
    """Return a module's result as core would hand it on, its `ansible_facts` or None, and its warnings as text. Does not raise.

    `document` is the result as the module wrote it, parsed or not; it is not to be trusted. Core's own cleaning runs on it, so
    that it can set nothing a module could not. What core would react to at the top of an action's result is dropped beforehand,
    in silence, because core warns of it together with its value. A result that core cannot read becomes a failed one with
    a sentence in `msg`. Of core 2.22's `_ansible_new_secrets`, its own masker is told; older cores never see them, they are
    removed from the document here.
    Source: plugins/action/__init__.py, `_parse_returned_data` and the end of `_execute_module`; _internal/_task.py since 2.21.
    """
    try:
        text, warnings = prepare(document, core_masks=_CORE_MASKS)
        cleaned: Document = dict(_private(_Replay.of(action, text))._execute_module(module_name="", module_args={}, task_vars=task_vars))
    except Exception as error:  # core's cleaning raises by version what it likes; one document must not spoil the others
        why = f"it is nested deeper than {MAX_DEPTH} levels" if isinstance(error, RecursionError) else type(error).__name__
        return {"failed": True, "changed": False, "msg": f"The module's result cannot be read ({why})."}, None, []
    # since 2.21 warnings and deprecations are those of the running task
    for key in ("warnings", "deprecations", "ansible_parsed", "_ansible_parsed", "unreachable", "skipped"):
        cleaned.pop(key, None)
    return cleaned, cleaned.pop("ansible_facts", None), warnings


class _Replay(ActionBase):
    """Makes core read a text as if a module had just written it."""

    text = ""

    @classmethod
    def of(cls, action: ActionBase, text: str) -> _Replay:
        private = _private(action)
        parts = ("task", "connection", "play_context", "loader", "templar", "shared_loader_obj")
        replay = cls(**{part: getattr(private, f"_{part}") for part in parts})
        replay.text = text
        return replay

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> t.Any:
        raise NotImplementedError

    def _is_pipelining_enabled(self, *args: t.Any, **kwargs: t.Any) -> bool:
        return True  # so no temporary folder is made

    def _update_module_args(self, *args: t.Any, **kwargs: t.Any) -> None:
        pass

    def _configure_module(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        style, shebang, data, path = "new", "#!/usr/bin/python", b"x", "of a job"
        if _BuiltModule is None:
            return style, shebang, data, path
        return _BuiltModule(b_module_data=data, module_style=style, shebang=shebang, serialization_profile="legacy"), path

    def _low_level_execute_command(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return {"rc": 0, "stdout": self.text, "stdout_lines": [self.text], "stderr": "", "stderr_lines": []}


def _private(action: ActionBase) -> t.Any:
    """The action, for its private attributes: their types differ between versions."""
    return action


def _failure(sentence: str) -> AnsibleActionFail:
    make: t.Callable[[str], AnsibleActionFail] = AnsibleActionFail
    return make(sentence)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise _failure(f"The interpreter {line!r} is no shell words: {error}") from error


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())


def _network_actions(names: tuple[str, ...]) -> list[str]:
    """The action plugins that core takes for whole groups of network modules (cisco.ios.ios for cisco.ios.ios_command)."""
    groups = constants.config.get_config_value("NETWORK_GROUP_MODULES")
    parts = [name.rpartition(".") for name in names]
    return [f"{collection}{dot}{leaf.split('_')[0]}" for collection, dot, leaf in parts if leaf.split("_")[0] in groups]


def _args_text(style: str, values: Mapping[str, t.Any], bits: t.Any) -> str | None:
    if style == "new":
        return None
    if style == "old":
        return "".join(f"{key}={shlex.quote(str(value))} " for key, value in values.items())
    if bits is None:
        return json.dumps(values)
    encoding = importlib.import_module("ansible.module_utils.common.json")
    return json.dumps(values, cls=encoding.get_module_encoder(bits.serialization_profile, encoding.Direction.CONTROLLER_TO_MODULE))


def _asks_for_tty(action: ActionBase) -> bool:
    """Whether the ssh arguments hold -t or RequestTTY; what ssh's own configuration files say is not seen (nor by core)."""
    options = ("ssh_args", "ssh_common_args", "ssh_extra_args")
    words = " ".join(str(_private(action).get_connection_option(option) or "") for option in options)
    return bool(re.search(r"(?<!\S)-[46AaCfGgKkMNnqsTVvXxYy]*t|(?i:requesttty)[\s=]+\W?(yes|force)", words, re.ASCII))


@contextlib.contextmanager
def _pipelining(connection: t.Any) -> Iterator[None]:
    """The connection's option `pipelining` on, for as long as the block lasts."""
    if not connection.has_option("pipelining"):
        yield
        return
    before = connection.get_option("pipelining")
    connection.set_option("pipelining", True)
    try:
        yield
    finally:
        connection.set_option("pipelining", before)
