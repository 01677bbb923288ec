# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test bed (test_bed/) for as long as a tool needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_VERB = (sys.executable, "-B", str(Path(__file__).resolve().parent / "test_bed"))
_CANNOT = 3  # the exit status of `up` on a machine that cannot hold a bed


def run(words: list[str], given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with this text on its standard input."""
    return subprocess.run(words, input=given, capture_output=True, text=True, check=False)


class Bed:
    """A test bed, inside ``with``; where this machine cannot hold one, ``cannot`` is the sentence that says why.

    ``variables`` and ``addresses`` (by host: h1, h2, …) are what its inventory says.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.folder = ""
        self.cannot = ""
        self.addresses: dict[str, str] = {}
        self.variables: dict[str, str] = {}

    def __enter__(self) -> Bed:
        done = run([*_VERB, "up", str(self.count), f"--owner={os.getpid()}"])
        if done.returncode == _CANNOT:
            self.cannot = done.stderr.strip()
            return self
        if done.returncode:
            raise RuntimeError(f"no test bed: {done.stderr.strip()}")
        self.folder = done.stdout.strip()
        for line in Path(self.folder, "inventory.ini").read_text().splitlines():
            name, _is, value = line.partition("=")
            host, _space, of_host = name.partition(" ")
            if of_host:
                self.addresses[host] = value
            elif value:
                self.variables[name] = value
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.folder:
            run([*_VERB, "down", "--bed", self.folder])

    def within(self, host: str, *words: str) -> list[str]:
        """The words that run a command inside the host, as root."""
        return [*_VERB, "exec", "--bed", self.folder, host, *words]

    def home(self, user: str, host: str) -> str:
        """The user's home there."""
        return run(self.within(host, "getent", "passwd", user)).stdout.split(":")[5]
