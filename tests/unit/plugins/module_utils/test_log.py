# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb log: parts of streams, last lines, lines that match; of running jobs too, and nothing of what is secret."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import time
import typing as t
import zlib
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _log
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import FRAME, Engine, Job, wait_for

OPTIONS: dict[str, t.Any] = {"stream": "stdout", "offset": 0, "lines": None, "grep": None, "limit": 1 << 20}
OPTIONS.update(characters=True, first=True, end=None)


def log(engine: Engine, *jobs: Job | str, **options: t.Any) -> list[Job]:
    """The entries for these jobs, the data decoded."""
    jids = [job if isinstance(job, str) else job["ansible_job_id"] for job in jobs]
    reply = engine.call(engine.request("log", jids, options=OPTIONS | options))
    assert "error" not in reply, reply
    for entry in reply["jobs"]:
        if "log" in entry:
            entry["log"]["data"] = base64.b64decode(entry["log"]["data"])
    return t.cast("list[Job]", reply["jobs"])


def part(engine: Engine, job: Job | str, **options: t.Any) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", log(engine, job, **options)[0]["log"])


def test_what_a_job_has_written(engine: Engine) -> None:
    job = engine.start("echo out; echo err >&2", hold=10)
    assert part(engine, job) == {"data": b"out\n", "offset": 0, "next_offset": 4, "more": False, "end": True}
    assert part(engine, job, stream="stderr")["data"] == b"err\n"
    assert part(engine, job, offset=1, limit=4)["data"] == b"ut\n"
    past = part(engine, job, offset=100)
    assert (past["data"], past["next_offset"], past["end"], past["more"]) == (b"", 100, True, False)
    (entry,) = log(engine, job)
    assert ("failed" in entry, "stdout" in entry, "cmd" in entry) == (False, False, False)


def test_no_line_is_lost_and_none_told_twice(engine: Engine) -> None:
    """Read on while it is written, in small parts, until `end`; characters are never taken apart."""
    job = engine.start(
        "i=0; while [ $i -lt 300 ]; do printf 'Zeile \\342\\202\\254 %s\\n' $i; i=$((i+1)); done; sleep 0.3; printf 'l\\303'"
    )
    text, offset, parts = b"", 0, 0
    deadline = time.monotonic() + 30
    while True:
        told = part(engine, job, offset=offset, limit=1001)
        assert told["offset"] == offset
        assert told["next_offset"] == offset + len(told["data"])
        if not told["end"]:
            told["data"].decode("utf-8")
        text, offset, parts = text + told["data"], told["next_offset"], parts + 1
        if told["end"]:
            break
        assert time.monotonic() < deadline
    assert text == "".join(f"Zeile € {i}\n" for i in range(300)).encode() + b"l\xc3"
    assert parts > 3


def test_an_end_is_told_only_when_all_is_read(engine: Engine) -> None:
    job = engine.start("printf 0123456789", hold=10)
    first = part(engine, job, limit=6)
    assert (first["data"], first["end"], first["more"]) == (b"012345", False, True)
    assert part(engine, job, offset=6, limit=6)["end"] is True
    running = engine.start("echo x; sleep 60")
    wait_for(lambda: (engine.path(running) / "stdout").stat().st_size)
    assert (part(engine, running)["end"], part(engine, running)["more"]) == (False, False)


def test_last_lines_and_lines_that_match(engine: Engine) -> None:
    job = engine.start("for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; printf 'no newline'", hold=10)
    last = part(engine, job, lines=2)
    assert (last["data"], last["next_offset"], last["end"]) == (b"line 9\nno newline", 73, True)
    assert part(engine, job, lines=2, offset=70)["data"] == b"ine"
    assert part(engine, job, grep="[24]$")["data"] == b"line 2\nline 4\n"
    assert part(engine, job, grep="^(line|no)", lines=3)["data"] == b"line 8\nline 9\nno newline"
    first = part(engine, job, grep="line", limit=14)
    assert (first["data"], first["next_offset"], first["more"], first["end"]) == (b"line 1\nline 2\n", 14, True, False)
    assert part(engine, job, grep="nothing such")["end"] is True


def test_a_line_that_is_being_written_is_matched_when_it_is_whole(engine: Engine, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = engine.start(f"echo one; printf 'two '; while [ ! -e {go} ]; do sleep 0.05; done; echo and two; sleep 60")
    wait_for(lambda: (engine.path(job) / "stdout").stat().st_size == 8)
    first = part(engine, job, grep="o")
    assert (first["data"], first["next_offset"], first["end"]) == (b"one\n", 4, False)
    assert part(engine, job, grep="o", lines=5)["next_offset"] == 4
    assert part(engine, job, lines=5)["data"] == b"one\ntwo "
    go.touch()
    wait_for(lambda: (engine.path(job) / "stdout").stat().st_size > 8)
    assert part(engine, job, grep="two$", offset=4)["data"] == b"two and two\n"


@pytest.mark.parametrize("options", [{}, {"lines": 3}, {"grep": "."}])
def test_what_is_no_log_or_not_there_is_refused(engine: Engine, options: dict[str, t.Any]) -> None:
    """S19."""
    job = engine.start("echo secret; sleep 60", no_log=True)
    wait_for(lambda: (engine.path(job) / "stdout").stat().st_size)
    for state in ("running", "cancelled"):
        hidden, gone = log(engine, job, "j1.1", **options)
        assert (hidden["job"]["state"], hidden["failed"], "log" in hidden) == (state, True, False)
        assert "secret" not in str(hidden)
        assert (gone["failed"], "could not find job j1.1" in gone["msg"]) == (True, True)
        engine.cancel(job, grace=0.2)


def test_a_record_that_cannot_be_read_shows_nothing(engine: Engine) -> None:
    """Whether it was started with no_log cannot be known."""
    job = engine.start("echo secret; sleep 60")
    (engine.path(job) / "job.json").write_text("{")
    entry = log(engine, job)[0]
    assert (entry["failed"], "log" in entry) == (True, False)


def test_a_module_keeps_its_result_to_itself(engine: Engine) -> None:
    job = engine.start_module("sys.stderr.write('told\\n')", {"secret": "x"}, hold=10)
    assert part(engine, job)["data"] == b""
    assert part(engine, job)["none_of"] == "module"
    assert part(engine, job, stream="stderr")["data"] == b"told\n"


def test_jobs_of_core_keep_no_output(engine: Engine) -> None:
    engine.spool.mkdir(exist_ok=True)
    (engine.spool / "j123.4").write_text('{"changed": false, "stdout": "x", "ansible_job_id": "j123.4", "rc": 0}')
    told = part(engine, "j123.4")
    assert (told["data"], told["end"]) == (b"", True)
    assert told["none_of"] == "core"


def test_a_reply_has_room_for_so_much_and_says_so(engine: Engine) -> None:
    jobs = [engine.start("head -c 3000000 /dev/zero", hold=20) for _number in range(3)]
    parts = [entry["log"] for entry in log(engine, *jobs, limit=3_000_000)]
    assert [len(told["data"]) for told in parts] == [3_000_000, 1194304, 0]
    assert [told.get("untouched", False) for told in parts] == [False, False, True]
    assert [told["end"] for told in parts] == [True, False, False]


def test_a_stream_that_is_no_plain_file_is_not_read(engine: Engine, tmp_path: Path) -> None:
    job = engine.start("echo out", hold=10)
    other = engine.start("echo other", hold=10)
    stream = engine.path(job) / "stdout"
    stream.unlink()
    os.mkfifo(stream)
    bad, good = engine.call(engine.request("log", [one["ansible_job_id"] for one in (job, other)], options=OPTIONS))["jobs"]
    assert (bad["failed"], "not a plain file" in bad["msg"], "log" in bad) == (True, True, False)
    assert base64.b64decode(good["log"]["data"]) == b"other\n", "one bad stream does not cost the others theirs"
    stream.unlink()
    (tmp_path / "secret").write_text("secret")
    stream.symlink_to(tmp_path / "secret")
    assert "secret" not in str(engine.call(engine.request("log", [job["ansible_job_id"]], options=OPTIONS)).get("jobs"))


def lines_of(number: int) -> bytes:
    chance = random.Random(number)
    return b"".join(bytes(chance.choice(b"ab\n\xc3\xa9\r") for _byte in range(chance.randrange(40))) for _piece in range(60))


@pytest.mark.parametrize("number", range(40))
def test_parts_against_the_plain_way(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the sizes of blocks and limits: what is put together from parts is what the whole gives."""
    monkeypatch.setattr(_log, "BLOCK", 300)
    data = lines_of(number)
    (tmp_path / "stream").write_bytes(data)
    fd = os.open(tmp_path / "stream", os.O_RDONLY)
    search = re.compile("a.b|^b").search
    chance = random.Random(number)
    offset, count = chance.choice([0, 0, 17, len(data) // 2]), chance.randrange(1, 30)
    wanted = [line for line in data[offset:].split(b"\n") if search(line.decode("utf-8", "replace").rstrip("\r"))]
    found, at = b"", offset
    while True:
        told = _log.matching(fd, at, 200, search, True, time.monotonic() + 9)
        found, at = found + told["data"], told["next_offset"]
        if not told["more"]:
            break
    assert [line for line in found.split(b"\n") if line] == [line for line in wanted if line]
    assert at == len(data)
    found, end, left = b"", None, count
    while left:
        told = _log.last_matching(fd, offset, 150, left, search, True, time.monotonic() + 9, end=end)
        found, end, left = told["data"] + found, told["reached"], told["left"]
        if not told["more"]:
            break
    assert found.splitlines() == b"\n".join(wanted[-count:]).splitlines()
    begin = _log.last_lines(fd, offset, 1 << 20, count)
    lines = data[offset:].split(b"\n")
    whole = lines if lines[-1] else lines[:-1]
    assert data[begin:].rstrip(b"\n") == b"\n".join(whole[-count:]).rstrip(b"\n")
    os.close(fd)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"lines": 2}, 1 << 30),
        ({"offset": 1 << 29, "limit": 1 << 16}, 1 << 30),
        ({"grep": "last", "lines": 1}, 1 << 30),
        ({"grep": "nowhere"}, 1 << 27),
        ({"grep": "nowhere", "lines": 5}, 1 << 27),
    ],
)
def test_a_large_output_costs_no_more_than_the_part(engine: Engine, options: dict[str, t.Any], size: int) -> None:
    """S24: what the far process holds of a gigabyte; a sparse one, whose zeros are a line of its own."""
    job = engine.start("echo first; sleep 60")
    stream = engine.path(job) / "stdout"
    wait_for(lambda: stream.stat().st_size)
    small = _peak(engine, job, {"lines": 1})[1]
    os.truncate(stream, size)
    with stream.open("ab") as appended:
        appended.write(b"\nlast but one\nlast\n")
    told, peak = _peak(engine, job, options)
    if options.get("lines") and "nowhere" not in options.values():
        assert base64.b64decode(told["data"]).endswith(b"last\n")
        assert told["next_offset"] == size + 19
    assert peak - small < 24 << 20, f"{peak - small} bytes more than for a line"


def _peak(engine: Engine, job: Job, options: dict[str, t.Any]) -> tuple[dict[str, t.Any], int]:
    """The first part, and how many bytes the far process had at most."""
    process = engine.launch(engine.request("log", [job["ansible_job_id"]], options=OPTIONS | options))
    assert process.stdout is not None
    out = process.stdout.read()
    _pid, _status, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    framed = FRAME.search(out)
    assert framed is not None, out
    reply = json.loads(zlib.decompress(base64.b64decode(framed.group(2))))
    return reply["jobs"][0]["log"], usage.ru_maxrss << 10
