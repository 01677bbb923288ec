# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's checks, run as parts: ``gates.py test|test-all-cores|lint|demo`` or ``gates.py PART…`` (``gates.py list`` names them).

Each part sets up what it needs (setting_up.py), runs in a copy of the tree of its own and logs to .build/log/<part>.log; three run
at a time.
A part that this machine cannot run is named as skipped, with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from integration import Matrix
from setting_up import BUILD, CORES, NEWEST, TOP, Environments, Missing, environment, get_pip, out_of_reach, packages, tree

WORKERS = 3  # parts that run at a time, on two processors too: much of what they do is to wait
TESTED = ("2.16", "2.18", "2.19", "2.21", "2.22")
CLOSING = re.compile(r"=+ .*\b(passed|failed|error|no tests ran)\b.* =+|(\w+: )?\d+ passed, \d+ failed.*|crash walk: .*")


class Part:
    """One part of the checks, and what came of it."""

    def __init__(self, name: str, work: Callable[[Part], None]) -> None:
        self.name = name
        self.work = work
        self.log = BUILD / "log" / f"{name}.log"
        self.took = 0.0
        self.state = "not run"
        self.why = ""
        self.skips: list[str] = []

    def start(self) -> None:
        """Do the work; ``state`` is passed, failed or skipped afterwards."""
        began = time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text("")
        try:
            self.work(self)
            self.state = "passed"
        except Missing as exc:
            self.state, self.why = "skipped", str(exc)
        except Exception as exc:
            self.state, self.why = "failed", f"{type(exc).__name__}: {exc}"
        self.took = time.monotonic() - began

    def run(self, command: list[str], cwd: Path, env: dict[str, str], expect: int = 0) -> str:
        """Run one command, its output to the log; returns the output, raises RuntimeError where it fails."""
        with open(self.log, "ab") as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            start = log.tell()
            status = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode
        with open(self.log, "rb") as log:
            log.seek(start)
            said = log.read().decode(errors="replace")
        if status != expect:
            raise RuntimeError(f"{Path(command[0]).name} {' '.join(command[1:3])} … ended with status {status}")
        return said

    def closing(self) -> list[str]:
        """The closing lines of the test runners in the log, their tables (lines that begin with a bar), and what they said they skipped."""
        said = self.log.read_text(errors="replace")
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in said.splitlines()]
        return [line for line in lines if CLOSING.fullmatch(line) or line.startswith("| ")] + sorted(
            {line for line in lines if line.startswith("SKIPPED [")}
        )


class Gates:
    """The parts by name."""

    def __init__(self) -> None:
        self.environments = Environments()
        self.core_only: set[str] = set()  # cores whose Python another core has too: the engine, which knows no core, is not tested twice
        works: dict[str, Callable[[Part], None]] = {f"unit-{core}": self._unit(core) for core in CORES}
        works |= {
            "unit-pytest-ansible": self._pytest_ansible,
            "unit-ansible-test": self._ansible_test_units,
            "scenarios": self._playing(TESTED, "tests/scenarios", "--ignore=tests/scenarios/keyword", "--ignore=tests/scenarios/faults"),
            "faults": self._playing(TESTED, "tests/scenarios/faults"),
            "crash-walk": self._crash_walk,
            "kill-slice": self._kill_slice,
            "keyword": self._playing(("2.16",), "tests/scenarios/keyword"),
            "keyword-matrix": self._playing(("2.16", "2.18", "2.22"), "tests/scenarios/keyword"),
            "integration": self._integration(full=False),
            "integration-matrix": self._integration(full=True),
            "install": self._install,
            "molecule": self._molecule,
            "sanity": self._sanity(None),
            **{f"sanity-{core}": self._sanity(core) for core in CORES},
            "ansible-lint": self._ansible_lint,
            "mypy": self._mypy,
            "ruff": self._ruff,
            "changelog": self._changelog,
            "docs": self._docs,
        }
        self.parts = {name: Part(name, work) for name, work in works.items()}

    def lint(self) -> list[str]:
        """The parts of ``make lint``: what looks at the files only."""
        return ["sanity", "ansible-lint", "mypy", "ruff", "changelog", "docs"]

    def test(self, cores: tuple[str, ...]) -> list[str]:
        """The parts of ``make test``, the longest first."""
        pythons_seen = []
        for core in cores:
            python = self.environments.python_of(core)
            if python in pythons_seen:
                self.core_only.add(core)
            pythons_seen.append(python)
        self.core_only.add(NEWEST)  # with which pytest-ansible and ansible-test run everything
        units = [f"unit-{core}" for core in cores]
        units += ["unit-pytest-ansible", "unit-ansible-test"]
        return ["scenarios", "faults", "crash-walk", "kill-slice", "keyword", *units, "integration", "molecule", "install", *self.lint()]

    # -- the parts

    def _unit(self, core: str) -> Callable[[Part], None]:
        def work(part: Part) -> None:
            venv = self.environments.core(core)
            here = tree(part.name)
            less = ["--ignore=tests/unit/plugins/module_utils"] if core in self.core_only else []
            part.run(["python", "-m", "pytest", "-p", "no:cacheprovider", *less, "tests/unit"], here, environment(venv, here.parents[2]))

        return work

    def _playing(self, cores: tuple[str, ...], *arguments: str) -> Callable[[Part], None]:
        """Tests that run playbooks with the newest core, and some with others."""

        def work(part: Part) -> None:
            venv = self.environments.newest()[1]
            others = {}
            for other in cores:
                try:
                    others[other] = self.environments.core(other) / "bin"
                except Missing as missing:
                    part.skips.append(f"with another core: {missing}")
            packages()
            here = tree(part.name)
            env = environment(venv, here.parents[2])
            env["LONGHAUL_CORES"] = ":".join(f"{core}={path}" for core, path in others.items())
            part.run(["python", "-m", "pytest", "-p", "no:cacheprovider", *arguments], here, env)

        return work

    def _crash_walk(self, part: Part) -> None:
        venv = self.environments.newest()[1]
        here = tree(part.name)
        env = environment(venv, here.parents[2])
        env["LONGHAUL_WALK_EVERY"] = os.environ.get("LONGHAUL_WALK_EVERY", "1")
        part.run(["python", "-m", "pytest", "-p", "no:cacheprovider", "tests/crash_walk"], here, env)

    def _kill_slice(self, part: Part) -> None:
        venv = self.environments.newest()[1]
        packages()
        here = tree(part.name)
        part.run(["python", "-m", "pytest", "-p", "no:cacheprovider", "tests/kill_matrix"], here, environment(venv, here.parents[2]))

    def _pytest_ansible(self, part: Part) -> None:
        venv = self.environments.tools("pytest-ansible")
        here = tree(part.name)
        part.run(["python", "-m", "pytest", "-p", "no:cacheprovider", "tests/unit"], here, environment(venv, here.parents[2]))

    def _ansible_test_units(self, part: Part) -> None:
        _version, venv = self.environments.newest()
        get_pip(venv)
        here = tree(part.name)
        python = _python_of(venv)
        part.run(["ansible-test", "units", "--venv", "--requirements", "--color", "no", "--python", python], here, environment(venv))

    def _sanity(self, core: str | None) -> Callable[[Part], None]:
        def work(part: Part) -> None:
            venv = self.environments.newest()[1] if core is None else self.environments.core(core)
            get_pip(venv)
            here = tree(part.name)
            command = ["ansible-test", "sanity", "--local", "--color", "no", "--truncate", "0", "--python", _python_of(venv)]
            for test in out_of_reach(venv):
                part.skips.append(f"{test}: what this ansible-test wants for it cannot be reached from here")
                command += ["--skip-test", test]
            part.run(command, here, environment(venv))

        return work

    def _integration(self, full: bool) -> Callable[[Part], None]:
        def work(part: Part) -> None:
            venv = self.environments.newest()[1]
            here = tree(part.name)
            scratch = BUILD / part.name
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            Matrix(part, here, environment(venv, here.parents[2]), scratch, os.environ.get("TARGETS", "").split()).run(full)

        return work

    def _install(self, part: Part) -> None:
        _version, venv = self.environments.newest()
        here = tree(part.name)
        folder = BUILD / "install"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "empty").mkdir(parents=True)
        env = environment(venv, folder / "empty")
        part.run(["ansible-galaxy", "collection", "build", "--output-path", str(folder), str(here)], folder, env)
        (artifact,) = folder.glob("*.tar.gz")
        part.run(["ansible-galaxy", "collection", "install", "--offline", "-p", str(folder / "empty"), str(artifact)], folder, env)
        modules = sorted(path.stem for path in (here / "plugins" / "modules").glob("*.py") if path.stem != "__init__")
        for module in modules:
            part.run(["ansible-doc", "-t", "module", f"longhaul.jobs.{module}"], folder, env)
        part.run(["ansible-playbook", "longhaul.jobs.demo"], folder, env)

    def _molecule(self, part: Part) -> None:
        venv = self.environments.tools("molecule")
        here = tree(part.name)
        env = environment(venv, here.parents[2])
        env["MOLECULE_EPHEMERAL_DIRECTORY"] = str(BUILD / "molecule")  # its own: what molecule believes to have made is told by it
        shutil.rmtree(BUILD / "molecule", ignore_errors=True)
        part.run(["molecule", "test", "--all"], here, env)
        said = " ".join(re.sub(r"\x1b\[[0-9;]*m|│", "", part.log.read_text(errors="replace")).split())  # out of molecule's frames
        part.skips += [f"on hosts: {why}" for why in re.findall(r"The scenarios run on this machine itself: ([^\"]*)", said)]

    def _ansible_lint(self, part: Part) -> None:
        venv = self.environments.tools("lint")
        here = tree(part.name)
        part.run(["ansible-lint", "--profile", "production", "--offline", "--nocolor"], here, environment(venv, here.parents[2]))

    def _mypy(self, part: Part) -> None:
        venv = self.environments.tools("lint")
        here = tree(part.name)
        env = environment(venv)
        cache = ["--cache-dir", str(BUILD / "mypy"), "--config-file", str(here / "pyproject.toml")]
        inside = str(here.relative_to(here.parents[2]))
        part.run(["mypy", *cache, f"{inside}/plugins", f"{inside}/tests"], here.parents[2], env)
        part.run(["mypy", *cache, "--no-explicit-package-bases", "."], here / "tools", env)

    def _ruff(self, part: Part) -> None:
        venv = self.environments.tools("lint")
        here = tree(part.name)
        env = environment(venv)
        part.run(["ruff", "check", "--no-cache", "."], here, env)
        part.run(["ruff", "format", "--no-cache", "--check", "--diff", "."], here, env)
        _no_exceptions(here)

    def _changelog(self, part: Part) -> None:
        venv = self.environments.tools("lint")
        here = tree(part.name)
        part.run(["antsibull-changelog", "lint"], here, environment(venv))

    def _docs(self, part: Part) -> None:
        venv = self.environments.tools("lint")
        here = tree(part.name)
        command = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", "."]
        home = BUILD / "home"  # it leaves a log there
        home.mkdir(exist_ok=True)
        part.run(command, here, {**environment(venv, here.parents[2]), "HOME": str(home)})

    def demo(self) -> int:
        """Run the demo from a copy of the tree, its output to the terminal."""
        version, venv = self.environments.newest()
        here = tree("demo")
        print(f"The demo runs with ansible-core {version}, on this machine.", flush=True)
        env = {**environment(venv, here.parents[2]), "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"}
        return subprocess.run(["ansible-playbook", "longhaul.jobs.demo"], cwd=here.parents[2], env=env, check=False).returncode

    def kill_matrix(self) -> int:
        """Run the whole kill matrix, its table to the terminal; TRIALS says how many trials, and how many of core's, a cell gets."""
        venv = self.environments.newest()[1]
        packages()
        here = tree("kill-matrix")
        command = ["python", "-m", "ansible_collections.longhaul.jobs.tests.kill_matrix", *os.environ.get("TRIALS", "").split()]
        return subprocess.run(command, cwd=here.parents[2], env=environment(venv, here.parents[2]), check=False).returncode


def _python_of(venv: Path) -> str:
    return next((venv / "lib").glob("python3.*")).name.removeprefix("python")


def _no_exceptions(here: Path) -> None:
    """The lists of what the linters shall overlook are empty, and nothing is excepted in line."""
    marks = re.compile(r"#\s*(no" + r"qa|ty" + r"pe:\s*ignore|pylint:\s*dis" + r"able|mypy:\s*ignore)|fmt:\s*(off|skip)")
    found = [str(path.relative_to(here)) for path in (here / "tests" / "sanity").glob("ignore-*.txt") if path.stat().st_size]
    for path in here.rglob("*.py"):
        if marks.search(path.read_text(errors="replace")):
            found.append(str(path.relative_to(here)))
    if found:
        raise RuntimeError(f"exceptions for linters are not wanted here: {', '.join(sorted(found))}")


def run(gates: Gates, names: list[str]) -> int:
    """Run the parts, three at a time, and say how each ends; the exit status."""
    began = time.monotonic()
    told = threading.Lock()
    waiting = iter(names)

    def work() -> None:
        while True:
            with told:
                name = next(waiting, None)
            if name is None:
                return
            part = gates.parts[name]
            part.start()
            with told:
                _tell(part)

    absent = packages()
    if absent:
        print(f"not here, and not to be installed by this user: {', '.join(absent)}", flush=True)
    threads = [threading.Thread(target=work) for _worker in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parts = [gates.parts[name] for name in names]
    failed = [part.name for part in parts if part.state == "failed"]
    skipped = [f"{part.name} ({part.why})" for part in parts if part.state == "skipped"]
    skipped += [f"{part.name} {skip}" for part in parts for skip in part.skips]
    print()
    print(f"skipped: {'; '.join(skipped) or 'nothing'}")
    print(f"failed: {', '.join(failed) or 'nothing'}")
    print(f"{time.monotonic() - began:.0f} s")
    passed = sum(part.state == "passed" for part in parts)
    print(f"parts: {passed} passed, {len(failed)} failed, {len(parts) - passed - len(failed)} skipped", flush=True)
    return 1 if failed else 0


def _tell(part: Part) -> None:
    """One line for the part, its runners' closing lines, and the end of its log where it failed."""
    print(f"{part.state:8}{part.name} ({part.took:.0f} s){': ' + part.why if part.why else ''}")
    for line in part.closing():
        print(line)
    if part.state == "failed":
        lines = part.log.read_text(errors="replace").splitlines()
        print("\n".join(f"    {line}" for line in lines[-60:]))
        print(f"    (the whole: {part.log.relative_to(TOP)})")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """The command line."""
    os.chdir(TOP)
    gates = Gates()
    if arguments == ["list"]:
        print("\n".join(gates.parts))
        return 0
    if arguments == ["demo"]:
        return gates.demo()
    if arguments == ["kill-matrix"]:
        return gates.kill_matrix()
    if arguments == ["lint"]:
        return run(gates, gates.lint())
    if arguments in (["test"], ["test-all-cores"]):
        os.environ.setdefault("LONGHAUL_WALK_EVERY", "6")  # the whole crash walk is `make crash-walk`
    if arguments == ["test"]:
        return run(gates, gates.test(TESTED))
    if arguments == ["test-all-cores"]:
        return run(gates, [*gates.test(tuple(CORES)), *(f"sanity-{core}" for core in CORES if core != NEWEST)])
    unknown = [name for name in arguments if name not in gates.parts]
    if unknown or not arguments:
        print(f"{__doc__}\nno such part: {', '.join(unknown)}" if unknown else __doc__)
        return 2
    return run(gates, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
