# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading replies, from honest, broken and hostile targets."""

from __future__ import annotations

import base64
import json
import typing as t
import zlib

import pytest
from ansible_collections.longhaul.jobs.plugins.module_utils import _boot
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _reply

NONCE = "ab" * 16


def _body(value: t.Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.b64encode(zlib.compress(text.encode())).decode()


def _frame(body: str, nonce: str = NONCE) -> str:
    return _boot.FRAME % (nonce, len(body), body)


def test_what_the_engine_encodes_is_read() -> None:
    reply = {"schema": 1, "jobs": [{"msg": "Zürich \u2603"}]}
    assert _reply.decode(_reply.body_in(_frame(_boot.encode(reply)), NONCE)) == reply


@pytest.mark.parametrize("noise", ["", "{oops", "motd\n", "\nLONGHAUL-REPLY " + "cd" * 16 + " 4\nabcd\n"])
def test_noise_around_the_frame_does_not_matter(noise: str) -> None:
    assert _reply.body_in(noise + _frame("abcd") + noise, NONCE) == "abcd"


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "abcd",
        _frame("abcd", "cd" * 16),
        _frame("abcd")[:-1],
        _frame("abcd")[:-3],
        f"\nLONGHAUL-REPLY {NONCE} 5\nabcd\n",
        f"\nLONGHAUL-REPLY {NONCE} 3\nabcd\n",
        f"\nLONGHAUL-REPLY {NONCE} -1\nabcd\n",
        f"\nLONGHAUL-REPLY {NONCE} ٤\nabcd\n",
        f"\nLONGHAUL-REPLY {NONCE}",
    ],
)
def test_what_is_not_a_whole_frame_is_lost(stdout: str) -> None:
    with pytest.raises(_reply.Lost):
        _reply.body_in(stdout, NONCE)


@pytest.mark.parametrize(
    "body",
    ["", "!", "abcd", "é", _body("not JSON"), _body("[]"), _body("{}")[:-8], _body('{"a": NaN')],
)
def test_what_is_not_a_json_object_is_lost(body: str) -> None:
    with pytest.raises(_reply.Lost):
        _reply.decode(body)


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(_reply.Lost, match="larger than 64 MiB"):
        _reply.decode(_body("[" + " " * (_reply.MOST + 10) + "]"))


def test_one_absurd_document_does_not_cost_the_others_theirs() -> None:
    deep = '{"a": "x[\\"", "b": ' + "[" * 200000 + "1" + "]" * 200000 + ', "c": 2}'
    reply = _reply.decode(_body('{"jobs": [{"n": "{"}, ' + deep + ', {"n": [[3]]}]}'))
    assert reply["jobs"][0] == {"n": "{"}
    assert reply["jobs"][1]["a"] == 'x["'
    assert reply["jobs"][1]["c"] == 2
    assert reply["jobs"][2] == {"n": [[3]]}
