# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a job's output in parts: from an offset on, its last lines, lines that match. Memory is that of the part, not of the file.

Each function returns a part: ``data`` (bytes of the stream), ``offset`` where it begins, ``next_offset`` to go on from, ``more``:
whether there was more to be read now, and ``whole``: whether nothing was left behind ``next_offset``.
"""

import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _output

BLOCK = 1 << 20  # bytes that are held while lines are looked for; a longer line is taken for several


def part(data, offset, next_offset, more, whole, **known):
    """A part as the functions here return it."""
    return dict(known, data=data, offset=offset, next_offset=next_offset, more=more, whole=whole)


def forwards(fd, offset, limit, characters, ended):
    """What stands from ``offset`` on, ``limit`` bytes (4 or more) at most.

    ``characters``: not ending within a UTF-8 character, unless the stream has ended so.
    """
    data = _output.read_at(fd, offset, limit)
    at_end = offset + len(data) >= os.fstat(fd).st_size
    if characters and not (at_end and ended):
        kept = data[: len(data) - _begun(data)]
        return part(kept, offset, offset + len(kept), not at_end, at_end and kept == data)
    return part(data, offset, offset + len(data), not at_end, at_end)


def last_lines(fd, offset, limit, count):
    """Where the last ``count`` lines begin, at ``offset`` at the earliest and ``limit`` bytes before the end."""
    size = os.fstat(fd).st_size
    earliest = max(offset, size - limit)
    at = size
    while at > earliest:
        begin = max(earliest, at - BLOCK)
        block = _output.read_at(fd, begin, at - begin)
        stop = len(block) - 1 if at == size else len(block)  # what the last line ends with begins no other
        while True:
            stop = block.rfind(b"\n", 0, max(stop, 0))
            if stop < 0:
                break
            count -= 1
            if not count:
                return begin + stop + 1
        at = begin
    if earliest > offset:
        head = _output.read_at(fd, earliest, 3)
        while head and head[0] & 0xC0 == 0x80:
            head, earliest = head[1:], earliest + 1
    return min(earliest, max(size, offset))


def matching(fd, offset, limit, search, ended, until, first=True):
    """The lines from ``offset`` on in which ``search`` finds something; ``until`` is when to stop looking (monotonic clock).

    ``first``: a line that is longer than ``limit`` is cut; else it is left for another time.
    """
    at, found, room = offset, [], limit
    last = False
    while not last and room and time.monotonic() < until:
        block = _output.read_at(fd, at, BLOCK)
        last = len(block) < BLOCK
        if not (last and ended):  # the end of a line that is being written is waited for
            block = block[: block.rfind(b"\n") + 1] or (b"" if last else block)
        for line in _split(block):
            if _matches(search, line):
                if len(line) > room and (found or not first):
                    last = room = 0
                    break
                found.append(line[:room])
                room -= len(found[-1])
            at += len(line)
            if not room:
                last = False
                break
    whole = at >= os.fstat(fd).st_size
    return part(b"".join(found), offset, at, not last and not whole, whole)


def last_matching(fd, offset, limit, count, search, ended, until, first=True, end=None):
    """The last ``count`` lines from ``offset`` on in which ``search`` finds something, those behind ``end`` left out.

    Where there is ``more``, it is before ``reached``, and ``left`` lines are still to be found.
    """
    size = os.fstat(fd).st_size
    stop = size if ended else _behind_newline(fd, offset, size)
    at = begin = reached = stop if end is None else min(end, stop)
    found, rest = [], b""
    while at > offset and count and limit and time.monotonic() < until:
        step = min(BLOCK, at - offset)
        at -= step
        block = _output.read_at(fd, at, step) + rest
        cut = block.find(b"\n") + 1 if at > offset else 0  # what stands before it belongs to a line that begins earlier
        if at > offset and cut in (0, len(block)) and len(block) < 2 * BLOCK:
            rest = block
            continue
        cut = 0 if cut == len(block) else cut
        rest, reached = block[:cut], at + len(block)
        for line in reversed(_split(block[cut:])):
            if _matches(search, line):
                if len(line) > limit and (found or not first):
                    limit = 0
                    break
                found.append(line[-limit:])
                begin, count, limit = reached - len(line), count - 1, limit - len(found[-1])
            reached -= len(line)
            if not count or not limit:
                break
    more = bool(count and reached > offset)
    return part(b"".join(reversed(found)), begin, stop, more, stop >= size, reached=reached, left=count)


def _behind_newline(fd, offset, size):
    """The position behind the last newline, or behind what is too long to be one line."""
    begin = max(offset, size - BLOCK)
    block = _output.read_at(fd, begin, size - begin)
    behind = block.rfind(b"\n") + 1
    return begin + behind if behind or len(block) < BLOCK else size


def _matches(search, line):
    return search(line.decode("utf-8", "replace").rstrip("\r\n")) is not None


def _split(block):
    """Lines with their newlines; unlike splitlines(), a carriage return ends none."""
    lines = [line + b"\n" for line in block.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _begun(data):
    """How many bytes at the end begin a UTF-8 character that goes on behind them."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            length = 2 if 0xC2 <= byte < 0xE0 else 3 if 0xE0 <= byte < 0xF0 else 4 if 0xF0 <= byte < 0xF5 else 1
            return back if length > back else 0
    return 0
