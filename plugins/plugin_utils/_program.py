# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of the direct way: the engine's sources that a verb needs and one request, for `python -ISE -` to read.

Python runs a truncated program if what has arrived parses, so everything but the last line is a definition.
"""

from __future__ import annotations

import binascii
import functools
import json
import typing as t
import zlib
from pathlib import Path

PREFIX = "ansible_collections.longhaul.jobs.plugins.module_utils."
ENGINE = Path(__file__).parents[1] / "module_utils"

# The engine's files that each verb imports, also within functions; without _boot and _detach, of which its head is made. A table,
# because finding it out takes longer than the whole look; a test compares it with the imports.
_SHARED = (
    "_answer",
    "_claim",
    "_commit",
    "_core_job",
    "_disk",
    "_end",
    "_ended",
    "_facts",
    "_kill",
    "_output",
    "_process",
    "_progress",
    "_record",
    "_result",
    "_spool",
    "_verdict",
)
SOURCES = {
    "start": (
        *_SHARED,
        "_cancel",
        "_command",
        "_core_cancel",
        "_filters",
        "_hold",
        "_holder",
        "_launch",
        "_listing",
        "_prune",
        "_supervisor",
        "_verbs.start",
    ),
    "status": (*_SHARED, "_filters", "_hold", "_listing", "_verbs.status"),
    "info": (*_SHARED, "_filters", "_listing", "_verbs.info"),
    "prune": (*_SHARED, "_filters", "_listing", "_prune", "_verbs.prune"),
    "wait": (*_SHARED, "_filters", "_follow", "_hold", "_listing", "_verbs.wait"),
    "cancel": (*_SHARED, "_cancel", "_core_cancel", "_filters", "_hold", "_listing", "_verbs.cancel"),
    "log": (*_SHARED, "_filters", "_listing", "_log", "_verbs.log"),
}


def build(verb: str, request: t.Mapping[str, t.Any], nonce: str, payload: bytes = b"") -> bytes:
    """The program that carries out `request`, in ASCII; `payload` is the module that a start runs.

    Raises TypeError for a request that JSON does not know, OSError for a collection with files missing.
    """
    begun, rest = _sources(verb)
    stream = rest.copy()  # the sources are compressed once a process, each request goes on from there
    blob = begun + stream.compress(json.dumps(request).encode("ascii") + b"}") + stream.flush()
    return b"".join(
        (
            _head(verb),
            b"\nBLOB = '%s'\n" % binascii.b2a_base64(blob, newline=False),
            b"PAYLOAD = %s\n" % repr(payload).encode("ascii"),
            b"run('%s', '%s')\n" % (nonce.encode("ascii"), verb.encode("ascii")),
        )
    )


@functools.cache
def _head(verb: str) -> bytes:
    """What the program begins with: of a start, what forks the supervisor's process before all else is compiled."""
    if verb != "start":
        return _text("_boot").encode("ascii")
    return f"{_text('_detach')}\nBOOT_SOURCE = {_text('_boot')!r}".encode("ascii")


@functools.cache
def _sources(verb: str) -> tuple[bytes, t.Any]:
    """The compressed beginning of a verb's BLOB, and the compressor in the state to go on with the request."""
    stream = zlib.compressobj(1)  # 2 ms; level 6 would take 8 to save 5 KB
    sources = json.dumps({PREFIX + name: _text(name) for name in SOURCES[verb]})
    return stream.compress(b'{"sources": %s, "request": ' % sources.encode("ascii")), stream


@functools.cache
def _text(name: str) -> str:
    return ENGINE.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="ascii")
