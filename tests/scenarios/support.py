# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios stand on: small playbooks run by a real ansible-playbook on hosts that are this machine, and what came of them."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import typing as t
from pathlib import Path

from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, alive, wait_for
from ansible_collections.longhaul.jobs.tools import sshd

Json = dict[str, t.Any]

HERE = Path(__file__).absolute().parent
COLLECTIONS = Path(sshd.__file__).absolute().parents[4]
BIN = Path(sys.executable).parent
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
_DROPPED = ("ANSIBLE_", "LONGHAUL_", "PYTHON", "PYTEST_", "VIRTUAL_ENV", "SSH_", "PYENV")


def other_cores() -> dict[str, Path]:
    """{version: folder of its programs} of the environment's LONGHAUL_CORES, such as 2.18=/path/bin:2.22=/path/bin."""
    pairs = [item.partition("=") for item in os.environ.get("LONGHAUL_CORES", "").split(":") if "=" in item]
    return {version: Path(path) for version, _is, path in pairs}


def processes() -> t.Iterator[tuple[int, str]]:
    """(pid, command line) of every process of this machine; a kernel thread's is empty."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue


def _folder_of(pid: int) -> str:
    """Where a process is; empty where that cannot be seen."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


class Run:
    """One run of ansible-playbook, while it lasts and afterwards."""

    def __init__(self, words: list[str], environment: dict[str, str], folder: Path) -> None:
        self._events = Path(environment["LONGHAUL_EVENTS"])
        self._out = folder / f"{self._events.stem}.out"
        self._seen: list[Json] = []
        self._read = 0
        self.rc: int | None = None
        with open(self._out, "wb") as out:
            self.process = subprocess.Popen(
                words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    @property
    def output(self) -> str:
        """All that it has printed up to now."""
        return self._out.read_text(errors="replace")

    @property
    def events(self) -> list[Json]:
        """What its callbacks have been told up to now."""
        if self._events.exists():
            with open(self._events) as stream:
                stream.seek(self._read)
                for line in stream.readlines():
                    if line.endswith("\n"):
                        self._seen.append(json.loads(line))
                        self._read += len(line)  # it is ASCII
        return self._seen

    def finish(self, rc: int | None = 0, seconds: float = 90.0) -> Run:
        """Wait for its end; fails where its exit status is not ``rc`` (None: any)."""
        try:
            self.rc = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"the run does not end:\n{self.output[-8000:]}") from None
        assert rc is None or self.rc == rc, f"exit status {self.rc}\n{self.output[-8000:]}"
        return self

    def stop(self) -> None:
        """End it and its workers, which are in its session."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def wait_for(self, condition: t.Callable[[], t.Any], seconds: float = 30.0) -> t.Any:
        """The first true value of ``condition`` while the run lasts."""
        until = time.monotonic() + seconds
        while not (value := condition()):
            assert self.process.poll() is None, f"it ended too early:\n{self.output[-8000:]}"
            assert time.monotonic() < until, f"waited in vain:\n{self.output[-8000:]}"
            time.sleep(0.02)
        return value

    def of(self, task: str, host: str | None = None) -> list[Json]:
        """The events of a task, in their order."""
        return [event for event in self.events if event["task"] == task and host in (None, event["host"])]

    def last(self, task: str, host: str | None = None) -> Json:
        """The last event of a task: ``kind`` and ``result``."""
        found = self.of(task, host)
        assert found, f"there was no such task: {task}\n{self.output[-8000:]}"
        return found[-1]

    def result(self, task: str, host: str | None = None) -> Json:
        """The result of a task, as callbacks get it."""
        return t.cast(Json, self.last(task, host)["result"])


class Stage:
    """A scratch folder with an inventory and an async dir, and all that ansible-playbook needs to play on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = folder / "async"
        self.spools = [self.spool]
        self.hosts: dict[str, Json] = {}
        self.collections = folder / "collections"
        self._runs: list[Run] = []
        (folder / "ansible.cfg").touch()

    def add_local(self, name: str = "local", **variables: t.Any) -> None:
        """A host that is this machine, without a connection."""
        self.hosts[name] = {"ansible_connection": "local", **self._common(), **variables}

    def add_ssh(self, server: sshd.Sshd, name: str = "loopback", **variables: t.Any) -> None:
        """A host that is this machine by way of an sshd of ours."""
        self.hosts[name] = {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": server.port,
            "ansible_user": server.user,
            "ansible_ssh_private_key_file": str(server.key),
            "ansible_ssh_common_args": f"-F none -o StrictHostKeyChecking=yes -o UserKnownHostsFile={server.known_hosts}",
            **self._common(),
            **variables,
        }

    def add_bed_host(self, bed: Bed, host: str, user: str = "root", name: str = "", **variables: t.Any) -> None:
        """A host of a test bed, with its users' own async dirs, and master connections that end with the stage; ``name``: for the play."""
        self.hosts[name or host] = {**bed.variables(host, user), "ansible_control_path_dir": str(self.folder / "cp"), **variables}

    def _common(self) -> Json:
        return {"ansible_python_interpreter": PYTHON, "ansible_async_dir": str(self.spool), "ansible_remote_tmp": str(self.folder / "tmp")}

    def add_module(self, name: str, text: str | bytes) -> str:
        """A module of a collection of the test's own; its full name."""
        folder = self.collections / "ansible_collections" / "longhaul" / "scenario" / "plugins" / "modules"
        folder.mkdir(parents=True, exist_ok=True)
        data = text if isinstance(text, bytes) else textwrap.dedent(text).lstrip().encode()
        (folder / (name if isinstance(text, bytes) else f"{name}.py")).write_bytes(data)
        return f"longhaul.scenario.{name}"

    def begin(
        self,
        tasks: str,
        *arguments: str,
        hosts: str = "all",
        handlers: str = "[]",
        programs: Path = BIN,
        folder: Path | None = None,
        **environment: str,
    ) -> Run:
        """Begin to run these tasks, written as in a playbook, or a whole playbook where the text begins with a play.

        The playbook is put into ``folder``, if that is another than the stage's.
        """
        number = len(self._runs) + 1
        text = textwrap.dedent(tasks).strip()
        if "\n  hosts:" not in text:
            head = f"- name: A play\n  hosts: {hosts}\n  gather_facts: false\n"
            parts = [
                f"  {key}:\n{textwrap.indent(textwrap.dedent(part).strip(), ' ' * 4)}\n"
                for key, part in (("handlers", handlers), ("tasks", text))
            ]
            text = head + "".join(parts)
        playbook = (folder or self.folder) / f"play-{number}.yml"
        playbook.write_text(text)
        return self._begin(str(playbook), arguments, programs, environment)

    def _begin(self, playbook: str, arguments: t.Iterable[str], programs: Path, environment: t.Mapping[str, str]) -> Run:
        number = len(self._runs) + 1
        inventory = self.folder / f"inventory-{number}.json"
        inventory.write_text(json.dumps({"all": {"hosts": self.hosts}}))
        words = [str(programs / "ansible-playbook"), "-i", str(inventory), playbook, *arguments]
        run = Run(words, {**self._environment(programs, number), **environment}, self.folder)
        self._runs.append(run)
        return run

    def play(self, tasks: str, *arguments: str, rc: int | None = 0, **given: t.Any) -> Run:
        """Run these tasks to their end."""
        return self.begin(tasks, *arguments, **given).finish(rc)

    def play_by_name(self, playbook: str, *arguments: str, rc: int | None = 0) -> Run:
        """Run a playbook of a collection to its end."""
        return self._begin(playbook, arguments, BIN, {}).finish(rc)

    def _environment(self, programs: Path, number: int) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
        path = [folder for folder in kept.get("PATH", os.defpath).split(os.pathsep) if not folder.endswith("/shims")]
        return {
            **kept,
            "PATH": os.pathsep.join([str(programs), *path]),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "ANSIBLE_COLLECTIONS_PATH": f"{COLLECTIONS}:{self.collections}",
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
            "LONGHAUL_EVENTS": str(self.folder / f"run-{number}.events"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def clean_up(self) -> None:
        """End by id whatever the test has left, and remove its folder."""
        for run in self._runs:
            run.stop()
        for spool in self.spools:
            Engine(spool).clean_up()
            with contextlib.suppress(OSError):
                spool.rmdir()  # one that is not in the folder and is empty now
        wait_for(self._end_left)
        shutil.rmtree(self.folder)

    def _end_left(self) -> bool:
        """End core's wrappers and their modules, workers and master connections; whether there was nothing left."""
        left = self._left()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(os.getpgid(pid), signal.SIGKILL)
        return not left

    def _left(self) -> list[int]:
        """The processes that were started by a file of the folder, or have one for an argument."""
        found = []
        for pid, line in processes():
            with contextlib.suppress(ProcessLookupError):
                # A master connection that was told to stop has another command line, but its folder still.
                is_of_us = f"{self.folder}/" in line or _folder_of(pid).startswith(str(self.folder))
                if is_of_us and alive(pid) and os.getpgid(pid) != os.getpgrp():
                    found.append(pid)
        return found


class Server(sshd.Sshd):
    """An sshd that can go and come back on the same port."""

    def stop(self) -> None:
        """End it and its sessions: the port refuses connections, and no master connection is left."""
        self._end()

    def start_again(self) -> None:
        """Start it anew, with the port and keys it had."""
        words = [str(sshd.binary()), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def all_processes(self) -> list[int]:
        """The pids of its sessions, and of itself."""
        assert self._process is not None
        return [*self.sessions(), self._process.pid]


KEYS_OF_USERS = "Match User lhs*\n    AuthorizedKeysFile {keys}/%u"  # lines for an sshd's configuration


class User:
    """A user of this machine for one test; needs root. It has a password; its home is yet to be made."""

    def __init__(self, home: Path) -> None:
        self.name = f"lhs{secrets.token_hex(3)}"
        self.password = secrets.token_hex(12)
        self.home = home
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"], input=self.password, capture_output=True, text=True, check=True
        ).stdout
        words = [
            "useradd",
            "--no-create-home",
            "--no-user-group",
            "--home-dir",
            str(home),
            "--shell",
            "/bin/bash",
            "--password",
            hashed.strip(),
        ]
        subprocess.run([*words, self.name], check=True)
        self.uid = pwd.getpwnam(self.name).pw_uid
        self.fallback = Path(f"/var/tmp/.longhaul-{self.uid}")

    def make_home(self) -> None:
        """A home of its own, writable."""
        self.home.mkdir(mode=0o700)
        os.chown(self.home, self.uid, -1)

    def let_in(self, server: sshd.Sshd, keys: Path) -> None:
        """Allow the server's key; the server must have been told, by KEYS_OF_USERS, to look in the folder ``keys``."""
        keys.mkdir(exist_ok=True)
        shutil.copy(f"{server.key}.pub", keys / self.name)

    def remove(self) -> None:
        """End the user's processes by id and take the user away."""
        for pid in self._processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        wait_for(lambda: not any(map(alive, self._processes())))
        shutil.rmtree(self.fallback, ignore_errors=True)
        subprocess.run(["userdel", "--force", self.name], check=True, capture_output=True)

    def _processes(self) -> list[int]:
        found = []
        for pid, _command in processes():
            try:
                if os.stat(f"/proc/{pid}").st_uid == self.uid:
                    found.append(pid)
            except OSError:
                continue
        return found
