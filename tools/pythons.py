# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python interpreters of this machine: on PATH, in pyenv's versions folder and in the usual places."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from pathlib import Path

# What is run in each candidate: its version, and whether it can make a virtual environment with pip in it.
_ASK = """
import sys
try:
    import ensurepip, venv
    able = 1
except ImportError:
    able = 0
sys.stdout.write("%d.%d %d %s" % (sys.version_info[0], sys.version_info[1], able, sys.executable))
"""


class Python:
    """One interpreter: ``version`` such as (3, 12), its ``path``, and whether it can make a ``venv``."""

    def __init__(self, version: tuple[int, int], path: str, venv: bool) -> None:
        self.version = version
        self.path = path
        self.venv = venv

    def __repr__(self) -> str:
        return f"Python {self.version[0]}.{self.version[1]} at {self.path}"


def _homes() -> set[Path]:
    """$HOME may have been replaced (a test with an empty one): the password database knows the real one."""
    homes = {Path.home()}
    try:
        homes.add(Path(pwd.getpwuid(os.getuid()).pw_dir))
    except KeyError:
        pass
    return homes


def without_shims(path: str) -> str:
    """``path`` ($PATH) without pyenv's shims: they answer to every name and then may refuse to run."""
    return os.pathsep.join(folder for folder in path.split(os.pathsep) if Path(folder).name != "shims")


def _folders() -> list[Path]:
    """Where to look, the likeliest first."""
    path = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    roots = [home / ".pyenv" for home in sorted(_homes())]
    if os.environ.get("PYENV_ROOT"):
        roots.insert(0, Path(os.environ["PYENV_ROOT"]))
    roots += [folder.parent for folder in path if folder.name == "shims"]
    found = [folder for folder in path if folder.name != "shims"]
    for root in roots:
        try:
            found += sorted((folder / "bin" for folder in (root / "versions").iterdir()), reverse=True)
        except OSError:
            continue
    found += [Path("/usr/local/bin"), Path("/usr/bin")]
    return list(dict.fromkeys(found))


def find() -> dict[tuple[int, int], Python]:
    """Each minor version from 3.6 on, in ascending order, with its first interpreter that can make a venv, else its first."""
    found: dict[tuple[int, int], Python] = {}
    seen: set[str] = set()
    for folder in _folders():
        try:
            names = sorted(name for name in os.listdir(folder) if re.fullmatch(r"python3(\.\d+)?", name))
        except OSError:
            continue
        for name in names:
            real = os.path.realpath(folder / name)
            if real in seen:
                continue
            seen.add(real)
            one = _ask(real)  # the interpreter itself, also where the name is a virtual environment's
            if one is not None and (one.version not in found or (one.venv and not found[one.version].venv)):
                found[one.version] = one
    return dict(sorted(found.items()))


def _ask(path: str) -> Python | None:
    """What the interpreter says of itself; None where it does not run, is older than 3.6, or belongs to a virtual environment."""
    code = _ASK + "sys.stdout.write(' %d' % (sys.prefix == sys.base_prefix))\n"
    try:
        done = subprocess.run([path, "-I", "-c", code], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    said = done.stdout.split()
    major, minor = (int(part) for part in said[0].split("."))
    if (major, minor) < (3, 6) or said[3] != "1":
        return None
    return Python((major, minor), said[2], said[1] == "1")


if __name__ == "__main__":
    for interpreter in find().values():
        print(interpreter)
