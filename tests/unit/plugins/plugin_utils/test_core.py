# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every export of `_core`, called within real playbook runs of the core that belongs to the running interpreter.

A run takes a second or more, so there are few: a fixture runs one, and the tests look at what its calls returned. What a run needs,
it sets up and takes down within the fixture's function: under ansible-test every test is a fork, which never gets to a fixture's end.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from ansible.release import __version__

CORE = tuple(int(part) for part in __version__.split(".")[:2])
HERE = Path(__file__).absolute().parent
REPOSITORY = HERE.parents[3]
PYTHON = "/usr/bin/python3"
VARS = "@task_vars"
SECRET = "sesame99"

INNER = """\
#!/usr/bin/python
# -*- coding: utf-8 -*-
# GNU General Public License v3.0+
from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(dict(a=dict(type='raw'), b=dict(type='raw'), c=dict(type='raw'), password=dict(no_log=True)))
    module.warn('a warning of the module')
    module.exit_json(got=module.params, has_tmpdir=module._tmpdir is not None)


if __name__ == '__main__':
    main()
"""
FILE_STYLE = "#!/usr/bin/python\nimport json, sys\n# {style}\nprint(json.dumps(dict(args=open(sys.argv[1]).read())))\n"

ROUTING: dict[str, t.Any] = {
    "action_groups": {"grp": ["inner"]},
    "plugin_routing": {
        "modules": {
            "oldinner": {"redirect": "check.core.inner"},
            "copyish": {"redirect": "ansible.builtin.copy"},
            "shellish": {"redirect": "ansible.builtin.shell"},
            "handled": {"action_plugin": "check.core.probe"},
            "astray": {"redirect": "check.core.nowhere"},
            "gone": {"tombstone": {"removal_version": "1.0.0", "warning_text": "Use something else."}},
        }
    },
}


class Outcome(t.NamedTuple):
    value: t.Any
    raised: str | None
    text: str | None
    timed_out: bool | None
    seconds: float


class Run(t.NamedTuple):
    rc: int
    output: str
    outcomes: dict[str, list[Outcome]]  # by the name of the task's file


class World:
    """A folder with a collection that holds the probe, and the means to run plays in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        collections = folder / "c" / "ansible_collections"
        plugins = collections / "check" / "core" / "plugins"
        for kind in ("action", "modules"):
            (plugins / kind).mkdir(parents=True)
        (collections / "longhaul").mkdir()
        (collections / "longhaul" / "jobs").symlink_to(REPOSITORY)
        (plugins.parent / "meta").mkdir()
        (plugins.parent / "meta" / "runtime.yml").write_text(json.dumps(ROUTING))
        shutil.copy(HERE / "core_probe.py", plugins / "action" / "probe.py")
        (plugins / "modules" / "inner.py").write_text(INNER)
        (plugins / "modules" / "handled.py").write_text(INNER)
        (plugins / "modules" / "old.py").write_text(FILE_STYLE.format(style="old"))
        (plugins / "modules" / "want.py").write_text(FILE_STYLE.format(style="WANT_" + "JSON"))
        (folder / "ansible.cfg").touch()
        (folder / "library").mkdir()
        shutil.copy("/bin/true", folder / "library" / "native")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        self.environment = {
            **kept,
            "PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "h"),
            "ANSIBLE_COLLECTIONS_PATH": str(folder / "c"),
            "ANSIBLE_LIBRARY": str(folder / "library"),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "0",
            "ANSIBLE_HOST_KEY_CHECKING": "0",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "s"),
            "ANSIBLE_SSH_ARGS": "-C -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=/dev/null",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def calls(self, name: str, *calls: list[t.Any], **task: t.Any) -> dict[str, t.Any]:
        """A task that makes these calls of `_core`."""
        inputs, outputs = self.folder / f"{name}.calls", self.folder / f"{name}.out"
        inputs.write_text(json.dumps(calls))
        options = {"calls": str(inputs), "out": str(outputs), **task.pop("options", {})}
        return {"name": name, "check.core.probe": options, **task}

    def run(self, hosts: dict[str, dict[str, t.Any]], *plays: dict[str, t.Any], **environment: str) -> Run:
        inventory, playbook = self.folder / "inventory.json", self.folder / "playbook.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, **play} for play in plays]))
        for old in self.folder.glob("*.out"):
            old.unlink()
        done = subprocess.run(
            [sys.executable, "-m", "ansible.cli.playbook", "-i", str(inventory), str(playbook)],
            env={**self.environment, **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        outcomes = {}
        for out in self.folder.glob("*.out"):
            told = json.loads(out.read_text())
            fields = ("value", "raised", "text", "timed_out", "seconds")
            outcomes[out.stem] = [Outcome(*(outcome.get(field) for field in fields)) for outcome in told]
        return Run(done.returncode, done.stdout, outcomes)


@contextlib.contextmanager
def a_world() -> t.Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="lh-core-"))  # short: ssh's control sockets lie in it
    folder.chmod(0o755)
    try:
        yield World(folder)
    finally:
        for control in (folder / "s").glob("*"):
            subprocess.run(["ssh", "-o", f"ControlPath={control}", "-O", "exit", "any"], capture_output=True, check=False)
        shutil.rmtree(folder)


class Sshd(t.NamedTuple):
    port: int
    key: Path

    def host(self, **variables: t.Any) -> dict[str, t.Any]:
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.key),
            **variables,
        }


@contextlib.contextmanager
def an_sshd(world: World) -> t.Iterator[Sshd]:
    binary = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if not binary:
        pytest.skip("there is no sshd binary")
    folder = world.folder / "sshd"
    folder.mkdir()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True, stdin=subprocess.DEVNULL)
    shutil.copy(folder / "user.pub", folder / "authorized")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "yes",
        "MaxStartups": 100,
    }
    (folder / "config").write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([binary, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield Sshd(port, folder / "user")
    finally:
        server.terminate()
        server.wait(10)


class User(t.NamedTuple):
    name: str
    password: str


@contextlib.contextmanager
def a_user(world: World) -> t.Iterator[User]:
    """A user who may become root without a password, games with one, and anybody in `tty-sh` only on a terminal."""
    if os.getuid() != 0 or not shutil.which("sudo") or not shutil.which("useradd"):
        pytest.skip("needs root, sudo and useradd")
    made = User(f"lhcore{os.getpid()}", "a pass'word $x")
    shell = world.folder / "tty-sh"
    shutil.copy("/bin/sh", shell)
    rules = Path("/etc/sudoers.d") / made.name
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", made.name], check=True)
    try:
        subprocess.run(["chpasswd"], input=f"{made.name}:{made.password}\n", text=True, check=True)
        rules.touch(mode=0o440)
        rules.write_text(f"{made.name} ALL=(ALL) ALL\n{made.name} ALL=(root) NOPASSWD: ALL\nDefaults!{shell} requiretty\n")
        yield made
    finally:
        rules.unlink(missing_ok=True)
        subprocess.run(["userdel", "-r", "-f", made.name], capture_output=True, check=True)


def value(run: Run, task: str, index: int = 0) -> t.Any:
    assert task in run.outcomes, run.output
    outcome = run.outcomes[task][index]
    assert outcome.raised is None, f"{outcome.raised}: {outcome.text}"
    return outcome.value


def dead(pid: int) -> bool:
    """Whether it has ended; who should reap it may be slow."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def run_built(built: dict[str, t.Any], folder: Path) -> dict[str, t.Any]:
    """Run a built module as the engine does, and return what it printed."""
    data = built["data"].encode("latin-1")
    if built["style"] == "new":
        done = subprocess.run(built["words"], input=data, capture_output=True, check=False)
    else:
        file, args = folder / "module", folder / "args"
        file.write_bytes(data)
        file.chmod(0o755)
        args.write_text(built["args_text"])
        done = subprocess.run([*built["words"], str(file), str(args)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return t.cast("dict[str, t.Any]", json.loads(done.stdout or "{}"))


# --- over local, without contact or with a plain one -------------------------------------------------------------------------

RESOLVED: dict[str, tuple[str, str, str | None]] = {
    # name: fully qualified name, kind, a part of why not
    "check.core.inner": ("check.core.inner", "module", None),
    "check.core.oldinner": ("check.core.inner", "module", None),
    "ansible.builtin.stat": ("ansible.builtin.stat", "module", None),
    "copy": ("ansible.builtin.copy", "module", "an action plugin (ansible.builtin.copy)"),
    "ansible.builtin.copy": ("ansible.builtin.copy", "module", "an action plugin (ansible.builtin.copy)"),
    "ansible.legacy.copy": ("ansible.builtin.copy", "module", "an action plugin (ansible.builtin.copy)"),
    "ansible.builtin.template": ("ansible.builtin.template", "module", "an action plugin (ansible.builtin.template)"),
    "fetch": ("ansible.builtin.fetch", "module", "an action plugin (ansible.builtin.fetch)"),
    "check.core.copyish": ("ansible.builtin.copy", "module", "an action plugin (ansible.builtin.copy)"),
    "check.core.handled": ("check.core.handled", "module", "an action plugin (check.core.probe)"),
    "check.core.probe": ("check.core.probe", "module", "an action plugin (check.core.probe)"),
    "ansible.builtin.include_role": ("ansible.builtin.include_role", "module", "a statement of the playbook language"),
    "meta": ("ansible.builtin.meta", "module", "a statement of the playbook language"),
    "command": ("ansible.builtin.command", "command", None),
    "ansible.builtin.shell": ("ansible.builtin.shell", "shell", None),
    "ansible.legacy.shell": ("ansible.builtin.shell", "shell", None),
    "check.core.shellish": ("ansible.builtin.shell", "shell", None),
    "package": ("ansible.builtin.package", "package", None),
    "ansible.builtin.service": ("ansible.builtin.service", "service", None),
    "uri": ("ansible.builtin.uri", "uri", None),
    "ansible.builtin.dnf": ("ansible.builtin.dnf", "dnf", None),
    "ansible.builtin.yum": ("ansible.builtin.yum" if CORE < (2, 17) else "ansible.builtin.dnf", "dnf", None),
    "nosuch": ("nosuch", "module", "there is no module of that name"),
    "no.such.thing": ("no.such.thing", "module", "there is no module of that name"),
    "check.core.astray": ("check.core.astray", "module", "redirected to check.core.nowhere, which is not there"),
    "check.core.gone": ("check.core.gone", "module", "Use something else"),
}
OMIT = "{{ omit }}"
INNER_ARGS = {"a": [1, OMIT, {"x": OMIT, "y": [[OMIT, 2]]}], "b": OMIT, "c": "Ü 'q' $x", "password": SECRET}
BUILT: dict[str, list[t.Any]] = {
    "new": ["build", "check.core.inner", "@args", VARS],
    "redirected": ["build", "check.core.oldinner", {"c": "x"}, VARS],
    "old": ["build", "check.core.old", {"k": "v w", "l": [1]}, VARS],
    "want_json": ["build", "check.core.want", {"k": "v w", "l": [1]}, VARS],
    "binary": ["build", "native", {"k": "v w"}, VARS],
    "bytes": ["build", "check.core.inner", {"a": {"@bytes": "\xff"}}, VARS],
    "set": ["build", "check.core.inner", {"a": {"@set": [1]}}, VARS],
    "unknown": ["build", "no.such.thing", {}, VARS],
}
BIG = "x" * 200_000


def run_local(world: World) -> Run:
    host = {"ansible_connection": "local", "ansible_python_interpreter": PYTHON, "greeting": 'it\'s "$HOME"'}
    return world.run(
        {"here": host},
        {
            "module_defaults": {
                "check.core.inner": {"a": "{{ greeting }}", "b": "inner's"},
                "group/check.core.grp": {"b": "the group's", "c": "the group's"},
                "ansible.builtin.stat": {"path": "/x"},
            },
            "environment": {"LEVEL": "play", "PLAY": True},
            "tasks": [
                world.calls("resolve", *(["resolve", name] for name in RESOLVED)),
                world.calls(
                    "defaults",
                    ["defaults", "check.core.inner", {"c": "own"}],
                    ["defaults", "ansible.builtin.stat", {}],
                    ["defaults", "check.core.want", {"d": 1}],
                ),
                world.calls("build", *BUILT.values(), options={"args": INNER_ARGS}),
                world.calls("build_later", ["make_tmp"], ["build", "check.core.inner", {}, VARS]),
                world.calls("strip", ["strip_omit", "@args", VARS], options={"args": INNER_ARGS}),
                world.calls("interpreter", ["interpreter", VARS]),
                world.calls("words", ["interpreter", VARS], vars={"ansible_python_interpreter": "/usr/bin/env {{ 'python3' }}"}),
                world.calls("quotes", ["interpreter", VARS], vars={"ansible_python_interpreter": "python3 'x"}),
                world.calls(
                    "windows",
                    ["refusal"],
                    ["direct_ok"],
                    ["resolve", "check.core.inner"],
                    vars={"ansible_shell_type": "powershell"},
                ),
                world.calls("direct", ["direct_ok"], ["refusal"]),
                world.calls("sudo", ["direct_ok"], become=True, become_method="sudo"),
                world.calls("su", ["direct_ok"], become=True, become_method="su"),
                world.calls(
                    "send",
                    ["send", "cat; echo two >&2; exit 3", {"@bytes": "one\n"}, 30],
                    ["send", "sha256sum", {"@bytes": BIG}, 30],
                    ["send", "printf '\\377'; cat >/dev/null", {"@bytes": "x"}, 30],
                    ["peek"],
                ),
                world.calls("environment", ["environment"], environment={"LEVEL": "task", "SAID": "{{ greeting }}", "N": 5}),
                world.calls("async_dir", ["shell_async_dir"]),
                world.calls("own_async_dir", ["shell_async_dir"], vars={"ansible_async_dir": "~/elsewhere"}),
                world.calls("close", ["close"], ["send", "cat", {"@bytes": "again"}, 30]),
            ],
        },
    )


@pytest.fixture(scope="module")
def local() -> Run:
    with a_world() as world:
        return run_local(world)


def test_resolve(local: Run) -> None:
    wrong = []
    for index, (name, (fqcn, kind, why_not)) in enumerate(RESOLVED.items()):
        found = value(local, "resolve", index)
        is_right = found["why_not"] is None if why_not is None else why_not in (found["why_not"] or "")
        if not is_right or (found["name"], found["fqcn"], found["kind"]) != (name, fqcn, kind) or name not in found["names"]:
            wrong.append(found)
    assert wrong == []
    assert value(local, "resolve", list(RESOLVED).index("check.core.oldinner"))["names"] == ["check.core.oldinner", "check.core.inner"]


def test_defaults(local: Run) -> None:
    assert value(local, "defaults", 0) == {"a": 'it\'s "$HOME"', "b": "inner's", "c": "own"}
    assert value(local, "defaults", 1) == {"path": "/x"}
    assert value(local, "defaults", 2) == {"d": 1}


def build(run: Run, name: str) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", value(run, "build", list(BUILT).index(name)))


def test_build_new_style(local: Run, tmp_path: Path) -> None:
    built = build(local, "new")
    assert (built["style"], built["words"], built["args_text"]) == ("new", [PYTHON], None)
    result = run_built(built, tmp_path)
    assert result["got"]["a"] == [1, {"y": [[2]]}]
    assert result["got"]["b"] is None
    assert result["got"]["c"] == "Ü 'q' $x"
    assert result["has_tmpdir"] is False
    assert run_built(build(local, "redirected"), tmp_path)["got"]["c"] == "x"


def test_build_does_not_send_the_tmpdir_of_the_task(local: Run, tmp_path: Path) -> None:
    assert value(local, "build_later", 0)
    assert run_built(value(local, "build_later", 1), tmp_path)["has_tmpdir"] is False


def test_build_file_styles(local: Run, tmp_path: Path) -> None:
    old, want, binary = build(local, "old"), build(local, "want_json"), build(local, "binary")
    assert (old["style"], old["words"]) == (want["style"], want["words"]) == ("file", [PYTHON])
    assert "k='v w' " in run_built(old, tmp_path)["args"]
    args = json.loads(run_built(want, tmp_path)["args"])
    assert (args["k"], args["l"], args["_ansible_tmpdir"]) == ("v w", [1], None)
    assert (binary["style"], binary["words"], json.loads(binary["args_text"])["k"]) == ("file", [], "v w")
    assert binary["data"].encode("latin-1") == Path("/bin/true").read_bytes()
    assert run_built(binary, tmp_path) == {}


def test_build_refuses(local: Run, tmp_path: Path) -> None:
    for case, part in {"bytes": "check.core.inner", "set": "check.core.inner", "unknown": "was not found"}.items():
        outcome = local.outcomes["build"][list(BUILT).index(case)]
        if case == "set" and CORE >= (2, 19):  # sent as a list
            assert run_built(outcome.value, tmp_path)["got"]["a"] == [1]
            continue
        assert outcome.raised == "AnsibleActionFail", case
        assert part in str(outcome.text)
        assert "cannot be started detached: " in str(outcome.text)
        assert "\n" not in str(outcome.text)


def test_strip_omit(local: Run) -> None:
    assert value(local, "strip") == {"a": [1, {"y": [[2]]}], "c": INNER_ARGS["c"], "password": SECRET}


def test_interpreter_explicit(local: Run) -> None:
    assert value(local, "interpreter") == [[PYTHON], {}, []]
    assert value(local, "words") == [["/usr/bin/env", "python3"], {}, []]


def test_interpreter_with_unbalanced_quotes(local: Run) -> None:
    assert local.outcomes["quotes"][0].raised == "AnsibleActionFail"


def test_windows_is_refused(local: Run) -> None:
    assert value(local, "windows", 0) == value(local, "windows", 2)["why_not"] == "the host is a Windows host"
    assert "does not take a program" in value(local, "windows", 1)


def test_direct_ok_over_local(local: Run) -> None:
    assert value(local, "direct", 0) is None
    assert value(local, "direct", 1) is None
    assert value(local, "sudo") is None
    assert "su does not take a program" in value(local, "su")


def test_send_over_local(local: Run) -> None:
    assert value(local, "send", 0) == {"rc": 3, "stdout": "one\n", "stderr": "two\n"}
    assert value(local, "send", 1)["stdout"].split()[0] == hashlib.sha256(BIG.encode()).hexdigest()
    assert (value(local, "send", 2)["rc"], value(local, "send", 2)["stdout"]) == (0, "\udcff")
    assert value(local, "send", 3) == {"pipelining": False, "tmpdir": None}


def run_hanging(world: World) -> Run:
    return world.run(
        {"here": {"ansible_connection": "local"}},
        {
            "tasks": [
                world.calls(
                    "hang",
                    ["send", "cat; sleep 60 & sleep 60", {"@bytes": "one\n"}, 1],
                    # what has detached itself outlives the look
                    ["send", f"setsid sh -c 'echo $$ >{world.folder}/detached; sleep 60' >/dev/null 2>&1 & sleep 60", {"@bytes": "x"}, 2],
                    ["send", "cat", {"@bytes": "again"}, 30],
                    ["peek"],
                ),
                world.calls(
                    "timeout",
                    ["send", f"echo $$ >{world.folder}/abandoned; exec sleep 60", {"@bytes": "x"}, 30],
                    timeout=2,
                    ignore_errors=True,
                ),
            ],
        },
    )


class Hanging(t.NamedTuple):
    outcomes: dict[str, list[Outcome]]
    detached_lives: bool
    abandoned_lives: bool


@pytest.fixture(scope="module")
def hanging() -> Hanging:
    with a_world() as world:
        run = run_hanging(world)
        detached, abandoned = (int((world.folder / name).read_text()) for name in ("detached", "abandoned"))
        found = Hanging(run.outcomes, not dead(detached), not dead(abandoned))
        os.killpg(detached, signal.SIGKILL)
        return found


CLEAN_UP = (["make_tmp"], ["clean_up", True], ["peek"])


def test_send_has_a_deadline_over_local(hanging: Hanging) -> None:
    first, second, third, fourth = hanging.outcomes["hang"]
    assert (first.raised, first.timed_out) == (second.raised, second.timed_out) == ("LookMissed", True)
    assert "no answer within 1 seconds" in str(first.text)
    assert first.seconds < 20
    assert hanging.detached_lives
    assert third.value["stdout"] == "again"
    assert fourth.value == {"pipelining": False, "tmpdir": None}


def test_send_leaves_nothing_behind_at_a_task_timeout(hanging: Hanging) -> None:
    assert "timeout" not in hanging.outcomes
    assert not hanging.abandoned_lives


def test_environment(local: Run) -> None:
    assert value(local, "environment") == {"LEVEL": "task", "PLAY": "True", "SAID": 'it\'s "$HOME"', "N": "5"}


def test_shell_async_dir(local: Run) -> None:
    assert value(local, "async_dir") == "~/.ansible_async"
    assert value(local, "own_async_dir") == "~/elsewhere"


def test_close_does_nothing_over_local(local: Run) -> None:
    assert value(local, "close", 0) is None
    assert value(local, "close", 1)["stdout"] == "again"


def test_direct_ok_keep_remote_files() -> None:
    with a_world() as world:
        play = {"tasks": [world.calls("keep", ["direct_ok"])]}
        run = world.run({"here": {"ansible_connection": "local"}}, play, ANSIBLE_KEEP_REMOTE_FILES="1")
    assert value(run, "keep") == "ANSIBLE_KEEP_REMOTE_FILES is on"


# --- over ssh ----------------------------------------------------------------------------------------------------------------


def run_remote(world: World, sshd: Sshd) -> Run:
    session = ["send", "echo $PPID; cat >/dev/null", {"@bytes": "x"}, 30]  # the process of sshd for this connection
    hosts = {
        "a": sshd.host(),
        "b": sshd.host(ansible_ssh_extra_args="-o 'RequestTTY force'"),
        "c": sshd.host(ansible_ssh_common_args="-C -tt"),
        "d": sshd.host(ansible_ssh_extra_args="-o ControlPersist=10s -oRequestTTY=no"),
        "e": sshd.host(ansible_port=1),
    }
    return world.run(
        hosts,
        {
            "hosts": "a",
            "tasks": [
                world.calls("discovered", ["interpreter", VARS], ["interpreter", VARS], options={"facts": True}, ignore_errors=True),
                world.calls("known", ["interpreter", VARS]),
                world.calls("delegated", ["interpreter", VARS], delegate_to="d"),
                world.calls("delegated_facts", ["interpreter", VARS], delegate_to="d", delegate_facts=True),
                world.calls(
                    "built_first", ["build", "check.core.inner", {}, VARS], ["interpreter", VARS], delegate_to="b", delegate_facts=True
                ),
                world.calls(
                    "send",
                    ["send", "cat; echo two >&2; exit 3", {"@bytes": "one\n"}, 30],
                    ["send", "sha256sum", {"@bytes": BIG}, 30],
                    ["direct_ok"],
                ),
                world.calls("close", session, session, ["close"], session),
            ],
        },
        {"hosts": "b", "tasks": [world.calls("tty_b", ["direct_ok"])]},
        {"hosts": "c", "tasks": [world.calls("tty_c", ["direct_ok"])]},
        {"hosts": "d", "tasks": [world.calls("tty_d", ["direct_ok"])]},
        {"hosts": "e", "tasks": [world.calls("refused", ["send", "cat", {"@bytes": "x"}, 30])]},
    )


@pytest.fixture(scope="module")
def remote() -> Run:
    with a_world() as world, an_sshd(world) as sshd:
        return run_remote(world, sshd)


def test_interpreter_discovered(remote: Run) -> None:
    words, facts, _warnings = value(remote, "discovered", 0)
    assert len(words) == 1
    assert Path(words[0]).name.startswith("python3")
    assert facts == {"discovered_interpreter_python": words[0]}
    assert value(remote, "discovered", 1) == [words, facts, []]
    assert value(remote, "known") == [words, {}, []]  # the fact has reached the next task


def test_interpreter_delegated(remote: Run) -> None:
    words, facts, _warnings = value(remote, "delegated")
    assert words
    assert facts == {}
    words, facts, _warnings = value(remote, "delegated_facts")
    assert facts == {"discovered_interpreter_python": words[0]}


def test_interpreter_discovered_by_build(remote: Run) -> None:
    words, facts, _warnings = value(remote, "built_first", 1)
    assert value(remote, "built_first", 0)["words"] == words
    assert facts == {"discovered_interpreter_python": words[0]}


def test_send_over_ssh(remote: Run) -> None:
    assert value(remote, "send", 0) == {"rc": 3, "stdout": "one\n", "stderr": "two\n"}
    assert value(remote, "send", 1)["stdout"].split()[0] == hashlib.sha256(BIG.encode()).hexdigest()


def test_close_ends_the_connection(remote: Run) -> None:
    first, second, closed, third = (value(remote, "close", index) for index in range(4))
    assert closed is None
    assert first["stdout"] == second["stdout"]
    assert third["stdout"] != first["stdout"]


CLEAN_UP = (["make_tmp"], ["clean_up", True], ["peek"])


def test_send_has_a_deadline_over_a_silent_link() -> None:
    """The sshd session is frozen, so that nothing more comes over the link."""
    with a_world() as world, an_sshd(world) as sshd:
        pids = world.folder / "pids"
        freeze = ["send", f"cat; echo $PPID $$ >{pids}; kill -STOP $PPID; exec sleep 60", {"@bytes": "one\n"}, 2]
        calls = world.calls("silent", freeze, ["send", "cat", {"@bytes": "again"}, 30], ["peek"], *CLEAN_UP)
        run = world.run({"a": sshd.host()}, {"tasks": [calls]})
        for pid in pids.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    silent = run.outcomes["silent"][0]
    assert (silent.raised, silent.timed_out) == ("LookMissed", True)
    assert silent.seconds < 30
    assert value(run, "silent", 1)["stdout"] == "again"
    assert value(run, "silent", 2) == {"pipelining": False, "tmpdir": None}
    assert value(run, "silent", 4) is None
    assert not Path(value(run, "silent", 3)).exists()
    assert value(run, "silent", 5)["tmpdir"] is None


def test_send_to_a_host_that_is_not_there(remote: Run) -> None:
    refused = remote.outcomes["refused"][0]
    assert (refused.raised, refused.timed_out) == ("LookMissed", False)
    assert refused.text
    assert "ssh" in refused.text
    assert "\n" not in refused.text


def test_direct_ok_over_ssh(remote: Run) -> None:
    assert value(remote, "send", 2) is None
    assert value(remote, "tty_b") == value(remote, "tty_c") == "the ssh arguments ask for a terminal"
    assert value(remote, "tty_d") is None


# --- become ------------------------------------------------------------------------------------------------------------------


def run_become(world: World, sshd: Sshd, user: User) -> Run:
    who: list[t.Any] = ["send", "id -un; cat", {"@bytes": "data\n"}, 30]
    sudo = {"become": True, "become_method": "sudo"}
    as_games = {**sudo, "become_user": "games"}
    password = {"ansible_become_password": user.password}
    terminal = {"ansible_shell_executable": str(world.folder / "tty-sh"), "ansible_shell_type": "sh"}
    # root becomes the user without a password, and the user then games with one
    through = {"ansible_become_exe": f"sudo -u {user.name} sudo"}
    remote_tasks = [
        world.calls("s_plain", who, **sudo),
        world.calls("s_password", who, ["peek"], **as_games, vars=password),
        world.calls("s_big", ["send", "sha256sum", {"@bytes": BIG}, 30], **as_games, vars=password),
        world.calls("s_wrong", who, **as_games, vars={"ansible_become_password": "wrong"}, ignore_errors=True),
        world.calls("s_tty", who, **sudo, vars=terminal),
    ]
    local_tasks = [
        world.calls("l_plain", who, **as_games),
        world.calls("l_password", who, ["peek"], **as_games, vars={**password, **through}),
        world.calls("l_big", ["send", "sha256sum", {"@bytes": BIG}, 30], **as_games, vars={**password, **through}),
        world.calls("l_tty", who, **as_games, vars=terminal),
    ]
    hosts = {"s": sshd.host(ansible_user=user.name), "l": {"ansible_connection": "local"}}
    return world.run(hosts, {"hosts": "s", "tasks": remote_tasks}, {"hosts": "l", "tasks": local_tasks})


@pytest.fixture(scope="module")
def become() -> Run:
    with a_world() as world, an_sshd(world) as sshd, a_user(world) as user:
        return run_become(world, sshd, user)


def test_send_with_sudo(become: Run) -> None:
    for task, name in {"s_plain": "root", "s_password": "games", "l_plain": "games", "l_password": "games"}.items():
        assert value(become, task) == {"rc": 0, "stdout": f"{name}\ndata\n", "stderr": value(become, task)["stderr"]}, task
    for way in ("s", "l"):
        assert value(become, f"{way}_password", 1) == {"pipelining": False, "tmpdir": None}
        assert value(become, f"{way}_big")["stdout"].split()[0] == hashlib.sha256(BIG.encode()).hexdigest()


def test_send_with_a_wrong_password(become: Run) -> None:
    wrong = become.outcomes["s_wrong"][0]
    assert wrong.raised == "AnsibleError"
    assert "Incorrect sudo password" in str(wrong.text)


def test_send_where_sudo_wants_a_terminal(become: Run) -> None:
    assert become.outcomes["s_tty"][0].raised == become.outcomes["l_tty"][0].raised == "NeedsModuleWay"


# --- clean -------------------------------------------------------------------------------------------------------------------

SUMMARY = {"__ansible_type": "WarningSummary", "event": {"__ansible_type": "Event", "msg": "a summary"}}
ODD: dict[str, t.Any] = {
    "facts are text": {"ansible_facts": "x", "msg": "m"},
    "facts are null": {"ansible_facts": None, "msg": "m"},
    "stdout is a number": {"stdout": 5},
    "surrogates": {"msg": "a\ud800b", "k\udfff": ["\udc80"], "warnings": ["w\ud800"]},
    "line ends": {"msg": "a\x85b\u2028c\u2029d\x0be\x1cf", "rc": 0},
    "a trust tag": {"msg": {"__ansible_type": "TrustedAsTemplate", "value": "{{ 6*7 }}"}},
    "a malformed type": {"msg": {"__ansible_type": "WarningSummary", "event": 5}, "warnings": [SUMMARY]},
    "odd warnings": {"warnings": [{"event": 5}, {"msg": 5}, 5, None, SUMMARY], "deprecations": 5},
    "secrets are a number": {"_ansible_new_secrets": 5, "msg": "m"},
    "secrets are odd": {"_ansible_new_secrets": [5, None, "", {"a": "b"}], "msg": "m"},
    "3000 levels": {"@deep": 3000},
    "200 levels": {"@deep": 199},
    "results is a dict": {"results": {"a": 1}},
    "an exception": {"failed": True, "msg": "m", "exception": "Traceback (most recent call last):\n  boom"},
    "an odd exception": {"failed": True, "msg": "m", "exception": {"a": 1}},
    "odd flags": {"changed": "yes", "failed": "no", "rc": "x", "diff": 5, "ansible_stats": 5, "ansible_job_id": 5, "finished": 1},
    "a list": [1],
    "a list as text": "[1]",
    "no JSON": "{oops",
    "half a document": '{"msg": "m", "a": [1, 2',
    "a document as text": '{"msg": "m", "stdout": "a\\nb"}',
    "deep text": "[" * 100_000,
    "not a number": {"a": float("nan"), "b": 1e400},
}
HOSTILE: dict[str, t.Any] = {
    "changed": True,
    "msg": "{{ 6*7 }}",
    "{{ 6*7 }}": "key",
    "stdout": "one\ntwo",
    "add_host": {"host_name": "evil", "groups": ["evil"]},
    "add_group": "evil",
    "skipped": True,
    "unreachable": True,
    "_ansible_notify": ["evil"],
    "_ansible_no_log": True,
    "_ansible_verbose_override": True,
    "_ansible_delegated_vars": {"ansible_host": "evil"},
    "_ansible_ignore_errors": True,
    "_ansible_item_label": "evil",
    "_ansible_facts_cacheable": True,
    "_ansible_parsed": False,
    "_ansible_suppress_tmpdir_delete": True,
    "deep": [{"_ansible_no_log": True, "kept": 1}],
    "ansible_facts": {
        "discovered_interpreter_python": "/evil/python",
        "ansible_discovered_interpreter_python": "/evil/python",
        "ansible_python_interpreter": "/evil/python",
        "ansible_connection": "evil",
        "plain": "{{ 6*7 }}",
    },
    "warnings": ["first's"],
    "deprecations": [{"msg": "old", "version": "9"}],
}
WITH_SECRET = {"_ansible_new_secrets": [SECRET], "msg": f"it is {SECRET}", "n": {"x": [SECRET]}, "warnings": [f"w {SECRET}"]}


def run_cleaned(world: World) -> Run:
    show = {"name": "Show it", "ansible.builtin.debug": {"var": "r"}}
    return world.run(
        {"here": {"ansible_connection": "local", "ansible_python_interpreter": PYTHON}},
        {
            "handlers": [world.calls("handler", ["peek"]) | {"name": "evil"}],
            "tasks": [
                world.calls("odd", *(["clean", document, VARS] for document in ODD.values())),
                world.calls(
                    "hostile",
                    ["clean", {"msg": "before", "warnings": ["before's", SUMMARY]}, VARS],
                    ["clean", {"msg": "none"}, VARS],
                    ["clean", HOSTILE, VARS],
                    options={"hand_on": True},
                    register="r",
                ),
                show,
                world.calls("after", ["peek", "groups", "r", "ansible_facts", "plain", "ansible_connection"], ["interpreter", VARS]),
                world.calls("deep", ["clean", ODD["200 levels"], VARS], options={"hand_on": True}, register="r"),
                show,
                world.calls("failed", ["clean", ODD["an exception"], VARS], options={"hand_on": True}, register="r", ignore_errors=True),
                show,
                world.calls("secret", ["clean", WITH_SECRET, VARS], options={"hand_on": True}, register="r"),
                show,
            ],
        },
        ANSIBLE_VERBOSITY="3",
    )


@pytest.fixture(scope="module")
def cleaned() -> Run:
    with a_world() as world:
        return run_cleaned(world)


def test_clean_does_not_raise(cleaned: Run) -> None:
    gone = {"warnings", "deprecations", "ansible_facts", "ansible_parsed", "_ansible_parsed", "_ansible_new_secrets"}
    for index, case in enumerate(ODD):
        document, _facts, warnings = value(cleaned, "odd", index)
        assert isinstance(document, dict), case
        assert all(isinstance(warning, str) for warning in warnings), case
        assert not gone & set(document), case


def odd(cleaned: Run, case: str) -> t.Any:
    return value(cleaned, "odd", list(ODD).index(case))


def test_clean_says_what_cannot_be_read(cleaned: Run) -> None:
    for case in ("stdout is a number", "3000 levels", "a list", "a list as text", "no JSON", "half a document", "deep text"):
        document, facts, _warnings = odd(cleaned, case)
        assert (document["failed"], facts) == (True, None), case
        assert "cannot be read" in document["msg"], case
    assert "deeper than 200 levels" in odd(cleaned, "3000 levels")[0]["msg"]


def test_clean_keeps_what_can_be_read(cleaned: Run) -> None:
    assert odd(cleaned, "facts are text")[:2] == odd(cleaned, "facts are null")[:2]
    for case in ("facts are text", "secrets are a number", "secrets are odd", "a document as text"):
        assert odd(cleaned, case)[0]["msg"] == "m", case
    document, _facts, warnings = odd(cleaned, "surrogates")
    assert (document["msg"], document["k\ufffd"], warnings) == ("a\ufffdb", ["\ufffd"], ["w\ufffd"])
    assert odd(cleaned, "line ends")[0]["msg"] == ODD["line ends"]["msg"]
    assert odd(cleaned, "odd warnings")[2] == ["a summary"]
    assert odd(cleaned, "a document as text")[0]["stdout_lines"] == ["a", "b"]
    assert odd(cleaned, "200 levels")[0]["in"]
    assert odd(cleaned, "results is a dict")[0]["ansible_module_results"] == {"a": 1}


def test_clean_takes_warnings_apart(cleaned: Run) -> None:
    assert value(cleaned, "hostile", 0)[2] == ["before's", "a summary"]
    assert value(cleaned, "hostile", 1)[2] == []
    assert value(cleaned, "hostile", 2)[2] == ["first's", "old"]


def test_clean_takes_the_hostile_out(cleaned: Run) -> None:
    document, facts, _warnings = value(cleaned, "hostile", 2)
    assert not [key for key in document if key.startswith(("_ansible", "add_", "skipped", "unreachable", "ansible_"))]
    assert (document["msg"], document["{{ 6*7 }}"], document["stdout_lines"]) == ("{{ 6*7 }}", "key", ["one", "two"])
    assert document["deep"] == [{"kept": 1}]
    assert "discovered_interpreter_python" not in facts
    assert "ansible_discovered_interpreter_python" not in facts
    assert facts["plain"] == "{{ 6*7 }}"


def test_cleaned_result_sets_nothing_in_the_play(cleaned: Run) -> None:
    assert cleaned.rc == 0, cleaned.output
    assert "handler" not in cleaned.outcomes
    peeked = value(cleaned, "after", 0)
    assert "evil" not in json.dumps(peeked["groups"])
    assert peeked["r"]["msg"] == "{{ 6*7 }}"
    assert peeked["r"]["changed"] is True
    assert peeked["ansible_connection"] == "local"
    assert "discovered_interpreter_python" not in peeked["ansible_facts"]
    assert value(cleaned, "after", 1) == [[PYTHON], {}, []]
    assert not {"skipped", "unreachable"} & set(peeked["r"])


def test_clean_keeps_secrets_from_everybody(cleaned: Run) -> None:
    """Core since 2.22 is told of them and masks what it shows; before, they are not in the result."""
    document, _facts, _warnings = value(cleaned, "secret")
    assert (SECRET in json.dumps(document)) is (CORE >= (2, 22))
    assert "Show it" in cleaned.output
    assert SECRET not in cleaned.output
