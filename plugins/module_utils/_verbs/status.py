# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb status: how jobs are by now, in the order asked; mode cleanup removes ended ones."""

import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _answer, _facts, _listing


def run(request):
    """The reply to a status request. Raises Refused."""
    here = _facts.Here()
    places = _listing.Places(request, here)
    if request["hold"] > 0:
        from ansible_collections.longhaul.jobs.plugins.module_utils._hold import until_ended

        until = time.monotonic() + request["hold"]
        for spool, jid in map(places.find, request["jobs"]):
            if spool:
                until_ended(spool, jid, here, until - time.monotonic())
    write = not request["check"]
    look = _cleanup if request["options"]["mode"] == "cleanup" else _status
    documents = []
    for job in request["jobs"]:
        spool, jid = places.find(job)
        documents.append(look(spool, jid, here, write) if spool else places.nowhere(job))
    return {"schema": 1, "jobs": documents, "warnings": places.reasons}


def _status(spool, jid, here, write):
    return _answer.settle(spool, jid, here, write)[0]


def _cleanup(spool, jid, here, write):
    from ansible_collections.longhaul.jobs.plugins.module_utils._end import go_on_removing, remove

    document, facts, verdict = _answer.settle(spool, jid, here, write)
    if verdict.state == "unknown" and facts.removed and write:
        go_on_removing(facts)
    if verdict.state in ("unknown", "foreign"):
        return document
    if verdict.state in ("running", "orphaned") and (facts.directory or verdict.verified):
        return _refusal(document, jid, "is still %s: it was not removed" % verdict.state)
    try:
        removed = not write or remove(facts)
    except OSError as exc:
        return _refusal(document, jid, "could not be removed: %s" % exc.strerror)
    if not removed:
        return _refusal(document, jid, "has not ended, is another host's, or is being removed by another: it was not removed")
    return {
        "ansible_job_id": jid,
        "erased": facts.results_file,
        "changed": True,
        "started": document["started"],
        "finished": document["finished"],
        "results_file": facts.results_file,
        "job": document["job"],
    }


def _refusal(document, jid, why):
    return dict(document, failed=True, msg="the job %s %s" % (jid, why))
