# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The direct way's program: that it holds what its verb imports, and that no part of it does anything."""

from __future__ import annotations

import ast
import base64
import json
import subprocess
import sys
import typing as t
import zlib
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _launch
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _program, _reply

PACKAGE = _program.PREFIX[:-1]
NONCE = "0123456789abcdef" * 2
# Besides the verb itself: what it loads by name, for the supervisor's process.
BY_NAME = {"start": ["_supervisor"], "status": [], "wait": [], "cancel": [], "log": [], "info": [], "prune": []}


def _file(name: str) -> Path:
    return _program.ENGINE.joinpath(*name.split(".")).with_suffix(".py")


def _imports(name: str) -> t.Iterator[str]:
    for node in ast.walk(ast.parse(_file(name).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and (node.module + ".").startswith(_program.PREFIX):
            inner = node.module[len(_program.PREFIX) :]
            if inner and _file(inner).exists():
                yield inner
            else:
                yield from (f"{inner}.{alias.name}".lstrip(".") for alias in node.names)


def _closure(roots: list[str]) -> set[str]:
    found: set[str] = set()
    while roots:
        name = roots.pop()
        if name not in found:
            found.add(name)
            roots += _imports(name)
    return found - {"_boot", "_detach"}


@pytest.mark.parametrize("verb", sorted(_program.SOURCES))
def test_the_table_holds_what_the_verb_imports(verb: str) -> None:
    assert sorted(_program.SOURCES[verb]) == sorted(_closure([f"_verbs.{verb}", *BY_NAME[verb]]))


def test_the_supervisors_table_holds_what_it_imports() -> None:
    assert sorted(_launch.SUPERVISOR) == sorted(_closure(["_supervisor"]))


def test_the_table_has_all_verbs() -> None:
    assert sorted(_program.SOURCES) == sorted(path.stem for path in (_program.ENGINE / "_verbs").glob("*.py"))


def _start(async_dir: Path, effect: Path) -> bytes:
    payload = {"kind": "command", "shell": True, "cmd": f"echo done >> {effect}", "argv": None, "executable": None, "chdir": None}
    payload.update(creates=None, removes=None, stdin=None, stdin_add_newline=True, strip_empty_ends=True, expand_argument_vars=True)
    options: dict[str, t.Any] = {"name": None, "labels": {}, "module": "m", "no_log": False, "time_limit": None, "grace": 1.0}
    options.update(retain=1.0, environment={}, payload=payload)
    request = {"schema": 1, "verb": "start", "async_dirs": [str(async_dir)], "jobs": [{"jid": "j123456789012.1"}], "options": options}
    return _program.build("start", {**request, "attempt": 1, "ago": 0.0, "hold": 10.0, "check": False}, NONCE)


def _run(program: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-ISE", "-"], input=program, capture_output=True, check=False, timeout=60)


def test_the_whole_program_runs_and_answers(tmp_path: Path) -> None:
    done = _run(_start(tmp_path / "jobs", tmp_path / "effect"))
    reply = _reply.decode(_reply.body_in(done.stdout.decode(), NONCE))
    assert reply["jobs"][0]["job"]["state"] == "succeeded", (reply, done.stderr)
    assert (tmp_path / "effect").read_text() == "done\n"
    assert done.returncode == 0


def test_no_prefix_of_the_program_has_an_effect(tmp_path: Path) -> None:
    program = _start(tmp_path / "jobs", tmp_path / "effect")
    last = program.rindex(b"\n", 0, -1) + 1
    ends = [at + 1 for at, byte in enumerate(program) if byte == 10][:-1]
    cuts = {*ends, *range(last, len(program) - 1), *range(0, len(program) - 1, len(program) // 40)}
    # Many in one process: each runs as a program would, so definitions are made, and run() would be called.
    runner = f"""
import base64, os
program = base64.b64decode({base64.b64encode(program)!r})
for cut in {sorted(cuts)!r}:
    try:
        exec(compile(program[:cut], "<stdin>", "exec"), {{"__name__": "__main__"}})
    except (SyntaxError, NameError):  # also a name cut short, of which there is none
        pass
"""
    done = subprocess.run([sys.executable, "-ISE", "-c", runner], capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not (tmp_path / "jobs").exists()
    assert not (tmp_path / "effect").exists()
    # And a few in processes of their own, as they would arrive.
    for cut in (ends[len(ends) // 2], last, len(program) - 3):
        assert _run(program[:cut]).stdout == b""
    assert not (tmp_path / "jobs").exists()


def test_program_is_ascii_and_holds_request_and_payload() -> None:
    request = {"jobs": ["Zürich\ud800"]}
    program = _program.build("status", request, NONCE, b"\x00'\n\xff")
    assert program.isascii()
    names: dict[str, t.Any] = {}
    exec(b"\n".join(line for line in program.split(b"\n") if line.startswith((b"BLOB", b"PAYLOAD"))), names)
    bundle = json.loads(zlib.decompress(base64.b64decode(names["BLOB"])))
    assert bundle["request"] == request
    assert names["PAYLOAD"] == b"\x00'\n\xff"
    assert set(bundle["sources"]) == {_program.PREFIX + name for name in _program.SOURCES["status"]}
    assert program.endswith(b"\nrun('%s', 'status')\n" % NONCE.encode())


def test_programs_do_not_mix_requests() -> None:
    first, second = (_program.build("status", {"n": n}, NONCE) for n in (1, 2))
    assert first != second
    assert first == _program.build("status", {"n": 1}, NONCE)
