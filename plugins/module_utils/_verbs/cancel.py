# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb cancel: end jobs for sure. An entry's ``changed`` is whether this call ended it, ``failed`` whether it may live on.

Entries are job results without the modules' own.
"""

import _signal as signal

from ansible_collections.longhaul.jobs.plugins.module_utils import _cancel, _disk, _facts, _listing, _record
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused


def run(request):
    """The reply to a cancel request. Raises Refused."""
    here = _facts.Here()
    options = dict(request["options"], signal=_number(request["options"]["signal"]))
    places = _listing.Places(request, here)
    if request["jobs"] is None:
        documents = _ended(_chosen(places, request["filters"]), here, options, request["check"])
    else:
        documents = _asked_for(places, request, here, options)
    return {"schema": 1, "jobs": [_record.brief(document) for document in documents], "warnings": places.reasons}


def _number(name):
    """The number of a signal on this host, by its name without SIG or its number. Raises Refused."""
    number = name if isinstance(name, int) else getattr(signal, "SIG" + name, None)
    if not number or not 0 < number < signal.NSIG:
        raise Refused("this host knows no signal %s; nothing was cancelled" % name)
    return int(number)


def _asked_for(places, request, here, options):
    found, documents = [], {}
    for index, job in enumerate(request["jobs"]):
        spool, jid = places.find(job)
        if not spool:
            documents[index] = _nowhere(places, job, request, here, options)
            if documents[index] is None:  # the start was faster: cancel that, in a directory that it may have made
                spool, jid = _listing.Places(request, here).find(job)
                documents[index] = dict(places.nowhere(job), changed=False, failed=True)  # if it is gone by now
        if spool:
            found.append((index, spool, jid))
    ended = _ended([(spool, jid) for _index, spool, jid in found], here, options, request["check"])
    for (index, _spool, _jid), document in zip(found, ended):
        if "name" in request["jobs"][index] and document["job"]["state"] == "unknown":  # removed meanwhile
            document = dict(document, failed=False)
        documents[index] = document
    return [documents[index] for index in range(len(request["jobs"]))]


def _nowhere(places, job, request, here, options):
    """The job result for a job that is not here; None where its start, which is called off, was faster."""
    document = places.nowhere(job)
    if not job.get("unanswered"):
        return dict(document, changed=False, failed="jid" in job)
    if request["check"]:
        return dict(document, changed=True, failed=False)
    dirs = [job["async_dir"]] if job.get("async_dir") else request["async_dirs"]
    try:
        return _cancel.call_off(_disk.for_start(dirs), job["jid"], here, options)
    except Refused as exc:  # which does not cost the other jobs their cancel
        return dict(document, changed=False, failed=True, msg="the start of job %s was not called off: %s" % (job["jid"], exc))


def _ended(jobs, here, options, check):
    if check:
        return [_cancel.predicted(spool, jid, here) for spool, jid in jobs]
    return _cancel.several(jobs, here, options)


def _chosen(places, filters):
    """Of the jobs that the filters let through those that run, and lost ones where their state is asked for."""
    wanted = _cancel.LIVING + (("lost",) if "lost" in filters.get("states", ()) else ())
    return [(spool, jid) for spool, jid, document in places.let_through(filters) if document["job"]["state"] in wanted]
