# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the engine that need no process: JSON, ids, times, cuts, and what is read back from damaged files."""

from __future__ import annotations

import datetime
import json
import os
import pickle
import random
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _boot, _command, _disk, _output, _process, _record, _result, _spool

VALUES: list[t.Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    'quote " and \\ and \n and \0 and é and \U0001f600',
    "\ud800 alone",
    [],
    {},
    [1, [2, [3, {"a": [None, False]}]]],
    {"key": {"nested": "x" * 1000}, "é": 1},
    1e308,
    float("inf"),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_json_as_the_json_module_writes_and_reads_it(value: t.Any) -> None:
    text = _boot.dumps(value)
    assert text == json.dumps(value)
    assert text.isascii()
    assert _boot.loads(text) == value
    assert _boot.loads(" \n" + text + "\r\n\t") == value


def test_json_of_random_documents() -> None:
    rng = random.Random(9)

    def document(depth: int) -> t.Any:
        kind = rng.randrange(7 if depth else 5)
        if kind == 5:
            return [document(depth - 1) for _item in range(rng.randrange(4))]
        if kind == 6:
            return {"".join(chr(rng.randrange(1, 0xD7FF)) for _char in range(3)): document(depth - 1) for _item in range(rng.randrange(4))}
        return [None, rng.random(), rng.randrange(-(10**20), 10**20), "".join(chr(rng.randrange(1, 300)) for _char in range(9)), True][kind]

    for _round in range(300):
        value = document(5)
        assert _boot.loads(_boot.dumps(value)) == value == json.loads(_boot.dumps(value))


@pytest.mark.parametrize("text", ["", " ", "{", '{"a": 1', "[1] 2", "{} {}", "nope", '{"a": }', "[" * 100_000, '{"a":' * 100_000])
def test_what_is_not_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        _boot.loads(text)


def test_what_json_does_not_know_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        _boot.dumps({"a": object()})


@pytest.mark.parametrize("jid", ["j1.2", "j123456789012.1", "j000000000000.99999999999999999999"])
def test_ids(jid: str) -> None:
    assert _spool.valid_jid(jid)


NOT_IDS = ["", "j", "j.", "j1", "j1.", "j.1", "1.1", "j1234567890123.1", "j1.2.3", "j1.2\n", " j1.2", "j1.\u0662", "j1.-2", "../j1.2"]


@pytest.mark.parametrize("jid", [*NOT_IDS, None, 5, b"j1.2"])
def test_not_ids(jid: t.Any) -> None:
    assert not _spool.valid_jid(jid)


def test_the_async_dir_comes_from_the_password_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/elsewhere")
    import pwd

    home = pwd.getpwuid(os.geteuid()).pw_dir
    assert _spool.expand("~/.ansible_async") == os.path.join(home, ".ansible_async")
    assert _spool.expand("~root/x") == os.path.join(pwd.getpwnam("root").pw_dir, "x")
    assert _spool.expand("~no-such-user/x") == ""
    assert _spool.expand("relative/x") == ""
    assert _spool.expand("/a/../b//c/") == "/b/c"
    assert _spool.expand(None) == f"/var/tmp/.longhaul-{os.geteuid()}"


def test_read_file_takes_plain_files_only(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"x" * 3_000_000)
    assert _spool.read_file(str(tmp_path / "plain")) == b"x" * 3_000_000
    assert _spool.read_file(str(tmp_path / "plain"), 10) == b"x" * 10
    assert _spool.read_file(str(tmp_path / "missing")) is None
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        with pytest.raises(OSError, match="."):
            _spool.read_file(str(tmp_path / name))


def test_locks(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert _spool.probe(str(path)) == "missing"
    assert _disk.lock(str(path), 0) is None
    assert not path.exists()
    path.touch()
    assert _spool.probe(str(path)) == "free"
    held = _disk.lock(str(path), 0)
    assert held is not None
    assert _spool.probe(str(path)) == "held"
    with pytest.raises(BlockingIOError):
        _disk.lock(str(path), 0.05)
    os.close(held)
    assert _spool.probe(str(path)) == "free"


def test_what_kind_of_disk(tmp_path: Path) -> None:
    assert _disk.file_system("/proc") == "proc"
    assert _disk.file_system("/no/such") == ""
    if _disk.file_system("/dev/shm") == "tmpfs":
        assert _disk.volatile("/dev/shm")
    assert not _disk.local("/proc")


@pytest.mark.parametrize(
    ("printed", "result"),
    [
        (b'{"a": 1}', ({"a": 1}, False)),
        (b'noise\n  {"a": 1}\n\n', ({"a": 1}, False)),
        (b'noise\n{oops\n  {"a": 1}\n\n', None),
        (b'{"percent": 5}\n{"a": 1}', None),
        (b'{\n"a": {\n"b": 1\n}\n', None),
        (b'{"a": 1}\nTraceback', ({"a": 1}, True)),
        (b'\n{"a": {"b": "}\\n{"}}', ({"a": {"b": "}\n{"}}, False)),
        (b'noise {"a": 1}', None),
        (b'{"a": ', None),
        (b"[1]", None),
        (b"", None),
        (None, None),
        (b"\xff\n{}", ({}, False)),
    ],
)
def test_a_modules_result_in_what_it_printed(printed: bytes | None, result: t.Any) -> None:
    assert _result.printed(printed) == result


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b'{"finished": true}', True),
        (b'{"finished": true}\0\0\0', True),
        (b'{"finished": true}{"half', True),
        (b'{"finished": false}', False),
        (b'{"finished": true', False),
        (b"\0\0\0\0", False),
        (b"[]", False),
        (b"\xff\xfe", False),
        (None, False),
    ],
)
def test_an_end_is_complete_or_it_is_not(data: bytes | None, whole: bool) -> None:
    found = _record.complete_end(data)
    assert (found is not None) is whole
    if found is not None:
        assert found == ({"finished": True}, len(b'{"finished": true}'))


@pytest.mark.parametrize(
    ("document", "finished"),
    [
        ({}, True),
        ({"rc": 0}, True),
        ({"started": 1, "finished": 0}, False),
        ({"started": True}, False),
        ({"started": 1, "finished": 1}, True),
    ],
)
def test_finished_by_cores_rule(document: dict[str, t.Any], finished: bool) -> None:
    assert _record.says_finished(document) is finished


def test_times() -> None:
    assert _record.timestamp(0.5) == "1970-01-01T00:00:00.500Z"
    assert _record.timestamp(None) is None
    when = 1795519198.25
    spoken = _result.command("true", 0, when, when + 93784.125)
    assert spoken["start"] == datetime.datetime.fromtimestamp(when).strftime("%Y-%m-%d %H:%M:%S.%f")
    assert spoken["delta"] == str(datetime.timedelta(seconds=93784.125)).rstrip()
    assert _result.command("true", 0, when, when + 3661.0)["delta"] == "1:01:01.000000"


@pytest.mark.parametrize("size", [0, 10, 1024, 1025, 5000])
def test_an_excerpt(tmp_path: Path, size: int) -> None:
    data = bytes(97 + n % 26 for n in range(size))
    (tmp_path / "out").write_bytes(data)
    found = _output.excerpt(str(tmp_path / "out"), head=256, tail=768)
    assert (found.size, found.cut, found.odd) == (size, size > 1024, False)
    if size <= 1024:
        assert found.text == data.decode()
    else:
        assert found.text == data[:256].decode() + _output.LEFT_OUT % (size - 1024) + data[-768:].decode()


def test_an_excerpt_of_what_is_not_there(tmp_path: Path) -> None:
    found = _output.excerpt(str(tmp_path / "missing"))
    assert (found.text, found.size, found.cut) == ("", 0, False)


def test_results_are_cut_to_size() -> None:
    small = {"a": [1, {"b": "x"}]}
    assert _output.cut(small) == (small, False)
    large = {"deep": [{"text": "x" * 9_000_000}], "rc": 0}
    result, was_cut = _output.cut(large)
    assert was_cut
    assert result["rc"] == 0
    assert len(json.dumps(result)) < 2_000_000
    many = {f"key{number}": ["y" * 500_000] for number in range(40)} | {"rc": 0}
    result, was_cut = _output.cut(many)
    assert was_cut
    assert result["rc"] == 0
    assert len(json.dumps(result)) <= _output.RESULT_MAX + 10_000


def test_identity() -> None:
    me = _process.identity(os.getpid())
    assert _process.alive(me)
    assert not _process.alive(me | {"start": me["start"] + 1})
    assert not _process.alive(None)
    assert not _process.alive({"pid": None, "start": None})
    assert _process.boot() == _process.boot()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert _process.start_time(child) is None  # a zombie is dead
    finally:
        os.waitpid(child, 0)
    assert _process.stat_of(child) is None


def test_commands_paths_are_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOLDER", str(tmp_path))
    payload = dict.fromkeys(["executable", "removes", "stdin", "cmd"]) | {"chdir": "$FOLDER", "creates": "$FOLDER/no*", "argv": ["$FOLDER"]}
    payload |= {"shell": False, "stdin_add_newline": True, "strip_empty_ends": True, "expand_argument_vars": True}
    before = os.getcwd()
    prepared = _command.prepare(payload)
    assert (prepared["argv"], prepared["cwd"], prepared["skip"]) == ([str(tmp_path)], os.fsencode(tmp_path), None)
    assert os.getcwd() == before
    (tmp_path / "nothing").touch()
    assert _command.prepare(payload)["skip"]["msg"] == f"Did not run command since '{tmp_path}/no*' exists"


def test_the_importer_makes_modules_and_the_packages_above_them() -> None:
    importer = _boot.Importer({_boot.PREFIX + "_made.inner": '"""Docs."""\nvalue = 1\n'})
    assert importer.find_spec("json") is None
    assert importer.find_spec(_boot.PREFIX + "_made.other") is None
    package = importer.find_spec(_boot.PREFIX + "_made")
    assert package.submodule_search_locations == []
    space: dict[str, t.Any] = {}
    exec(importer.get_code(_boot.PREFIX + "_made.inner"), space)
    assert (space["value"], space.get("__doc__")) == (1, None)


def test_answers_are_sentences_whatever_happens() -> None:
    def refuses(request: t.Any) -> t.Any:
        raise _boot.Refused("no")

    def breaks(request: t.Any) -> t.Any:
        raise KeyError("x")

    assert _boot.answer(refuses, {}) == {"schema": 1, "error": "no"}
    assert _boot.answer(breaks, {})["error"].startswith("KeyError: 'x' (in ")
    assert pickle.dumps(_boot.answer(breaks, {}))
