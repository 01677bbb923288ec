# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes from an async dir as every start sees to it, and what may go at all (PROTOCOL section 3, "Prune, cleanup")."""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _commit, _disk, _record, _spool

RECENT = 600.0  # seconds for which an ended job stays, unless it is named: others may be about to ask for it
TOMBSTONE_SECONDS = 86400.0  # for which it stays that a start was called off: until no repeat of that start is taken any more
MOST = 16  # ended jobs that one start looks at


def sweep(spool, now):
    """Remove what starts that died have left for an hour, marks of removals past a day, and some jobs past their `retain`. Never raises.

    Of the ended jobs a few at random are looked at, so that a start does not pay for all that have ever been.
    """
    kept = tidy(spool, now)
    if len(kept) > MOST:
        kept = {kept[int.from_bytes(os.urandom(4), "big") % len(kept)] for _look in range(MOST)}
    for jid in kept:
        try:
            _remove_past_retain(spool, jid, now)
        except Exception:
            pass  # whatever is wrong with an old job, it is not for the start that goes by to tell


def tidy(spool, now):
    """Remove what starts that died have left for an hour and marks of removals past a day; [ids of ours with a job file]. Never raises."""
    kept = []
    try:
        names = set(os.listdir(spool))
    except OSError:
        return kept
    for name in names:
        path = spool + "/" + name
        try:
            if name.startswith(".trash-"):
                _disk.remove(path)
            elif name.startswith(".new-"):
                if now - os.stat(path).st_mtime > 3600 and _spool.probe(path + "/lock") in (_spool.FREE, _spool.MISSING):
                    _discard(spool, path)
            elif name.endswith(".d") and _spool.valid_jid(name[:-2]):
                if name[:-2] in names:
                    kept.append(name[:-2])
                elif now - os.stat(path).st_mtime > TOMBSTONE_SECONDS and _is_removed(path):
                    _discard(spool, path)
        except OSError:
            pass
    return kept


def _is_removed(path):
    """Whether a job without a job file was removed: by us, or by core's cleanup, which takes the job file alone."""
    names = os.listdir(path)
    return "removed" in names or ("end.new" not in names and _spool.probe(path + "/lock") in (_spool.FREE, _spool.MISSING))


def _discard(spool, path):
    _commit.discard(path)
    trash = "%s/.trash-%s" % (spool, os.urandom(8).hex())
    os.rename(path, trash)
    _disk.remove(trash)


def _remove_past_retain(spool, jid, now):
    """Remove the job if it has ended longer ago than its record has it kept; most are let be by two times alone. Raises OSError."""
    unchanged = now - os.stat(spool + "/" + jid).st_mtime
    if unchanged <= RECENT:
        return
    record = _record.of(spool, jid, removed=True) or {}
    retain = record.get("retain")
    if retain is None and record and record["supervisor"] is None:
        retain = TOMBSTONE_SECONDS
    if not isinstance(retain, (int, float)) or unchanged <= retain:
        return
    from ansible_collections.longhaul.jobs.plugins.module_utils import _end, _facts, _filters, _listing

    here = _facts.Here()
    document = _listing.told(spool, jid, here)
    if may_go(spool, jid, here, document) and _filters.age(spool, jid, here, document, _filters.clocks()) > max(retain, RECENT):
        _end.remove(_facts.Facts(spool, jid, here))


def may_go(spool, jid, here, document):
    """Whether the job of that job result has ended, and is no other host's."""
    if not document["finished"] or document["job"]["state"] in ("unknown", "foreign"):
        return False
    record = _record.of(spool, jid, removed=True)
    return not record or here.same_boot(record) or here.same_host(record)
