# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The integration targets, each over the cells of a matrix: transport x connection x who is who.

All cells are on hosts of a test bed, the local ones too: their ansible-playbook runs inside a host, started by the user whose cell it is.
Where there can be no bed, only the cells without another user are left: on this machine, and over an sshd on loopback.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bed import Bed, run
from setting_up import packages
from sshd import Sshd

AT_ONCE, FORKS = 2, "4"  # runs of ansible-playbook, and of each the processes
TRANSPORTS = ("direct", "module")
CONNECTIONS = ("local", "ssh")
HOSTS = {"local": "h1", "direct": "h2", "module": "h3"}  # of the local cells, and of those by ssh with that transport
Variables = dict[str, Any]


class Become(NamedTuple):
    """Who logs in, and the variables by which that user becomes another."""

    login: str
    variables: Variables


# There is no ACL on the hosts: what core itself has to hand over from one user to another, it has to lay open.
_TO_USER = {"ansible_become": True, "ansible_become_user": "plain", "ansible_shell_allow_world_readable_temp": True}
_SU = {"ansible_become": True, "ansible_become_method": "su", "ansible_become_password": "{{ bed_password_root }}"}
BECOMES = {
    "plain": Become("root", {}),
    "sudo": Become("free", {"ansible_become": True}),
    "password": Become("asked", {"ansible_become": True, "ansible_become_password": "{{ bed_password_asked }}"}),
    "su": Become("plain", _SU),
    "user": Become("plain", {}),
    "to-user": Become("free", _TO_USER),
}
LEGEND = (
    "| (password: sudo with a password, user: an unprivileged one, to-user: by sudo to such a one; a dot: in make integration-matrix only)"
)


class Cell(NamedTuple):
    """One of the ways to a host."""

    transport: str
    connection: str
    become: str

    @property
    def name(self) -> str:
        """Its host's in the inventory."""
        return "-".join(self)

    @property
    def host(self) -> str:
        """The bed's host that its jobs are on."""
        return HOSTS["local" if self.connection == "local" else self.transport]

    @property
    def controller(self) -> tuple[str, str]:
        """Where, and by which user, its ansible-playbook is run."""
        return (self.host, BECOMES[self.become].login) if self.connection == "local" else ("", "")


CELLS = [Cell(transport, connection, become) for transport in TRANSPORTS for connection in CONNECTIONS for become in BECOMES]
# The targets that are not for every cell.
ONLY: dict[str, Callable[[Cell], bool]] = {
    "become": lambda cell: cell.become == "plain" and cell.transport == "direct",  # goes from root to others, both ways
    "refused": lambda cell: cell.become in ("plain", "user"),  # refused before any way is gone
    "transports": lambda cell: cell.transport == "direct",  # goes both ways
}


def is_for(target: str, cell: Cell) -> bool:
    """Whether the target makes sense in the cell."""
    return target not in ONLY or ONLY[target](cell)


def is_chosen(target: str, number: int, cell: Cell) -> bool:
    """Whether the cell is in the quarter that the target of that number has in `make test`: for each become one, and of four
    targets, one after another, each has other cells."""
    ways = 2 * TRANSPORTS.index(cell.transport) + CONNECTIONS.index(cell.connection)
    return target == "become" or (number + ways + list(BECOMES).index(cell.become)) % 4 == 0


class Log(Protocol):
    """The part of the checks that is written to."""

    log: Path
    skips: list[str]


class Matrix:
    """The targets over the cells: ``run`` does all of it, and what came of it is in the part's log, a table at its end."""

    def __init__(self, part: Log, here: Path, env: dict[str, str], scratch: Path, targets: list[str]) -> None:
        self.part = part
        self.folder = here / "tests" / "integration"
        self.env = {**env, "ANSIBLE_ROLES_PATH": str(self.folder / "targets")}
        self.scratch = scratch
        self.every = sorted(one.name for one in (self.folder / "targets").iterdir())
        self.targets = targets or self.every
        unknown = set(self.targets).difference(self.every)
        if unknown:
            raise RuntimeError(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(self.every)}")
        self.results: dict[tuple[str, Cell], str] = {}
        self._writing = threading.Lock()

    def run(self, full: bool) -> None:
        """All cells of each target, or a quarter of them; raises RuntimeError where one fails."""
        with Bed(len(HOSTS)) as bed:
            for target in self.targets:
                number = self.every.index(target)
                for cell in CELLS:
                    if is_for(target, cell):
                        chosen = full or bed.cannot or is_chosen(target, number, cell)
                        self.results[target, cell] = "FAILED" if chosen else "."  # until the opposite is heard
            self._skip(self._cannot(bed))
            second = "become", Cell("direct", "ssh", "plain")
            if bed.cannot and second in self.results:
                self.results[second] = "skipped"
                self.part.skips.append("become over ssh: on one machine it would remove what the local cell uses")
            groups: dict[tuple[str, str], list[Cell]] = {}
            for cell in CELLS:
                if self._targets_of(cell):
                    groups.setdefault(("", "") if bed.cannot else cell.controller, []).append(cell)
            if bed.cannot and any(cell.connection == "ssh" for cells in groups.values() for cell in cells):
                with Sshd(self.scratch / "sshd") as server:
                    self._play_all(bed, groups, server)
            else:
                self._play_all(bed, groups, None)
        self._tell()

    def _targets_of(self, cell: Cell) -> list[str]:
        """Those that are to run in the cell."""
        return [target for target in self.targets if self.results.get((target, cell)) == "FAILED"]

    def _cannot(self, bed: Bed) -> dict[Cell, str]:
        """The cells that cannot be had here, and why."""
        if not bed.cannot:
            return self._unreadable(bed)
        found = {cell: f"there is no test bed: {bed.cannot}" for cell in CELLS if cell.become != "plain"}
        if {"openssh-server", "openssh-client"}.intersection(packages()):
            found |= {cell: "openssh-server and openssh-client are not here" for cell in CELLS if cell.connection == "ssh"}
        return found

    def _unreadable(self, bed: Bed) -> dict[Cell, str]:
        """The local cells, where their users cannot read Ansible and the collection; the folders above are opened, inside the host."""
        program = shutil.which("python", path=self.env["PATH"]) or sys.executable
        above = {folder for path in (Path(program), Path(program).resolve(), self.folder) for folder in path.parents}
        closed = [str(folder) for folder in above if not folder.stat().st_mode & 1]
        host = HOSTS["local"]
        if closed:
            run(bed.within(host, "chmod", "a+x", *closed))
        script = 'cat "$1" >/dev/null && "$0" -c "import ansible"'
        done = run(bed.within(host, "runuser", "-u", "plain", "--", "sh", "-c", script, program, str(self.folder / "run.yml")))
        if not done.returncode:
            return {}
        return {cell: f"inside a test bed, {done.stderr.strip()[-200:]}" for cell in CELLS if cell.connection == "local"}

    def _skip(self, cannot: dict[Cell, str]) -> None:
        """Take these cells out, and say so."""
        for target, cell in self.results:
            if cell in cannot:
                self.results[target, cell] = "skipped"
        for reason in dict.fromkeys(cannot.values()):
            names = ", ".join(cell.name for cell in cannot if cannot[cell] == reason)
            self.part.skips.append(f"cells {names}: {reason}")

    def _play_all(self, bed: Bed, groups: dict[tuple[str, str], list[Cell]], server: Sshd | None) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda item: self._play(bed, server, *item), groups.items()))

    def _play(self, bed: Bed, server: Sshd | None, controller: tuple[str, str], cells: list[Cell]) -> None:
        """One ansible-playbook with all that is to run in these cells, its output to the log."""
        host, user = controller
        name = f"controller-{user or 'here'}"
        folder = f"/var/tmp/{name}" if host else str(self.scratch)
        shared = dict(bed.variables)
        if bed.cannot:
            shared["ansible_python_interpreter"] = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        own = {
            "ansible_connection": "local",
            "ansible_python_interpreter": shared["ansible_python_interpreter"],
            "ansible_async_dir": f"{folder}/{name}/{{{{ target }}}}",
        }
        hosts = {cell.name: self._variables(bed, server, cell) for cell in cells}
        inventory = {"all": {"hosts": {"controller": own}, "children": {"cells": {"hosts": hosts, "vars": shared}}}}
        words = ["ansible-playbook", "-i", f"{folder}/{name}.yml", "--forks", FORKS, "run.yml"]
        if host:
            lay_down = bed.within(host, "runuser", "-u", user, "--", "sh", "-c", f"mkdir -m 700 {folder} && cat >{folder}/{name}.yml")
            run(lay_down, json.dumps(inventory))
            settings = [f"{key}={value}" for key, value in self.env.items() if key == "PATH" or key.startswith("ANSIBLE_")]
            clean = ["env", "-i", f"--chdir={self.folder}", f"HOME={bed.home(user, host)}", "LC_ALL=C.UTF-8", *settings]
            words = bed.within(host, "runuser", "-u", user, "--", *clean, *words)
        else:
            Path(folder, f"{name}.yml").write_text(json.dumps(inventory))
        done = subprocess.run(
            words, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        said = done.stdout.decode(errors="replace")
        with self._writing, open(self.part.log, "a") as log:
            log.write(f"$ {' '.join(words)}\n{said}\n")
        for cell in cells:
            for target in re.findall(rf'"msg": "{cell.name} of (\S+): ok"', said):
                self.results[target, cell] = "ok"
        with self._writing:
            self.part.skips += sorted(set(re.findall(r"skipped, since .*?(?=\")", said)))

    def _variables(self, bed: Bed, server: Sshd | None, cell: Cell) -> Variables:
        """What the inventory says of the cell's host."""
        login, variables = BECOMES[cell.become]
        found = {
            **variables,
            "longhaul_transport": cell.transport,
            "ansible_connection": cell.connection,
            "targets": self._targets_of(cell),
        }
        found["ansible_async_dir"] = f"{self.scratch if bed.cannot else '/var/tmp'}/{cell.name}/{{{{ target }}}}"
        if cell.transport == "direct":
            found["ansible_pipelining"] = True  # core's own modules are faster then; without it: the target transports
        if not bed.cannot:
            found |= {"ansible_host": bed.addresses[cell.host], "ansible_user": login}
        elif cell.connection == "ssh" and server is not None:
            found |= {
                "ansible_host": "127.0.0.1",
                "ansible_port": server.port,
                "ansible_user": server.user,
                "ansible_ssh_private_key_file": str(server.key),
                "ansible_ssh_common_args": f"-F none -o StrictHostKeyChecking=yes -o UserKnownHostsFile={server.known_hosts}",
            }
        return found

    def _tell(self) -> None:
        """Write the table and the numbers; raises RuntimeError where something failed."""
        count = {state: list(self.results.values()).count(state) for state in ("ok", "FAILED", "skipped", ".")}
        ran = {cell for (_target, cell), result in self.results.items() if result in ("ok", "FAILED")}
        lines = [
            f"| {'':23}" + "".join(f"{transport:54}" for transport in TRANSPORTS),
            f"| {'':23}" + "".join(f"{one:9}" for one in BECOMES) * 2,
        ]
        for target in self.targets:
            for connection in CONNECTIONS:
                row = [self.results.get((target, Cell(way, connection, become)), "") for way in TRANSPORTS for become in BECOMES]
                lines.append(f"| {target:16}{connection:7}" + "".join(f"{result:9}" for result in row))
        lines = [line.rstrip() for line in lines]
        lines.append(LEGEND)
        passed = f"integration: {count['ok']} passed, {count['FAILED']} failed, {count['skipped']} skipped of {len(self.results)}"
        lines.append(f"{passed} (a target in a cell); {len(ran)} cells of {len(CELLS)}, {count['.']} left out")
        with open(self.part.log, "a") as log:
            log.write("\n".join(["", *lines, ""]))
        failed = dict.fromkeys(target for (target, _cell), result in self.results.items() if result == "FAILED")
        if failed:
            raise RuntimeError(f"the targets {', '.join(failed)} failed")
