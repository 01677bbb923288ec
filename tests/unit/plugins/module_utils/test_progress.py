# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a job says it is: what is read out of its file, that no file harms, and that each answer has it."""

from __future__ import annotations

import os
import socket
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _progress
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine, wait_for


def said(percent: float | None, message: str | None = None, eta: float | None = None) -> dict[str, t.Any]:
    return {"percent": percent, "message": message, "eta_seconds": eta}


@pytest.mark.parametrize(
    ("written", "progress"),
    [
        (b"50\n", said(50, None, 10)),
        (b"50", said(50, None, 10)),
        (b"42% unpacking libc6\n", said(42, "unpacking libc6", 14)),
        (b"  25.5   unpacking\tlibc6  \n\n \n", said(25.5, "unpacking libc6", 29)),
        (b"1 first\n2 second\n3 third\n", said(3, "third", 323)),
        (b"1 first\r2 second\r", said(2, "second", 490)),
        (b"0 begun\n", said(0, "begun")),
        (b"100 done\n", said(100, "done", 0)),
        (b"150 more than all\n", said(100, "more than all", 0)),
        (b"-3 less than nothing\n", said(0, "less than nothing")),
        (b'{"percent": 42, "message": "unpacking libc6", "eta_seconds": 12}\n', said(42, "unpacking libc6", 12)),
        (b'{"percent": "50", "eta_seconds": "3.6"}\n', said(50, None, 4)),
        (b'{"message": "no end in sight"}', said(None, "no end in sight")),
        (b'{"percent": 1000, "eta_seconds": -5}\n', said(100, None, 0)),
        (b'{"percent": 5e-324, "eta_seconds": NaN}\n', said(5e-324, None, 1_000_000_000)),
        (b'{"percent": NaN, "message": 5, "eta_seconds": Infinity}\n', None),
        (b'{"percent": true, "message": "\\u001b[31m red\\n\\ud800 \\u202e"}\n', said(None, "[31m red")),
        # What is neither is a message.
        (b"unpacking libc6\n", said(None, "unpacking libc6")),
        (b"5:30 in the morning\n", said(None, "5:30 in the morning")),
        (b"2026-11-24 began\n", said(None, "2026-11-24 began")),
        (b'{"percent": 42\n', said(None, '{"percent": 42')),
        (b"nan\n", said(None, "nan")),
        ("\u0664\u0662 arabic digits\n".encode(), said(None, "\u0664\u0662 arabic digits")),
        (b"[42]\n", said(None, "[42]")),
        (b"50 " + b"x" * 300 + b"\n", said(50, "x" * 200, 10)),
        (b"50 \x1b[2J\x07bell\x00\n", said(50, "[2J bell", 10)),
        (b"\xff\xfe 50\n", said(None, "\ufffd\ufffd 50")),
        # A line without its end counts if it says something.
        (b"10 whole\n20 hal", said(20, "hal", 40)),
        (b'10 whole\n{"percent": 2', said(10, "whole", 90)),
        (b"10 whole\nunpack", said(10, "whole", 90)),
        (b"unpack", None),
        # Nothing at all.
        (b"", None),
        (b"\n \n\r\n", None),
        (b"\x00" * 100 + b"\n", None),
        # Of a long file only the end.
        (b"1 first\n" * 10_000 + b"50\n", said(50, None, 10)),
        (b"99 " + b"x" * 5000 + b"\n50\n", said(50, None, 10)),
        (b"99 " + b"x" * 5000 + b"\n", None),
        (b"{" * 4000 + b"\n", said(None, "{" * 200)),
    ],
)
def test_what_a_file_says(tmp_path: Path, written: bytes, progress: dict[str, t.Any] | None) -> None:
    path = tmp_path / "progress"
    path.write_bytes(written)
    assert _progress.read(str(path), 10.0) == progress
    ended = _progress.read(str(path), None)
    assert ended == (progress and {**progress, "eta_seconds": None})


@pytest.mark.parametrize("odd", ["link", "pipe", "folder", "socket", "nobody's", "huge", "missing"])
def test_an_odd_file_says_nothing_and_holds_nobody_up(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "progress"
    (tmp_path / "good").write_text("50\n")
    if odd == "link":
        path.symlink_to(tmp_path / "good")
    elif odd == "pipe":
        os.mkfifo(path)
    elif odd == "folder":
        path.mkdir()
    elif odd == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            os.chdir(tmp_path)
            listening.bind("progress")
    elif odd == "nobody's":
        if os.geteuid() != 0:
            pytest.skip("needs root to give a file away")
        path.write_text("50\n")
        os.chown(path, 65534, 65534)
    elif odd == "huge":
        path.touch()
        os.truncate(path, 1 << 30)
    assert _progress.read(str(path), 10.0) is None


def test_each_answer_tells_it_while_the_job_runs_and_afterwards(engine: Engine) -> None:
    job = engine.start("echo 20 unpacking libc6 > $LONGHAUL_PROGRESS; sleep 60; true")
    progress = wait_for(lambda: engine.status(job)["job"]["progress"])
    assert (progress["percent"], progress["message"]) == (20, "unpacking libc6")
    looked = engine.status(job)["job"]
    assert abs(looked["progress"]["eta_seconds"] - 4 * looked["elapsed"]) <= 1
    engine.kill(job, "supervisor")
    orphaned = engine.status(job)["job"]
    assert (orphaned["state"], orphaned["progress"]["percent"]) == ("orphaned", 20)
    assert orphaned["progress"]["eta_seconds"] is not None
    engine.cancel(job)
    ended = engine.status(job)["job"]
    assert (ended["state"], ended["progress"]) == ("cancelled", said(20, "unpacking libc6"))


def test_the_end_that_a_supervisor_writes_has_it_too(engine: Engine) -> None:
    job = engine.start("echo 42% almost > $LONGHAUL_PROGRESS; exit 3", hold=10)
    assert (job["job"]["state"], job["job"]["progress"]) == ("failed", said(42, "almost"))
    module = engine.start_module("import os; open(os.environ['LONGHAUL_PROGRESS'], 'w').write('100')", {"changed": False}, hold=10)
    assert (module["job"]["state"], module["job"]["progress"]) == ("succeeded", said(100))


def test_a_job_that_says_nothing_has_none(engine: Engine) -> None:
    assert engine.start("true", hold=10)["job"]["progress"] is None
