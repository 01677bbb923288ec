# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where tests and demo run: virtual environments, copies of the tree, packages of the distribution. Made once, under .build/, and reused.

Nothing here needs more than Python 3.11's standard library, git and an index of packages that pip has been told of.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pythons
import sshd

TOP = Path(__file__).resolve().parent.parent
BUILD = TOP / ".build"
REQUIREMENTS = TOP / "tests" / "requirements"
NEWEST = "2.21"  # the newest core that is no release candidate

# Of each core: what pip is asked for, and the Pythons that its controller takes, the preferred one first.
CORES: dict[str, tuple[str, tuple[tuple[int, int], ...]]] = {
    "2.16": ("ansible-core>=2.16,<2.17", ((3, 10), (3, 11), (3, 12))),
    "2.17": ("ansible-core>=2.17,<2.18", ((3, 11), (3, 10), (3, 12))),
    "2.18": ("ansible-core>=2.18,<2.19", ((3, 11), (3, 12), (3, 13))),
    "2.19": ("ansible-core>=2.19,<2.20", ((3, 11), (3, 12), (3, 13))),
    "2.20": ("ansible-core>=2.20,<2.21", ((3, 12), (3, 13), (3, 14))),
    "2.21": ("ansible-core>=2.21,<2.22", ((3, 12), (3, 13), (3, 14))),
    "2.22": ("ansible-core>=2.22.0b0,<2.23", ((3, 13), (3, 14))),
}
PRE_RELEASES = ("2.22",)
ANY_CORE = "ansible-core!=2.17.*"  # molecule, pytest-ansible and ansible-lint refuse 2.17
TOOLS_PYTHONS = ((3, 12), (3, 13), (3, 11), (3, 14))


class Missing(Exception):
    """Something that this machine has not, in words: the part that needs it is skipped."""


class Environments:
    """The virtual environments by name; safe to be asked from several threads."""

    def __init__(self) -> None:
        self.pythons = pythons.find()
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def core(self, version: str) -> Path:
        """The folder of the environment with that core, and pytest."""
        asked, wanted = CORES[version]
        options = ["--pre"] if version in PRE_RELEASES else []
        return self._venv(f"core-{version}", wanted, [*options, asked], ["unit"], f"ansible-core {version}")

    def python_of(self, version: str) -> tuple[int, int] | None:
        """The Python that this core gets here, None where there is none for it."""
        usable = self._usable(CORES[version][1])
        return usable[0].version if usable else None

    def newest(self) -> tuple[str, Path]:
        """The newest core that is no release candidate and has its Python here; (version, folder)."""
        for version in sorted(CORES, key=lambda one: int(one.split(".")[1]), reverse=True):
            if version not in PRE_RELEASES:
                try:
                    return version, self.core(version)
                except Missing:
                    continue
        raise Missing("no Python for any released ansible-core from 2.16 on is here")

    def tools(self, name: str) -> Path:
        """The folder of the environment of tests/requirements/<name>.txt beside any core that it takes."""
        return self._venv(name, TOOLS_PYTHONS, [ANY_CORE], [name], name)

    def _venv(self, name: str, wanted: Sequence[tuple[int, int]], packages: list[str], files: list[str], title: str) -> Path:
        usable = self._usable(wanted)
        if not usable:
            names = ", ".join(f"{major}.{minor}" for major, minor in wanted)
            raise Missing(f"{title} needs one of the Pythons {names} (with venv and ensurepip): none is here")
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            return _make(BUILD / "venv" / name, usable[0], packages, [REQUIREMENTS / f"{one}.txt" for one in files])

    def _usable(self, wanted: Sequence[tuple[int, int]]) -> list[pythons.Python]:
        return [self.pythons[version] for version in wanted if version in self.pythons and self.pythons[version].venv]


def _make(folder: Path, python: pythons.Python, packages: list[str], files: list[Path]) -> Path:
    """Make the environment, unless one of the same making is there: the stamp tells."""
    stamp = folder / "made-of"
    text = "\n".join([str(TOP), repr(python), *packages, *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)])
    if stamp.exists() and stamp.read_text() == text:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{folder.name}.log"
    make = [python.path, "-m", "venv", str(folder)]
    fill = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages]
    fill += [word for file in files for word in ("-r", str(file))]
    with open(log, "wb") as stream:
        for command in (make, fill):
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False).returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text(errors='replace')[-3000:]}")
    stamp.write_text(text)
    return folder


def tree(name: str) -> Path:
    """Copy what git knows of the project (and what is new) to a collection's folder of its own; its path.

    What has gone is removed, what tools left is kept. ansible-test refuses a symlink, and parts that run side by side must not see
    each other's leftovers. A repository of its own (without a commit) keeps tools that ask git from finding ours, which ignores .build/.
    """
    target = BUILD / "tree" / name / "ansible_collections" / "longhaul" / "jobs"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TOP, capture_output=True, check=True
    ).stdout.split(b"\0")
    names = {os.fsdecode(one) for one in listed if one}
    for relative in sorted(names):
        source, copy = TOP / relative, target / relative
        if not os.path.lexists(source):
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            if not copy.is_symlink() or os.readlink(copy) != os.readlink(source):
                copy.unlink(missing_ok=True)
                copy.symlink_to(os.readlink(source))
        elif copy.is_symlink() or not copy.exists() or _looks(copy) != _looks(source):
            copy.unlink(missing_ok=True)
            shutil.copy2(source, copy)
    if not (target / ".git").exists():
        subprocess.run(["git", "init", "--quiet", str(target)], capture_output=True, check=True)
    kept = (".ansible", ".git", "collections", os.path.join("tests", "output"))
    emptied: list[str] = []
    for folder, folders, files in os.walk(target):
        inside = os.path.relpath(folder, target)
        folders[:] = [one for one in folders if os.path.normpath(os.path.join(inside, one)) not in kept]
        emptied.append(folder)
        for file in files:
            relative = os.path.normpath(os.path.join(inside, file))
            if relative not in names or not os.path.lexists(TOP / relative):
                os.unlink(os.path.join(folder, file))
    for folder in reversed(emptied):
        if not os.listdir(folder):
            os.rmdir(folder)
    return target


def _looks(path: Path) -> tuple[int, int, int]:
    """Size, time and mode: enough to see that a copy is as old as its source."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_mode


def environment(folder: Path, collections: Path | None = None) -> dict[str, str]:
    """The variables for a command of that environment: none of the caller's Ansible or Python settings, no shims on PATH."""
    dropped = ("ANSIBLE_", "MOLECULE_", "PYTEST_", "LONGHAUL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONUNBUFFERED", "VIRTUAL_ENV", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        kept.pop(name, None)
    configuration = BUILD / "ansible.cfg"
    if not configuration.exists():
        configuration.parent.mkdir(parents=True, exist_ok=True)
        configuration.touch()
    kept["PATH"] = os.pathsep.join([str(folder / "bin"), pythons.without_shims(kept.get("PATH", os.defpath))])
    kept["ANSIBLE_CONFIG"] = str(configuration)
    if collections is not None:
        kept["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    if not Path(kept.get("HOME", "/")).is_absolute() or not os.access(kept.get("HOME", ""), os.W_OK):
        kept["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    if "UTF-8" not in kept.get("LC_ALL", kept.get("LANG", "")).upper().replace("UTF8", "UTF-8"):
        kept["LC_ALL"] = "C.UTF-8"
    return kept


def packages() -> list[str]:
    """Install, as root and with apt, what the tests use of the distribution's packages; the names of what is missing still."""
    absent = _absent()
    if absent and os.getuid() == 0 and shutil.which("apt-get"):
        BUILD.mkdir(exist_ok=True)
        quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        with open(BUILD / "apt.log", "wb") as log:
            for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *absent]):
                subprocess.run(command, env=quietly, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
        absent = _absent()
    return absent


def _absent() -> list[str]:
    """The packages whose program is not here."""
    programs = {"openssh-client": "ssh", "sudo": "sudo", "iproute2": "ip", "nftables": "nft", "mount": "mount", "faketime": "faketime"}
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    absent = [name for name, program in programs.items() if not shutil.which(program, path=path)]
    if sshd.binary() is None:
        absent.append("openssh-server")
    if not os.path.exists("/usr/bin/python3"):
        absent.append("python3")  # the hosts' of a test bed
    if shutil.which("apt-get") and not os.path.exists("/usr/lib/python3/dist-packages/apt"):
        absent.append("python3-apt")  # what ansible.builtin.apt stands on
    if not any(python.venv for version, python in pythons.find().items() if version >= (3, 11)):
        absent.append("python3-venv")
    return absent


def get_pip(folder: Path) -> None:
    """Put the stand-in for get-pip where ansible-test looks for it, only if the real one is not there and cannot be had."""
    package = next((folder / "lib").glob("python3*/site-packages/ansible_test"))
    version = re.search(r"pip='([\d.]+)'", (package / "_internal" / "python_requirements.py").read_text())
    address = re.search(r"url = '([^']+)' % pip_version", (package / "_util" / "target" / "setup" / "requirements.py").read_text())
    if version is None or address is None:
        return
    cache = Path(environment(folder)["HOME"], ".ansible", "test", "cache", f"get_pip_{version[1].replace('.', '_')}.py")
    if cache.exists():
        return
    if not _reachable(address[1] % version[1]):
        cache.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TOP / "tools" / "get_pip_stub.py", cache)


def out_of_reach(folder: Path) -> list[str]:
    """The sanity tests of that environment's ansible-test whose requirements are at an address that cannot be reached from here."""
    package = next((folder / "lib").glob("python3*/site-packages/ansible_test"))
    found = []
    for file in sorted((package / "_data" / "requirements").glob("sanity.*.txt")):
        if not all(map(_reachable, re.findall(r"https://[^\s;]+", file.read_text()))):
            found.append(file.name.split(".")[1])
    return found


def _reachable(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=15):
            return True
    except OSError:
        return False
