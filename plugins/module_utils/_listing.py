# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which jobs there are in the async dirs, and which of them a request means: by an id, or by a name, which is its newest job."""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _claim, _ended, _record, _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused


def every(spool):
    """The ids of all jobs of an async dir, those that were removed not long ago included. Raises OSError."""
    found = set()
    for name in os.listdir(spool):
        jid = name[:-2] if name.endswith(".d") else name
        if _spool.valid_jid(jid):
            found.add(jid)
    return sorted(found)


class Places:
    """The async dirs of a request, and the way from what it asks for to the jobs in them."""

    def __init__(self, request, here):
        """Raises Refused: none of them can be used, or what is asked for is no job's id."""
        self.asked = request["async_dirs"]
        self.here = here
        self.dirs, self.reasons = _spool.for_questions(self.asked)
        if not self.dirs and self.reasons:
            raise Refused("; ".join(self.reasons))
        for job in request["jobs"] or []:
            if "jid" in job and not _spool.valid_jid(job["jid"]):
                raise Refused("%r is not a job id" % job["jid"])

    def find(self, job):
        """(async dir, jid) of what a request's entry asks for by its id or its name; the dir is None where there is no such job."""
        if "jid" in job:
            return _spool.find(self.dirs, job["jid"]), job["jid"]
        for spool in self.dirs:
            jid = self._newest(spool, job["name"])
            if jid:
                return spool, jid
        return None, None

    def every(self):
        """[(async dir, jid)] of all jobs."""
        return [(spool, jid) for spool in self.dirs for jid in every(spool)]

    def nowhere(self, job):
        """The job result for an entry that means no job here."""
        places = [path for path in map(_spool.expand, self.asked) if path]
        what = "job %s" % job["jid"] if "jid" in job else "a job named %s" % job["name"]
        if self.dirs:
            sentence = "could not find %s in %s" % (what, " or ".join(self.dirs))
        else:
            sentence = "could not find %s: there is no async dir %s" % (what, " or ".join(places))
        sentence = "; ".join([sentence] + self.reasons)
        document = _ended.unknown(job.get("jid"), (self.dirs or places or [None])[0], sentence)
        document["job"]["name"] = job.get("name")
        return document

    def _newest(self, spool, name):
        """The newest job of a name, as its claim has it. Where that job was removed, or there is no claim: by the jobs' records."""
        try:
            jid = _claim.holder(spool, self.here, name)
        except OSError:
            jid = None
        if jid and self._record(spool, jid):
            return jid
        records = [record for record in (self._record(spool, jid) for jid in every(spool)) if record and record.get("name") == name]
        # One of another host, which shares this directory, only where there is none of this one.
        records.sort(key=lambda record: (self.here.same_host(record), record.get("created") or 0.0))
        return records[-1]["jid"] if records else None

    def _record(self, spool, jid):
        """The record of a job that was not removed, or None."""
        try:
            return _record.read(_spool.read_file("%s/%s.d/job.json" % (spool, jid)))[0]
        except OSError:
            return None
