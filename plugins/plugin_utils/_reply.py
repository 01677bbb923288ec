# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the engine's reply: the frame among whatever else a login prints, and its body, which a hostile target may have made.

What is cut short, missing or not decodable is a lost link, never a result: it raises Lost.
"""

from __future__ import annotations

import binascii
import json
import re
import typing as t
import zlib

MOST = 64 << 20  # bytes of JSON that one reply may have
DEEPEST = 64  # levels of nesting that are kept where a reply is too deep to be read whole

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]')


class Lost(Exception):
    """There is no whole reply; the text says in what way."""


class TooLarge(Lost):
    """The reply is whole, but larger than what is taken: asking the same again would not help."""


def body_in(stdout: str, nonce: str) -> str:
    """The body of the frame with that nonce, found anywhere in what came back. Raises Lost."""
    found = re.search(rf"\nLONGHAUL-REPLY {re.escape(nonce)} ([0-9]{{1,10}})\n", "\n" + stdout)
    if not found:
        raise Lost("no reply came back")
    start = found.end() - 1
    body, end = stdout[start : start + int(found[1])], stdout[start + int(found[1]) :][:1]
    if len(body) < int(found[1]) or end != "\n":
        raise Lost("the reply was cut short")
    return body


def decode(body: str) -> dict[str, t.Any]:
    """The reply in a body (base64 of zlib of a JSON object). Raises Lost."""
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(binascii.a2b_base64(body.encode("ascii")), MOST)
        if stream.unconsumed_tail:
            raise TooLarge(f"the reply is larger than {MOST >> 20} MiB")
        if not stream.eof:
            raise Lost("the reply was cut short")
        reply = _loads(data.decode("ascii"))
    except (ValueError, zlib.error) as error:
        raise Lost("the reply cannot be decoded") from error
    if not isinstance(reply, dict):
        raise Lost("the reply is not an object")
    return t.cast("dict[str, t.Any]", reply)


def _loads(text: str) -> object:
    try:
        return json.loads(text)
    except RecursionError:
        return json.loads(_pruned(text))


def _pruned(text: str) -> str:
    """JSON text without what lies deeper than DEEPEST, so that one job's absurd result does not cost the others theirs."""
    kept: list[str] = []
    depth = begin = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            if depth == DEEPEST + 1:
                kept += [text[begin : token.start()], '"(nested too deep)"']
        elif token[0] in ("]", "}"):
            depth -= 1
            if depth == DEEPEST:
                begin = token.end()
    return "".join([*kept, text[begin:]])
