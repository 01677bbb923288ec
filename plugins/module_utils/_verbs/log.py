# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb log: what jobs have written, a part at a time. Writes nothing, enforces nothing.

Entries are job results without the modules' own, with a part of the stream under ``log``, whose ``data`` are base64. ``failed`` says that
there is no such job, or that its output is not shown.
"""

import errno
import os
import stat
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _facts, _listing, _log, _record
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused

REPLY_BYTES = 4 << 20  # of streams in one reply, all its jobs together
ROOM_BYTES = 64 << 10  # that a part has at least, or all that it may be
SEARCH_SECONDS = 5.0  # for which one exchange looks for lines


def run(request):
    """The reply to a log request. Raises Refused."""
    here = _facts.Here()
    places = _listing.Places(request, here)
    options = dict(request["options"], until=time.monotonic() + SEARCH_SECONDS)
    if options["grep"] is not None:
        options["search"] = _pattern(options["grep"])
        _give_up_after(2 * SEARCH_SECONDS)
    entries, room = [], REPLY_BYTES
    for spool, jid, job in places.chosen(request):
        if spool:
            entries.append(_entry(spool, jid, here, options, room))
            room -= len(entries[-1].get("log", {}).get("data", "")) * 3 // 4
        else:
            entries.append(dict(places.nowhere(job), failed=True))
    _give_up_after(0.0)  # never: all is read
    return {"schema": 1, "jobs": entries, "warnings": places.reasons}


def _give_up_after(seconds):
    """End this process's work with a sentence after so many seconds, 0 for never.

    Within one line nothing else ends the search of a pattern that tries for ever.
    """
    import _signal as signal

    def ring(number, frame):
        raise Refused("grep: the pattern takes longer than %d s on one line" % seconds)

    signal.signal(signal.SIGALRM, ring)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])  # whoever called us may have it blocked
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _pattern(text):
    import re

    try:
        return re.compile(text).search
    except re.error as exc:
        raise Refused("grep: this host's Python does not take %r: %s" % (text, exc)) from exc


def _entry(spool, jid, here, options, room):
    entry = _listing.told(spool, jid, here)
    if entry["job"]["state"] in ("unknown", "foreign"):
        return dict(entry, failed=True)
    path = "%s/%s.d/" % (spool, jid)
    record = _record.of(spool, jid)
    # Judged before the stream is read, so that nothing can be written behind an end that is told.
    ended = bool(entry["finished"])
    if record is None and os.path.isdir(path):
        return dict(entry, failed=True, msg="the record of job %s cannot be read, so its output is not shown" % jid)
    if entry["job"]["no_log"] or (record and record.get("no_log")):
        return dict(entry, failed=True)
    try:
        entry["log"] = _part(path + options["stream"], ended, options, room)
    except OSError as exc:
        return dict(entry, failed=True, msg="the output of job %s cannot be read: %s" % (jid, exc.strerror))
    if record is None:
        entry["log"]["none_of"] = "core"  # whose wrapper keeps no output but the job's result
    elif record["kind"] != "command" and options["stream"] == "stdout":
        entry["log"]["none_of"] = "module"  # what it prints is its result, which no log shows
    return entry


def _part(path, ended, options, room):
    """A part of the stream as the reply tells it, ``untouched`` where the reply has no room for any. Raises OSError."""
    offset, limit = options["offset"], min(options["limit"], room)
    if limit < min(options["limit"], ROOM_BYTES):
        return {"data": "", "offset": offset, "next_offset": offset, "more": True, "end": False, "untouched": True}
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return {"data": "", "offset": offset, "next_offset": offset, "more": False, "end": ended}
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "not a plain file of this user")
        if options["grep"] is None:
            if options["lines"] is not None:
                offset = _log.last_lines(fd, offset, options["limit"], options["lines"])
            part = _log.forwards(fd, offset, limit, options["characters"], ended)
        else:
            given = {"search": options["search"], "ended": ended, "until": options["until"], "first": options["first"]}
            if options["lines"] is None:
                part = _log.matching(fd, offset, limit, **given)
            else:
                part = _log.last_matching(fd, offset, limit, options["lines"], end=options["end"], **given)
    finally:
        os.close(fd)
    part["end"] = ended and part.pop("whole")
    part["data"] = _base64(part["data"])
    return part


def _base64(data):
    import binascii

    return binascii.b2a_base64(data, newline=False).decode("ascii")
