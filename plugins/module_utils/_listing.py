# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which jobs there are in the async dirs, which of them a request means, and what a list of them tells: no module's own results."""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _answer, _claim, _ended, _facts, _record, _spool, _verdict
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused

READING = ("info", "log")  # verbs that never write
TAIL = 16 << 10  # bytes at the end of a job file that hold all that a list tells, whatever is in front of them


def every(spool):
    """The ids of all jobs of an async dir, those that were removed not long ago included. Raises OSError."""
    found = set()
    for name in os.listdir(spool):
        jid = name[:-2] if name.endswith(".d") else name
        if _spool.valid_jid(jid):
            found.add(jid)
    return sorted(found)


def told(spool, jid, here):
    """The job result without the module's own, as of now: core's keys, `job`, and what is said of a job that is not there.

    Writes nothing and ends nothing.
    """
    # What an end will be is laid down there while a job runs, and how far it says it is is told by the whole answer.
    whole = any(os.path.lexists("%s/%s.d/%s" % (spool, jid, name)) for name in ("end.new", "progress"))
    document = None if whole else _end_of(spool, jid)
    if document is None:
        facts = _facts.Facts(spool, jid, here, whole=True)
        verdict = _verdict.judge(facts)
        if verdict.again:
            facts, verdict = _facts.look(spool, jid, here)
        document = _answer.answer(facts, verdict)
    job = document["job"]
    job.pop("result", None)
    for key in ("state", "started_at", "elapsed"):  # an end that was written otherwise does not cost the list the others
        job.setdefault(key, None)
    kept = {key: document.get(key) for key in _record.CORE_KEYS}
    if job["state"] in ("unknown", "foreign"):
        kept["msg"] = document.get("msg")
    return kept


def _end_of(spool, jid):
    """Core's keys and `job` of a job of ours that has ended, or None: they stand last in its file, behind a result of any size."""
    try:
        data = _spool.read_file(spool + "/" + jid, TAIL, tail=True) or b""
    except OSError:
        return None
    begin = data.rfind(b'"ansible_job_id": "%s", "started": true, "finished": true, ' % jid.encode("ascii"))
    document = _record.parse(b"{" + data[begin:]) if begin >= 0 else None  # of another place in it the braces do not match
    if not document or document.get("finished") is not True or not isinstance(document.get("job"), dict):
        return None
    return document if document["job"].get("jid") == jid else None


def size(spool, jid):
    """Bytes of all files of a job."""
    total = _spool.size(spool + "/" + jid)
    try:
        folder = os.open("%s/%s.d" % (spool, jid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return total
    try:
        names = [name for name in os.listdir(folder) if name not in ("lock", "verdict.lock")]  # which are empty
        return total + sum(os.stat(name, dir_fd=folder, follow_symlinks=False).st_size for name in names)
    except OSError:  # something of it was removed meanwhile
        return total
    finally:
        os.close(folder)


class Places:
    """The async dirs of a request, and the way from what it asks for to the jobs in them."""

    def __init__(self, request, here):
        """Raises Refused: none of them can be used, or what is asked for is no job's id."""
        self.asked = request["async_dirs"]
        self.here = here
        self._records = {}  # by async dir: all of them, once a name has to be looked for among them
        write = not request.get("check") and request.get("verb") not in READING
        self.dirs, self.reasons = _spool.for_questions(self.asked, write)
        self.dirs += [path for path in _spool.for_questions(request.get("also_in", ()), write)[0] if path not in self.dirs]
        if not self.dirs and self.reasons:
            raise Refused("; ".join(self.reasons))
        for job in request["jobs"] or []:
            if "jid" in job and not _spool.valid_jid(job["jid"]):
                raise Refused("%r is not a job id" % job["jid"])

    def find(self, job):
        """(async dir, jid) of what a request's entry asks for by its id or its name; the dir is None where there is no such job."""
        if "jid" in job:
            return _spool.find(self.dirs, job["jid"]), job["jid"]
        newest = [(spool, self._newest(spool, job["name"])) for spool in self.dirs]
        found = [(self._rank(record), spool, record["jid"]) for spool, record in newest if record]
        return max(found, key=lambda one: one[0])[1:] if found else (None, None)

    def chosen(self, request):
        """[(async dir, jid, entry)] of the jobs that a request means.

        By its `jobs`: each entry in its order, and None for the async dir of one that is not here. Else those that its `filters` let
        through, or all, each with None for an entry; the removed are none of them.
        """
        if request["jobs"] is not None:
            return [self.find(job) + (job,) for job in request["jobs"]]
        return [(spool, jid, None) for spool, jid, _document in self.let_through(request["filters"])]

    def let_through(self, filters):
        """(async dir, jid, job result without the module's own) of each job that the filters (dict or None) let through."""
        from ansible_collections.longhaul.jobs.plugins.module_utils._filters import Filters

        wanted = Filters(filters or {}, self.here)
        for spool in self.dirs:
            for jid in every(spool):
                if not wanted.may_let_through(spool, jid):
                    continue
                document = told(spool, jid, self.here)
                if document["job"]["state"] == "unknown" or not wanted.let_through(spool, jid, document):
                    continue
                # An end stays until its job file goes, the next step of a removal; whoever was killed before that is gone on with.
                if not document["finished"] or not os.path.lexists("%s/%s.d/removed" % (spool, jid)):
                    yield spool, jid, document

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
        """The record of the newest job of a name in an async dir, or None: as its claim has it; by all records where that job was removed,
        or there is no claim."""
        try:
            jid = _claim.holder(spool, self.here, name)
        except OSError:
            jid = None
        held = _record.of(spool, jid) if jid else None
        if held and held.get("name") == name:
            return held
        if spool not in self._records:
            self._records[spool] = list(filter(None, (_record.of(spool, jid) for jid in every(spool))))
        records = [record for record in self._records[spool] if record.get("name") == name]
        return max(records, key=self._rank) if records else None

    def _rank(self, record):
        """What the newest has most of. One of another host, which shares this directory, counts only where there is none of this one."""
        return self.here.same_host(record), record.get("created") or 0.0
