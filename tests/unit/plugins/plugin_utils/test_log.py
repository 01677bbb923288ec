# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's output on the controller: parts put together, files, and a target that answers with anything."""

from __future__ import annotations

import base64
import stat
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _log, _results
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import JID, Far, action, core, entry

__all__ = ["core"]
pytestmark = pytest.mark.usefixtures("core")
WANTED = _log.Wanted("stdout", 0, None, None, 100, whole_characters=True)


def _part(data: bytes, offset: int, *, more: bool = False, end: bool = False, **told: t.Any) -> dict[str, t.Any]:
    log = {"data": base64.b64encode(data).decode(), "offset": offset, "next_offset": offset + len(data), "more": more, "end": end}
    return entry(state="succeeded" if end else "running", log={**log, **told})


def _read(*answers: t.Any, wanted: _log.Wanted = WANTED, dest: str | None = None, several: bool = False, **fields: t.Any) -> t.Any:
    """The element of `logs` for one job, whether a file has changed, and what else was asked of the target."""
    far: t.Any = Far(*answers[1:], **fields)
    result = _results.told(far, Reference(JID), answers[0])
    changed, found = _log.read(far, result, wanted, dest, several=several)
    return found, changed, far


def test_parts_are_put_together() -> None:
    found, changed, far = _read(_part(b"one\n", 0, more=True), _part(b"two\n", 4, more=True), _part(b"three\n", 8, end=True))
    assert (found["text"], found["offset"], found["next_offset"], found["end"], changed) == ("one\ntwo\nthree\n", 0, 14, True, False)
    assert [(asked["options"]["offset"], asked["options"]["limit"], asked["options"]["first"]) for asked in far.asked] == [
        (4, 96, False),
        (8, 92, False),
    ]
    assert all(asked["jobs"] == [{"jid": JID}] for asked in far.asked)


def test_characters_that_two_parts_share_are_one() -> None:
    found = _read(_part("aé".encode()[:2], 0, more=True), _part("aé".encode()[2:] + b"\xff", 2, end=True))[0]
    assert found["text"] == "aé\ufffd"


def test_no_more_than_the_limit_is_asked_for() -> None:
    found, _changed, far = _read(_part(b"x" * 60, 0, more=True), _part(b"y" * 40, 60, more=True))
    assert (len(found["text"]), found["next_offset"], found["end"], len(far.asked)) == (100, 100, False, 1)


def test_what_had_no_room_in_the_first_reply_is_asked_for_alone() -> None:
    wanted = _log.Wanted("stdout", 7, 3, None, 100, whole_characters=True)
    found, _changed, far = _read(_part(b"", 7, more=True, untouched=True), _part(b"text", 50, end=True), wanted=wanted)
    assert (found["text"], found["offset"], found["next_offset"], found["end"]) == ("text", 50, 54, True)
    assert far.asked[0]["options"] == wanted.options


def test_last_lines_that_match_come_from_the_end_on() -> None:
    wanted = _log.Wanted("stdout", 0, 5, "x", 100, whole_characters=True)
    found, _changed, far = _read(
        _part(b"x4\nx5\n", 900, more=True, end=True, next_offset=1000, reached=800, left=3),
        _part(b"", 800, more=True, next_offset=2000, reached=400, left=3),
        _part(b"x2\nx3\n", 100, next_offset=3000, reached=90, left=1),
        wanted=wanted,
    )
    assert (found["text"], found["offset"], found["next_offset"], found["end"]) == ("x2\nx3\nx4\nx5\n", 100, 1000, True)
    assert [(asked["options"]["end"], asked["options"]["lines"]) for asked in far.asked] == [(800, 3), (400, 3)]


SENSELESS: list[dict[str, t.Any]] = [
    {},
    {"log": None},
    {"log": []},
    {"log": {"data": 5, "offset": "x", "next_offset": None, "more": "yes", "end": 1}},
    {"log": {"data": "é", "offset": -5, "next_offset": 10**30, "more": False, "end": True}},
    {"log": {"data": "AAA", "offset": True, "next_offset": -1, "more": None, "end": None, "none_of": ["core"]}},
]


@pytest.mark.parametrize("told", SENSELESS)
def test_a_senseless_answer_is_nothing(told: dict[str, t.Any]) -> None:
    found = _read(entry(**told))[0]
    assert (found["text"], found["offset"], found["next_offset"]) == ("", 0, 0)
    assert "msg" not in found


def test_more_than_was_asked_for_is_cut() -> None:
    found, _changed, far = _read(_part(b"x" * 1_000_000, 0, more=True))
    assert (len(found["text"]), far.asked) == (100, [])


def test_a_target_that_does_not_get_on_is_not_asked_for_ever() -> None:
    stuck = [_part(b"x", 0, more=True)] * 9
    assert len(_read(*stuck)[2].asked) == 1
    assert len(_read(*[_part(b"", 0, more=True, untouched=True)] * 9)[2].asked) == 1
    backwards = _log.Wanted("stdout", 0, 5, "x", 100, whole_characters=True)
    assert len(_read(*[_part(b"x", 9, more=True, reached=7, left=5)] * 9, wanted=backwards)[2].asked) == 1


def test_no_output_of_a_no_log_job_is_shown(tmp_path: Path) -> None:
    """S19: whatever a target sends."""
    hidden = _part(b"secret", 0, end=True)
    hidden["job"]["no_log"] = True
    for dest in (None, str(tmp_path / "file")):
        found, changed, _far = _read(hidden, dest=dest)
        assert (found["offset"], found["end"], changed) == (None, True, False)
        assert "was started with no_log" in found["msg"]
        assert "secret" not in str(found)
    assert list(tmp_path.iterdir()) == []


def test_jobs_that_are_not_there() -> None:
    found = _read(entry(state="unknown", failed=True, msg="could not find it"))[0]
    assert (found["text"], found["offset"], found["next_offset"], found["end"], found["msg"]) == ("", None, None, True, "could not find it")
    remote: t.Any = Far()
    _changed, found = _log.read(remote, _results.of_check_mode("web1", Reference("j000000000000.1")), WANTED, None, several=False)
    assert (found["text"], found["offset"], found["end"]) == ("", 0, True)


def test_why_there_is_nothing() -> None:
    assert "ask async_status" in _read(_part(b"", 0, end=True, none_of="module"))[0]["msg"]


def test_a_host_that_goes_away_meanwhile(tmp_path: Path) -> None:
    dest = tmp_path / "file"
    dest.write_text("old")
    with pytest.raises(_log.Away, match="web1 was not reached"):
        _read(_part(b"new", 0, more=True), LookMissed("cut"), dest=str(dest))
    assert (dest.read_text(), list(tmp_path.iterdir())) == ("old", [dest])


def test_a_job_that_is_removed_meanwhile() -> None:
    with pytest.raises(AnsibleActionFail, match="could not find"):
        _read(_part(b"x", 0, more=True), entry(state="unknown", failed=True, msg="could not find it"))


def test_files(tmp_path: Path) -> None:
    dest = tmp_path / "new" / "file"
    bytes_ = b"\xff\x00" + b"x" * 50
    found, changed, _far = _read(_part(bytes_, 0, more=True), _part(b"end", 52, end=True), dest=str(dest))
    assert (found["dest"], found["next_offset"], found["end"], "text" in found, changed) == (str(dest), 55, True, False, True)
    assert (dest.read_bytes(), stat.S_IMODE(dest.stat().st_mode)) == (bytes_ + b"end", 0o600)
    dest.chmod(0o640)
    before = dest.stat().st_ino
    assert _read(_part(bytes_ + b"end", 0, end=True), dest=str(dest))[1] is False
    assert dest.stat().st_ino == before
    for other in (bytes_ + b"end.", bytes_ + b"en", b""):
        assert _read(_part(other, 0, end=True), dest=str(dest))[1] is True
        assert (dest.read_bytes(), stat.S_IMODE(dest.stat().st_mode)) == (other, 0o640)
    link = tmp_path / "link"
    link.symlink_to(dest)
    _read(_part(b"by a link", 0, end=True), dest=str(link))
    assert (dest.read_bytes(), link.is_symlink()) == (b"by a link", True)
    assert sorted(path.name for path in dest.parent.iterdir()) == ["file"]


def test_check_mode_predicts_and_writes_nothing(tmp_path: Path) -> None:
    def predicted(data: bytes, dest: Path) -> bool:
        far: t.Any = Far()
        far.action = action(check_mode=True)
        result = _results.told(far, Reference(JID), _part(data, 0, end=True))
        return _log.read(far, result, WANTED, str(dest), several=False)[0]

    dest = tmp_path / "file"
    dest.write_text("same")
    assert [predicted(data, dest) for data in (b"same", b"other", b"sam", b"same.")] == [False, True, True, True]
    assert predicted(b"", tmp_path / "folder" / "file") is True
    assert (dest.read_text(), list(tmp_path.iterdir())) == ("same", [dest])


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnsibleActionFail, match="dest: .* cannot be written"):
        _read(_part(b"x", 0, end=True), dest=str(tmp_path / "file" / "below"))


@pytest.mark.parametrize(
    ("dest", "several", "host", "path"),
    [
        ("/d/file", False, "web1", "/d/file"),
        ("/d/file/", False, "web1", f"/d/file/web1/{JID}.stdout"),
        ("/d/file", True, "web1", f"/d/file/web1/{JID}.stdout"),
        ("/tmp", False, "web1", f"/tmp/web1/{JID}.stdout"),
        ("/d", True, "../../etc", f"/d/.._.._etc/{JID}.stdout"),
        ("/d", True, "..", f"/d/_../{JID}.stdout"),
        ("/d", True, "a/b", f"/d/a_b/{JID}.stdout"),
    ],
)
def test_places_of_files(dest: str, several: bool, host: str, path: str) -> None:
    assert _log.place(dest, several=several, host=host, jid=JID, stream="stdout") == path
