# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's output as its result shows it: head and tail of a file, decoded, and large results cut to size."""

import os
import stat

HEAD = 256 << 10
TAIL = 768 << 10
RESULT_MAX = 8 << 20
LEFT_OUT = "\n[longhaul.jobs: %d bytes are left out here; the whole is in the job's log]\n"
NO_SPACE = "\n[longhaul.jobs: the file system was full when the job ended; output may be missing here]\n"


class Excerpt:
    """What a result shows of a stream: ``text``, ``size`` of the whole in bytes, ``cut`` and ``odd`` (bytes not UTF-8)."""

    __slots__ = ("text", "size", "cut", "odd")

    def __init__(self, text, size, cut, odd):
        self.text = text
        self.size = size
        self.cut = cut
        self.odd = odd


def excerpt(path, head=HEAD, tail=TAIL):
    """The Excerpt of a file: its first ``head`` and last ``tail`` bytes. Of a file that is not there: empty."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return Excerpt("", 0, False, False)
    try:
        found = os.fstat(fd)
        size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        if size <= head + tail:
            text, odd = _decode(read_at(fd, 0, size))
            return Excerpt(text, size, False, odd)
        first, odd_first = _decode(read_at(fd, 0, head))
        last, odd_last = _decode(read_at(fd, size - tail, tail))
        return Excerpt(first + LEFT_OUT % (size - head - tail) + last, size, True, odd_first or odd_last)
    finally:
        os.close(fd)


def read_at(fd, offset, count):
    """The bytes of a file from ``offset`` on, ``count`` at most."""
    parts = []
    while count > 0:
        part = os.pread(fd, min(count, 1 << 20), offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        count -= len(part)
    return b"".join(parts)


def _decode(data):
    """(text, odd): bytes that are not UTF-8 become U+FFFD, since newer cores refuse a result that holds them as surrogates."""
    try:
        return data.decode("utf-8"), False
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), True


def shorten(text, head, tail):
    """``text`` with its middle replaced by a mark where it is longer than ``head`` + ``tail`` characters."""
    if len(text) <= head + tail:
        return text
    return text[:head] + LEFT_OUT % (len(text) - head - tail) + text[len(text) - tail :]


def cut(result, limit=RESULT_MAX):
    """A copy of a module's result whose JSON is about ``limit`` characters at most: (result, whether anything was cut).

    Long texts anywhere in it are shortened first; then the largest top-level values give way to a sentence.
    """
    from ansible_collections.longhaul.jobs.plugins.module_utils._boot import dumps

    sizes = {key: len(dumps(value)) for key, value in result.items()}
    if sum(sizes.values()) <= limit:
        return result, False
    result = {key: _shortened(value) for key, value in result.items()}
    sizes = {key: len(dumps(value)) for key, value in result.items()}
    while sum(sizes.values()) > limit:
        largest = max(sizes, key=lambda key: sizes[key])
        if sizes[largest] < 256:
            break
        result[largest] = "[longhaul.jobs: left out, %d characters of JSON]" % sizes[largest]
        sizes[largest] = 64
    return result, True


def _shortened(value):
    if isinstance(value, str):
        return shorten(value, HEAD, TAIL)
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    return value
