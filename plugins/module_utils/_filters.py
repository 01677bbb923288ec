# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which jobs the filters of a request let through: by state, name, labels, module and age."""

import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _process, _record, _spool


class Filters:
    """The filters of a request: states, names, labels, modules, older_than and newer_than (seconds); all that are there must match."""

    def __init__(self, filters, here):
        self.filters = filters
        self.here = here
        self.now = clocks()
        self.by_name = any(filters.get(key) for key in ("names", "labels", "modules"))

    def may_let_through(self, spool, jid):
        """False where the record alone says that the job is not wanted, so that it need not be looked at."""
        if not self.by_name:
            return True
        record = _record.of(spool, jid, removed=True)
        return not record or self._names_match(record)

    def let_through(self, spool, jid, document):
        """Whether the job is wanted, whose job result is ``document``."""
        wanted = self.filters
        job = document["job"]
        if "states" in wanted and job["state"] not in wanted["states"]:
            return False
        if self.by_name and not self._names_match(job):
            return False
        if "older_than" not in wanted and "newer_than" not in wanted:
            return True
        seconds = age(spool, jid, self.here, document, self.now)
        return wanted.get("older_than", 0.0) <= seconds <= wanted.get("newer_than", seconds)

    def _names_match(self, job):
        """``job`` is a record, or the `job` of a job result."""
        labels = job.get("labels")
        labels = labels if isinstance(labels, dict) else {}
        return (
            _matches(job.get("name"), self.filters.get("names"))
            and _matches(job.get("module"), self.filters.get("modules"), parts=True)
            and all(labels.get(key) == value for key, value in (self.filters.get("labels") or {}).items())
        )


def _matches(text, globs, parts=False):
    """Whether one of the globs matches, None for no matter which; with ``parts`` one without a dot also the last part of a full name."""
    if globs is None:
        return True
    for glob in globs if isinstance(text, str) else ():
        texts = [text, text.rpartition(".")[2]] if parts and "." not in glob else [text]
        if not any(sign in glob for sign in "*?["):
            if glob in texts:
                return True
        else:
            from fnmatch import fnmatchcase

            if any(fnmatchcase(one, glob) for one in texts):
                return True
    return False


def clocks():
    """(wall clock, boot clock) of now, in seconds; one for all the jobs of a request, so that they keep their order."""
    return time.time(), _process.boot_clock()


def age(spool, jid, here, document, now):
    """Seconds from a job's end, or from its start while it runs, to ``now`` (clocks()).

    By the wall clock, and within one boot by the boot clock too: the smaller counts, so that a wall clock that jumps makes no job old.
    A job that nobody has seen end has ended when its files were last changed.
    """
    path = "%s/%s.d" % (spool, jid)
    record = _record.of(spool, jid, removed=True) or {}
    try:
        started = _record.started(_spool.read_file(path + "/started.json")) or {}
    except OSError:
        started = {}
    job = document["job"]
    if not document["finished"]:
        since = started.get("wall") or record.get("created") or _changed(path[:-2])
    elif job["state"] == "lost":
        since = max(map(_changed, (path[:-2], path, path + "/stdout", path + "/stderr")))
    else:
        since = _changed(path[:-2])
    ages = [now[0] - since]
    if started and here.same_boot(record):
        elapsed = job["elapsed"] if document["finished"] and isinstance(job["elapsed"], (int, float)) else 0.0
        ages.append(now[1] - started.get("clock", 0.0) - elapsed)
    return max(0.0, min(ages))


def _changed(path):
    """When a file was changed, in seconds since the epoch; 0 where there is none."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
