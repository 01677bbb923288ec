# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same leaves under core's own limit: its async_wrapper, run as core runs it on a target, and what lives on afterwards."""

from __future__ import annotations

import json
import math
import os
import secrets
import shlex
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

from ansible_collections.longhaul.jobs.tests.kill_matrix.register import Register, Who
from ansible_collections.longhaul.jobs.tests.kill_matrix.trials import LIMIT, READY_SECONDS, Ground, Leaf, Outcome, Owner, words
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import wait_for

ANSWER_SECONDS = 60.0


class Core:
    """ansible-core's wrapper and what it imports, where every user may read them."""

    def __init__(self, place: Ground) -> None:
        import ansible
        from ansible.release import __version__

        self.version = __version__
        self.place = place
        package = Path(ansible.__file__).parent
        self.path = place.folder / "core"
        copy = self.path / "ansible"
        shutil.copytree(package / "module_utils", copy / "module_utils", ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "__init__.py").touch()  # as in what core sends to a target
        shutil.copy(package / "modules" / "async_wrapper.py", self.path)
        for folder, folders, files in os.walk(self.path):
            for name in (*folders, *files):
                os.chmod(os.path.join(folder, name), 0o755)
        self.path.chmod(0o755)

    def command_line(self, payload: list[str]) -> list[str]:
        """What core runs: since 2.21 id, limit, preserve_tmp, module, command; before, the command was one word."""
        first = [self.place.python, str(self.path / "async_wrapper.py"), "1", str(int(LIMIT))]
        if int(self.version.split(".")[1]) >= 21:
            return [*first, "true", "/module", *payload]
        return [*first, shlex.join(payload), "_", "-preserve_tmp"]


def trial(leaf: Leaf, owner: Owner, core: Core) -> Outcome:
    """One job of core's with this leaf and the limit: what survived it, and after how many seconds it was answered."""
    folder, outcome = core.place.new(), Outcome()
    nonce = f"leaf-{secrets.token_hex(8)}"
    register = Register(folder / "made", nonce)
    os.mkfifo(folder / "never")
    spool = folder / "spool"
    spool.mkdir(mode=0o700)
    for path in (spool, folder / "never"):
        os.chown(path, owner.uid, owner.gid)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LONGHAUL"))}
    environment |= {"PYTHONPATH": str(core.path), "PYTHONDONTWRITEBYTECODE": "1", "ANSIBLE_ASYNC_DIR": str(spool)}
    try:
        line = [*owner.prefix, *core.command_line(words(leaf, owner, core.place, folder, nonce))]
        (folder / "said").touch()
        with open(folder / "said", "r+b") as said:  # no pipe: what lives on would hold it open
            subprocess.run(line, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False)
        assert list(spool.glob("*")), (folder / "said").read_text()
        wait_for(register.ready, READY_SECONDS)
        wrappers = _wrappers(register)
        shell = min(start for _pid, start in register.entries()) / os.sysconf("SC_CLK_TCK")
        wait_for(lambda: _ended(spool) or not wrappers & register.living(), ANSWER_SECONDS)
        # On a busy machine a payload now and then stays in its wrapper's process group, where the limit does not reach it; and if it is
        # stopped, the wrapper is hung up with that group: nobody writes an answer then.
        outcome.seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - shell - LIMIT if _ended(spool) else math.inf
        wait_for(lambda: not wrappers & register.living())
        left = register.left(leaf.forks) - wrappers
        outcome.made = len(register.known)
        outcome.killable = len(left)
    except (AssertionError, OSError, LookupError, subprocess.SubprocessError) as exc:
        outcome.faults.append(f"core's trial broke: {type(exc).__name__}: {exc}")
    finally:
        register.clean_up()
        shutil.rmtree(folder)
    return outcome


def _ended(spool: Path) -> bool:
    """Whether core's job file has an answer; usually that of the limit."""
    for path in spool.glob("*.*[0-9]"):
        try:
            said: dict[str, t.Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if not said.get("started") or said.get("finished"):
            return True
    return False


def _wrappers(register: Register) -> set[Who]:
    """The wrapper's own processes, which have the payload's words on their command line too: they are no survivors."""
    found = set()
    for pid, start in register.living():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"/async_wrapper.py\0" in line:
            found.add((pid, start))
    return found
