# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's output, fetched in parts to its end or to a limit, as text or into a file. A target is held to what it was asked for."""

from __future__ import annotations

import binascii
import os
import re
import tempfile
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _results
from ansible_collections.longhaul.jobs.plugins.plugin_utils._question import Question
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote
from ansible_collections.longhaul.jobs.plugins.plugin_utils._selection import Selection

READING_SECONDS = 15.0  # that a host may need besides the look for one part
_MOST_PARTS = 100_000  # of one job; an honest host's are megabytes each, or what it reads within seconds
_NONE_OF = {
    "core": "core's async keyword keeps no output but the job's result: ask async_status",
    "module": "what a module prints is its result, which no log shows: ask async_status",
}


class Away(Exception):
    """The host did not answer while a job's output was being fetched; the text says how."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for of a stream."""

    stream: str
    offset: int
    lines: int | None  # the last so many
    grep: str | None  # only lines in which this regular expression finds something
    limit: int  # bytes
    whole_characters: bool

    @property
    def is_backwards(self) -> bool:
        """Whether the target looks from the end on."""
        return self.lines is not None and self.grep is not None

    @property
    def options(self) -> dict[str, t.Any]:
        """The options of the verb log for the first part."""
        options: dict[str, t.Any] = {"stream": self.stream, "offset": self.offset, "lines": self.lines, "grep": self.grep}
        return {**options, "limit": self.limit, "characters": self.whole_characters, "first": True, "end": None}


@dataclass(frozen=True)
class _Part:
    """One part as the target tells it."""

    data: bytes
    offset: int
    next_offset: int
    more: bool
    end: bool
    untouched: bool  # the reply had no room for any of it
    reached: int
    left: int

    def is_ahead_of(self, before: _Part, wanted: Wanted) -> bool:
        """Whether the target gets on."""
        if before.untouched:
            return not self.untouched
        return self.reached < before.reached if wanted.is_backwards else self.next_offset > before.next_offset


@dataclass
class Log:
    """What came of it: where it begins, where to go on, whether that was all of a job that has ended, and why it is empty."""

    offset: int
    next_offset: int
    end: bool
    why_none: str | None


def read(remote: Remote, result: _results.JobResult, wanted: Wanted, dest: str | None, *, several: bool) -> tuple[bool, _results.Result]:
    """Whether a file has changed, and what is told of one job's output, with `offset` None and the reason in `msg` where there is none.

    Raises Away, and AnsibleActionFail for what the target refused and for a file that cannot be written.
    """
    job = result.shown["job"]
    found: _results.Result = {"job": job, "offset": None, "next_offset": None, "end": True}
    found.update({"dest": None} if dest else {"text": ""})
    if _is_secret(result):
        return False, {**found, "msg": f"job {job['jid']} was started with no_log: its output is not shown"}
    if result.is_refused or job["state"] == "unknown":
        return False, {**found, "msg": str(result.shown.get("msg") or "there is no such job")}
    if result.entry is None:  # of check mode
        return False, {**found, "offset": wanted.offset, "next_offset": wanted.offset}
    changed = False
    if dest:
        found["dest"] = place(dest, several=several, host=remote.host, jid=job["jid"], stream=wanted.stream)
        try:
            with File(found["dest"], check_mode=bool(remote.action._task.check_mode)) as file:
                log = fetch(remote, result, wanted, file.write)
                changed = file.finish()
        except OSError as error:
            raise AnsibleActionFail(f"dest: {found['dest']} cannot be written: {error.strerror}") from error
    else:
        parts: list[bytes] = []
        log = fetch(remote, result, wanted, parts.append)
        found["text"] = b"".join(parts).decode("utf-8", "replace")
    found.update(offset=log.offset, next_offset=log.next_offset, end=log.end)
    return changed, {**found, "msg": log.why_none} if log.why_none else found


def _is_secret(result: _results.JobResult) -> bool:
    """Whether the job was started with no_log; also where the target shows its output all the same."""
    job = (result.entry or {}).get("job")
    return isinstance(job, dict) and bool(job.get("no_log"))


def fetch(remote: Remote, result: _results.JobResult, wanted: Wanted, write: t.Callable[[bytes], t.Any]) -> Log:
    """Hand what is wanted of a job to `write`, in its order; `result` is the job's, with the entry that holds the first part.

    Raises Away, AnsibleActionFail for what the target refused, and OSError that `write` raises.
    """
    job = result.shown["job"]
    reference = Reference(job["jid"], host=remote.host, async_dir=job.get("async_dir"))  # a name may be another job's by then
    entry, options, left = result.entry or {}, wanted.options, wanted.limit
    held: list[bytes] = []  # of what is found from the end on
    part = _part(entry, options)
    log = Log(part.offset, part.next_offset, part.end, _NONE_OF.get(str(_told(entry).get("none_of"))))
    for _number in range(_MOST_PARTS):
        (held.append if wanted.is_backwards else write)(part.data)
        left -= len(part.data)
        options = _next(options, part, left, wanted)
        if not part.more or left <= 0:
            break
        before, part = part, _part(_ask(remote, reference, options), options)
        if not part.is_ahead_of(before, wanted):
            break
        if before.untouched or (wanted.is_backwards and part.data):
            log.offset = part.offset
        if before.untouched or not wanted.is_backwards:
            log.next_offset, log.end = part.next_offset, part.end
    for data in reversed(held):
        write(data)
    return log


def _next(options: dict[str, t.Any], part: _Part, left: int, wanted: Wanted) -> dict[str, t.Any]:
    """The options for the part behind that one, or before it."""
    if part.untouched:
        return options
    more = {**options, "limit": left, "first": options["first"] and not part.data}
    if wanted.is_backwards:
        return {**more, "end": part.reached, "lines": part.left}
    return {**more, "offset": part.next_offset, "lines": None}


def _ask(remote: Remote, reference: Reference, options: dict[str, t.Any]) -> Mapping[str, t.Any]:
    question = Question(remote, Selection([reference]), verb="log", options=options, extra=READING_SECONDS)
    (result,) = question.ask()
    if question.missed:
        raise Away(question.missed)
    if result.is_refused:
        raise AnsibleActionFail(str(result.shown.get("msg")))
    return result.entry or {}


def _told(entry: Mapping[str, t.Any]) -> dict[str, t.Any]:
    found = entry.get("log")
    return found if isinstance(found, dict) else {}


def _part(entry: Mapping[str, t.Any], options: dict[str, t.Any]) -> _Part:
    """The part in an entry, no more of it than was asked for; what is senseless in it counts as nothing."""
    told = _told(entry)
    text, limit = told.get("data"), options["limit"]
    try:
        # Four characters are three bytes; what a target sends besides is not even decoded.
        data = binascii.a2b_base64(text[: (limit // 3 + 1) * 4].encode("ascii"))[:limit] if isinstance(text, str) else b""
    except ValueError:
        data = b""
    offset = _results.position(told.get("offset"), options["offset"])
    more, end, untouched = (told.get(key) is True for key in ("more", "end", "untouched"))
    next_offset = max(offset, _results.position(told.get("next_offset"), offset))
    reached, left = (_results.position(told.get(key), 0) for key in ("reached", "left"))
    return _Part(data, offset, next_offset, more, end, untouched, reached, left)


class File:
    """A file on the controller that gets a job's output: written beside it and put in its place, if that holds anything else."""

    def __init__(self, path: str, *, check_mode: bool) -> None:
        """In check mode nothing is written, only compared. Raises OSError."""
        self._path = Path(os.path.realpath(path))
        self._new: t.Any = None
        self._old: t.Any = self._path.open("rb") if self._path.exists() else None
        self._is_same = self._old is not None
        if not check_mode:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._new = tempfile.NamedTemporaryFile(prefix=f".{self._path.name[:100]}.", dir=self._path.parent, delete=False)

    def __enter__(self) -> File:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._old:
            self._old.close()
        if self._new:
            self._new.close()
            Path(self._new.name).unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Raises OSError."""
        self._is_same = self._is_same and self._old.read(len(data)) == data
        if self._new:
            self._new.write(data)

    def finish(self) -> bool:
        """Put it in its place; whether that changes it. Raises OSError."""
        if self._is_same and not self._old.read(1):
            return False
        if self._new:
            self._new.close()
            if self._old:
                os.chmod(self._new.name, os.fstat(self._old.fileno()).st_mode & 0o7777)
            os.replace(self._new.name, self._path)
        return True


def place(dest: str, *, several: bool, host: str, jid: str, stream: str) -> str:
    """The path of a job's file: `dest` itself, or <dest>/<host>/<jid>.<stream> for several jobs or a folder."""
    if not several and not dest.endswith("/") and not os.path.isdir(dest):
        return dest
    folder = re.sub(r"[/\0]", "_", host)
    return os.path.join(dest, folder if folder.strip(".") else f"_{folder}", f"{jid}.{stream}")
