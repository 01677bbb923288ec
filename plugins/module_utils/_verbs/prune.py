# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb prune: remove ended jobs, by filters, by number or by size; writes no end and ends nothing."""

import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _end, _facts, _filters, _listing, _prune


def run(request):
    """The reply to a prune request: the jobs that were removed, or in check mode would be, the oldest first, with their bytes.

    Raises Refused.
    """
    here = _facts.Here()
    places = _listing.Places(request, here)
    write = not request["check"]
    warnings = list(places.reasons)
    if write:
        for spool in places.dirs:
            _prune.tidy(spool, time.time())
            _go_on(spool, here)
    documents = []
    for spool, jid, document in _going(_candidates(places, request, here), request):
        try:
            if not write or _end.remove(_facts.Facts(spool, jid, here)):
                documents.append(document)
        except OSError as exc:
            warnings.append("the job %s could not be removed: %s" % (jid, exc.strerror))
    return {"schema": 1, "jobs": documents, "warnings": warnings}


def _go_on(spool, here):
    """Take away what is left of jobs whose removal was cut short."""
    for jid in _listing.every(spool):
        path = "%s/%s.d" % (spool, jid)
        try:
            if os.path.lexists(path + "/removed") and (os.path.lexists(path[:-2]) or len(os.listdir(path)) > 1):
                facts = _facts.Facts(spool, jid, here)
                if not _end.remove(facts):
                    _end.go_on_removing(facts)
        except OSError:
            pass


def _candidates(places, request, here):
    """[(age in seconds, async dir, jid, document with bytes)] of all that might go, the youngest first."""
    found, now = [], _filters.clocks()
    for spool, jid, document in places.let_through(request["filters"]):
        if (request["options"]["include_core"] or not document["job"].get("core")) and _prune.may_go(spool, jid, here, document):
            document["bytes"] = _listing.size(spool, jid)
            found.append((_filters.age(spool, jid, here, document, now), spool, jid, document))
    found.sort(key=lambda one: one[:3])
    return found


def _going(candidates, request):
    """[(async dir, jid, document)] of those that go, the oldest first."""
    options = request["options"]
    named = "names" in (request["filters"] or {})
    left = sum(document["bytes"] for _age, _spool, _jid, document in candidates)
    going = []
    for seconds, spool, jid, document in reversed(candidates[options["keep_last"] or 0 :]):
        if seconds < _prune.RECENT and not named:
            break
        if options["max_bytes"] is not None and left <= options["max_bytes"]:
            break
        left -= document["bytes"]
        going.append((spool, jid, document))
    return going
