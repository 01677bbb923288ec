# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test bed (tools/test_bed) in a test: hosts that can be cut off, frozen, filled and rebooted."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible_collections.longhaul.jobs.tools import sshd

PROGRAM = Path(sshd.__file__).absolute().parent / "test_bed"
CANNOT = 3  # the exit status of `up` on a machine that cannot hold a bed
_HOMELESS = ("roofless", "service")
Done = subprocess.CompletedProcess[str]


class CannotHoldABed(Exception):
    """This machine cannot hold a test bed; the sentence that says why."""


def command_line(*words: str | Path) -> list[str]:
    """The words that carry out a verb."""
    return [sys.executable, "-B", str(PROGRAM), *map(str, words)]


class Bed:
    """A context manager: the hosts h1, h2, … live inside ``with``. The methods are the command line's verbs."""

    def __init__(self, count: int = 2, share: t.Iterable[str] = ()) -> None:
        """With so many hosts, which share these paths."""
        self._words = [str(count), *(f"--share={path}" for path in share), f"--owner={os.getpid()}"]
        self.hosts = [f"h{number}" for number in range(1, count + 1)]
        self.folder = Path()

    def __enter__(self) -> Bed:
        done = _run(command_line("up", *self._words))
        if done.returncode == CANNOT:
            raise CannotHoldABed(done.stderr.strip())
        assert done.returncode == 0, done.stderr
        self.folder = Path(done.stdout.strip())
        return self

    def __exit__(self, *_exception: object) -> None:
        self._verb("down")

    def _verb(self, verb: str, *words: object) -> str:
        done = _run(command_line(verb, "--bed", self.folder, *map(str, words)))
        assert done.returncode == 0, f"{verb} {words}: {done.stderr}"
        return done.stdout

    def _inventory(self, section: str) -> dict[str, str]:
        """The lines of a section of inventory.ini, by what is left of the equals sign."""
        text = (self.folder / "inventory.ini").read_text().partition(f"[{section}]\n")[2].partition("\n[")[0]
        return {name: value for name, _is, value in (line.partition("=") for line in text.splitlines() if line)}

    def address(self, host: str) -> str:
        """The host's address."""
        return self._inventory("bed")[f"{host} ansible_host"]

    def password(self, user: str) -> str:
        """That of root, asked (who may sudo with it) or plain."""
        return self._inventory("bed:vars")[f"bed_password_{user}"]

    def variables(self, host: str, user: str = "root") -> dict[str, str]:
        """What an inventory says of the host, to log in as that user; for asked, become by sudo works with no more. For su,
        ansible_become_password is to be the other user's, such as ``{{ bed_password_root }}``."""
        found = {"ansible_connection": "ssh", "ansible_host": self.address(host), **self._inventory("bed:vars"), "ansible_user": user}
        if user == "asked":
            found["ansible_become_password"] = self.password(user)
        if user in _HOMELESS:
            found["ansible_remote_tmp"] = f"/tmp/.ansible-{user}"
        return found

    def ssh(self, host: str, *words: str, user: str = "root", options: t.Iterable[str] = ()) -> list[str]:
        """The words of an ssh client that runs a command there."""
        return ["ssh", "-F", str(self.folder / "ssh_config"), *(f"-o{option}" for option in options), "-l", user, host, *words]

    def say(self, host: str, *words: str, user: str = "root") -> str:
        """What a command prints there, over ssh; it must succeed."""
        done = _run(self.ssh(host, *words, user=user))
        assert done.returncode == 0, f"{words} on {host}: {done.stderr}"
        return done.stdout

    def execute(self, host: str, *words: str) -> str:
        """What a command prints inside the host, without a connection, as root; it must succeed."""
        return self._verb("exec", host, *words)

    def status(self) -> str:
        """A line for each host."""
        return self._verb("status")

    def refuse(self, *hosts: str) -> None:
        """Connections are refused at once, open ones reset; until accept."""
        self._verb("refuse", *hosts)

    def accept(self, *hosts: str) -> None:
        """Take refuse back."""
        self._verb("accept", *hosts)

    def drop(self, *hosts: str) -> None:
        """All packets vanish, both ways; until undrop."""
        self._verb("drop", *hosts)

    def undrop(self, *hosts: str) -> None:
        """Take drop back."""
        self._verb("undrop", *hosts)

    def freeze(self, *hosts: str) -> None:
        """Stop sshd and its sessions, not what they have started; until thaw."""
        self._verb("freeze", *hosts)

    def thaw(self, *hosts: str) -> None:
        """Take freeze back."""
        self._verb("thaw", *hosts)

    def freeze_host(self, *hosts: str) -> None:
        """Stop every process; until thaw_host."""
        self._verb("freeze-host", *hosts)

    def thaw_host(self, *hosts: str) -> None:
        """Take freeze_host back."""
        self._verb("thaw-host", *hosts)

    def delay(self, host: str, ms: float, jitter: float = 0.0, loss: float = 0.0) -> None:
        """Let packets wait so many milliseconds, each way, and lose some per cent of them; until undelay."""
        self._verb("delay", host, ms, jitter, loss)

    def undelay(self, host: str) -> None:
        """Take delay back."""
        self._verb("delay", host, "off")

    def fill(self, host: str, what: t.Literal["blocks", "inodes"], path: str = "/small") -> None:
        """Take all that is free of the small file system there; until empty."""
        self._verb("fill", host, path, what)

    def empty(self, host: str, path: str = "/small") -> None:
        """Take fill back."""
        self._verb("empty", host, path)

    def read_only(self, host: str, path: str) -> None:
        """Nothing below the path can be written; until read_write, or until the host is off."""
        self._verb("read-only", host, path)

    def read_write(self, host: str, path: str) -> None:
        """Take read_only back."""
        self._verb("read-write", host, path)

    def reboot(self, *hosts: str, off: float = 0.0) -> None:
        """Pull the plug, and switch on again after so many seconds."""
        self._verb("reboot", f"--off={off}", *hosts)

    def poweroff(self, *hosts: str) -> None:
        """Pull the plug."""
        self._verb("poweroff", *hosts)

    def boot(self, *hosts: str) -> None:
        """Switch on again."""
        self._verb("boot", *hosts)

    def restart_container(self, *hosts: str) -> None:
        """End all processes, as a container's restart does: a new pid namespace, the same boot id."""
        self._verb("restart-container", *hosts)

    def share(self, path: str, *hosts: str) -> None:
        """One folder at that path for all of them, from now on."""
        self._verb("share", path, *hosts)


def _run(command: list[str]) -> Done:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
