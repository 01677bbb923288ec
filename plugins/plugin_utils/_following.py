# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows what jobs write while they are waited for: each line once, with whose it is before it."""

from __future__ import annotations

import typing as t

from ansible.utils.display import Display
from ansible_collections.longhaul.jobs.plugins.plugin_utils._results import JobResult

display = Display()

_STREAMS = ("", " (stderr)")


class Following:
    """How far each job's streams have been shown. What a target tells is checked, and shown without control characters."""

    def __init__(self, host: str) -> None:
        self.offsets: dict[str, list[int]] = {}  # as the engine takes them: where to go on, in bytes
        self._host = host
        self._sizes: dict[str, list[int]] = {}  # of jobs that have ended
        self._silent: set[str] = set()

    def show(self, result: JobResult, output: object) -> bool:
        """Show what the engine has told of a job's output; whether there was any."""
        job = result.shown["job"]
        jid, who = str(job["jid"]), str(job["name"] or job["jid"])
        if result.censored and jid not in self._silent:
            self._silent.add(jid)
            display.display(f"{self._host} | {who}: its output is not shown, for it was started with no_log")
        pieces = [piece for piece in output if _is_piece(piece)] if isinstance(output, list) else []
        if result.censored or len(pieces) != len(_STREAMS):
            return False
        self.offsets[jid] = [piece[0] for piece in pieces]
        if result.shown["finished"]:  # later than that only what it has left behind may write
            self._sizes.setdefault(jid, [piece[2] for piece in pieces])
        for stream, (_end, text, _size) in zip(_STREAMS, pieces, strict=True):
            if text:
                prefix = f"{self._host} | {who}{stream}: "
                display.display("\n".join(prefix + _shown(line) for line in text.removesuffix("\n").split("\n")))
        return any(piece[1] for piece in pieces)

    def give_up(self) -> None:
        """Expect no more of jobs that have ended: a look at them has told nothing, whatever their sizes were."""
        self._sizes = dict.fromkeys(self._sizes, [])

    def has_more(self, jid: str | None) -> bool:
        """Whether a job that has ended has written more than was shown."""
        return any(end < size for end, size in zip(self.offsets.get(str(jid), []), self._sizes.get(str(jid), []), strict=False))


def _is_piece(piece: t.Any) -> bool:
    return isinstance(piece, list) and [type(part) for part in piece] == [int, str, int] and min(piece[0], piece[2]) >= 0


def _shown(line: str) -> str:
    """A line as a terminal may have it; of one that was overwritten again and again (a progress bar), how it was last."""
    last = line.rstrip("\r").rpartition("\r")[2]
    return "".join(sign if sign.isprintable() or sign == "\t" else " " for sign in last)
