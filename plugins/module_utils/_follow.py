# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What jobs have written since somebody looked last, by whole lines: a line that is not complete waits for its end."""

import os
import stat

STREAMS = ("stdout", "stderr")
PIECE = 64 << 10  # bytes of one stream that one look tells of; a line that is longer comes in such pieces
WHOLE = 1 << 20  # bytes of all streams that one look tells of


class Follow:
    """The output of several jobs behind the offsets in bytes up to which it is known, ``{jid: [stdout's, stderr's]}``."""

    def __init__(self, offsets):
        self.offsets = offsets
        self.left = WHOLE

    def has_news(self, document, spool, jid):
        """Whether there is at least a line more that is told of a job."""
        return _is_told(document) and any(self._piece(spool, jid, number, False)[1] for number in range(len(STREAMS)))

    def add_to(self, document, spool, jid):
        """Put into a job's result what it has written, as ``job.output``: of each stream [offset behind it, text, size of the whole].

        The result must be sampled first: then nothing is left behind the last lines of a job that has ended. Not of a no_log job.
        """
        job = document["job"]
        if not _is_told(document):
            return
        job["output"] = []
        for number in range(len(STREAMS)):
            end, data, size = self._piece(spool, jid, number, document["finished"])
            self.left -= len(data)
            job["output"].append([end, data.decode("utf-8", "replace"), size])

    def _piece(self, spool, jid, number, ended):
        """(offset behind it, bytes of whole lines, size of the stream)."""
        offset = self.offsets.get(jid, (None, None))[number]
        try:
            fd = os.open("%s/%s.d/%s" % (spool, jid, STREAMS[number]), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return offset or 0, b"", 0
        try:
            found = os.fstat(fd)
            size = found.st_size if stat.S_ISREG(found.st_mode) else 0
            begin = max(0, size - PIECE) if offset is None else offset  # of a stream that is met for the first time, its end
            most = min(PIECE, self.left, size - begin)
            data = os.pread(fd, most, begin) if most > 0 else b""
        finally:
            os.close(fd)
        if offset is None and begin:
            begin += data.find(b"\n") + 1
            data = data[data.find(b"\n") + 1 :]
        if begin + len(data) < size or not ended:
            lines = data.rfind(b"\n") + 1
            if lines or len(data) < PIECE:
                data = data[:lines]
        return begin + len(data), data, size


def _is_told(document):
    """Whether what the job writes may be told, and is here."""
    return not document["job"].get("no_log") and document["job"]["state"] not in ("unknown", "foreign")
