# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Core's command lines for an async_wrapper, old and new, as requests to start."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _commit, _keyword
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What core lays down: a module in Python, one of a shell, a binary, and a file of arguments."""
    found = tmp_path / "ansible-tmp-1795523753.7-5558-135709467843281"
    found.mkdir()
    (found / "AnsiballZ_stat.py").write_text("#!/usr/bin/env python3\n")
    (found / "AnsiballZ_old").write_text("#! /bin/sh -u\n")
    (found / "AnsiballZ_binary").write_bytes(b"\x7fELF\0")
    (found / "args").write_text("{}")
    return found


def options(words: list[str], environment: dict[str, str] | None = None) -> dict[str, t.Any]:
    found: dict[str, t.Any] = _keyword.request(words, environment or {})["options"]
    return found


@pytest.mark.parametrize(
    ("name", "args", "interpreter", "module"),
    [
        ("AnsiballZ_stat.py", False, ["/usr/bin/env", "python3"], "stat"),
        ("AnsiballZ_old", True, ["/bin/sh", "-u"], "old"),
        ("AnsiballZ_binary", True, [], "binary"),
    ],
)
def test_both_command_lines_say_the_same(folder: Path, name: str, args: bool, interpreter: list[str], module: str) -> None:
    path, arguments = str(folder / name), [str(folder / "args")] if args else []
    old = options(["j7", "30", path, *(arguments or ["_"])])
    new = options(["j7", "30", "false", path, *interpreter, path, *arguments])
    assert old == new
    assert new["payload"]["words"] == [*interpreter, path, *arguments]
    assert new["payload"]["temporary"] == str(folder)
    assert (new["module"], new["time_limit"]) == (module, 30.0)


def test_the_job_is_the_same_in_every_repeat(folder: Path) -> None:
    words = ["j7", "30", "false", str(folder / "AnsiballZ_stat.py"), "python3"]
    request = _keyword.request(words, {"ANSIBLE_ASYNC_DIR": "/srv/jobs"})
    assert request == _keyword.request(words, {"ANSIBLE_ASYNC_DIR": "/srv/jobs"})
    assert request["jobs"] == [{"jid": "j7.1"}]
    assert request["async_dirs"] == ["/srv/jobs", None]
    assert _keyword.request(words, {})["async_dirs"] == ["~/.ansible_async", None]


def test_no_limit(folder: Path) -> None:
    """Core gathers facts with several modules side by side under a limit of 0."""
    assert options(["j7", "0", str(folder / "AnsiballZ_stat.py"), "_"])["time_limit"] is None


def test_a_folder_is_removed_without_following_a_link(tmp_path: Path) -> None:
    """It may belong to another user, who can change it meanwhile."""
    treasure, folder = tmp_path / "treasure", tmp_path / "folder"
    for one in (treasure, folder):
        one.mkdir()
        (one / "file").touch()
    (folder / "link").symlink_to(treasure)
    _commit.remove_folder(str(folder))
    assert not folder.exists()
    (tmp_path / "swapped").symlink_to(treasure)
    _commit.remove_folder(str(tmp_path / "swapped"))
    assert (treasure / "file").exists()


def test_a_folder_that_is_to_be_kept_or_is_not_cores_is_not_removed(folder: Path) -> None:
    path = str(folder / "AnsiballZ_stat.py")
    assert options(["j7", "30", path, "_", "-preserve_tmp"])["payload"]["temporary"] is None
    assert options(["j7", "30", "true", path, "python3", path])["payload"]["temporary"] is None
    assert options(["j7", "30", "false", "/bin/sh", "/bin/sh"])["payload"]["temporary"] is None


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('{"_ansible_no_log": true, "a": 1}', True),
        ("a=1 _ansible_no_log=True b=2 ", True),
        ('{"_ansible_no_log": false}', False),
        (r'{"a": "\"_ansible_no_log\": true"}', False),
    ],
)
def test_no_log_is_seen_in_the_arguments(folder: Path, text: str, secret: bool) -> None:
    (folder / "args").write_text(text)
    assert options(["j7", "30", str(folder / "AnsiballZ_old"), str(folder / "args")])["no_log"] is secret
    if text.startswith("{"):
        (folder / "AnsiballZ_stat.py").write_text(f"#!/usr/bin/python\nparams = {text!r}\n")
        assert options(["j7", "30", str(folder / "AnsiballZ_stat.py"), "_"])["no_log"] is secret


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["j7", "30"],
        ["j7", "-1", "true", "/bin/true", "/bin/true"],
        ["j7", "1.5", "true", "/bin/true", "/bin/true"],
        ["j7", "30", "true", "bin/true", "bin/true"],
        ["j7", "30", "true", "/bin/true"],
        ["j7", "30", "true", "/no/such", "/no/such"],
    ],
)
def test_anything_else_is_refused(words: list[str]) -> None:
    with pytest.raises(Refused, match="nothing was started"):
        _keyword.request(words, {})
