# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a job says it is, in the file that LONGHAUL_PROGRESS names: what its last line that is not empty says."""

from ansible_collections.longhaul.jobs.plugins.module_utils import _record, _spool

MOST_BYTES = 4096  # of the file's end are read
MOST_CHARACTERS = 200  # of a message
MOST_SECONDS = 1e9  # of an estimate
_OF_NUMBERS = frozenset("-0123456789.")


def read(path, elapsed):
    """{percent, message, eta_seconds} of that file, each of them None where it is not known, or None where it says nothing.

    ``elapsed``: seconds for which the job runs; None of a job that has ended, of which no time is left. Does not raise.
    """
    try:
        data = _spool.read_file(path, MOST_BYTES, tail=True)
    except OSError:  # not a plain file of ours
        return None
    lines = (data or b"").decode("utf-8", "replace").replace("\r", "\n").split("\n")
    if len(data or b"") == MOST_BYTES:
        lines[0] = ""  # its beginning may not be there
    said = _parsed(lines.pop())  # without a newline yet: it may be half of a line
    if said is None:
        whole = [line for line in lines if line.strip()]
        if not whole:
            return None
        said = _parsed(whole[-1]) or {"message": whole[-1]}
    percent, message, eta = (check(said.get(key)) for key, check in (("percent", _number), ("message", _text), ("eta_seconds", _number)))
    if percent is not None:
        percent = min(max(percent, 0), 100)
    if elapsed is None:
        eta = None
    elif eta is None and percent:
        eta = elapsed * (100 - percent) / percent
    if eta is not None:
        eta = round(min(max(eta, 0), MOST_SECONDS))
    return None if percent is None and message is None else {"percent": percent, "message": message, "eta_seconds": eta}


def _parsed(line):
    """What a line says if it begins with a number or is a JSON object, or None."""
    line = line.strip()
    if line.startswith("{"):
        return _record.parse(line.encode("utf-8", "replace"))
    word, _space, message = line.partition(" ")
    percent = _number(word[:-1] if word.endswith("%") else word)
    return None if percent is None else {"percent": percent, "message": message}


def _number(value):
    """A number as it is, or one written out plainly, or None."""
    if isinstance(value, str) and value and _OF_NUMBERS.issuperset(value):
        try:
            value = float(value) if "." in value else int(value)
        except ValueError:
            return None
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MOST_SECONDS  # no NaN, no infinity
    return value if good else None


def _text(value):
    """A message fit to be shown: on one line, without control characters, not too long; None for an empty one."""
    if not isinstance(value, str):
        return None
    text = "".join(character if character.isprintable() else " " for character in value)
    return " ".join(text.split())[:MOST_CHARACTERS] or None
