# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb status: how jobs are by now, in the order asked; mode cleanup removes ended ones."""

import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _answer, _facts, _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused


def run(request):
    """The reply to a status request. Raises Refused."""
    dirs, reasons = _spool.for_questions(request["async_dirs"])
    if not dirs and reasons:
        raise Refused("; ".join(reasons))
    here = _facts.Here()
    jids = [job["jid"] for job in request["jobs"]]
    for jid in jids:
        if not _spool.valid_jid(jid):
            raise Refused("%r is not a job id" % jid)
    if request["hold"] > 0:
        from ansible_collections.longhaul.jobs.plugins.module_utils._hold import until_ended

        until = time.monotonic() + request["hold"]
        for jid in jids:
            spool = _spool.find(dirs, jid)
            if spool:
                until_ended(spool, jid, here, until - time.monotonic())
    write = not request["check"]
    look = _cleanup if request["options"]["mode"] == "cleanup" else _status
    asked = (dirs, request["async_dirs"], reasons)
    return {"schema": 1, "jobs": [look(asked, jid, here, write) for jid in jids], "warnings": reasons}


def _status(asked, jid, here, write):
    spool = _spool.find(asked[0], jid)
    return _answer.settle(spool, jid, here, write)[0] if spool else nowhere(jid, *asked)


def nowhere(jid, dirs, asked, reasons):
    """The job result of a job that none of ``dirs`` knows, of the async dirs ``asked`` for; ``reasons`` stand against the others."""
    places = [path for path in map(_spool.expand, asked) if path]
    if dirs:
        sentence = "could not find job %s in %s" % (jid, " or ".join(dirs))
    else:
        sentence = "could not find job %s: there is no async dir %s" % (jid, " or ".join(places))
    sentence = "; ".join([sentence] + reasons)
    from ansible_collections.longhaul.jobs.plugins.module_utils import _ended

    return _ended.unknown(jid, (dirs or places or [None])[0], sentence)


def _cleanup(asked, jid, here, write):
    from ansible_collections.longhaul.jobs.plugins.module_utils._end import go_on_removing, remove

    spool = _spool.find(asked[0], jid)
    if not spool:
        return nowhere(jid, *asked)
    document, facts, verdict = _answer.settle(spool, jid, here, write)
    if verdict.state == "unknown" and facts.removed and write:
        go_on_removing(facts)
    if verdict.state in ("unknown", "foreign"):
        return document
    if verdict.state in ("running", "orphaned") and (facts.directory or verdict.verified):
        return _refusal(document, jid, "is still %s: it was not removed" % verdict.state)
    if write and not remove(facts):
        return _refusal(document, jid, "is not ended, or was removed by another: it was not removed")
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
