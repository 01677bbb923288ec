# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be seen of a job at one moment, sampled in the order that PROTOCOL section 4 asks for."""

import errno
import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _process, _record, _spool, _verdict

WINDOW = 0.5  # seconds for which a child just forked may hold the lock of a dead supervisor


class Here:
    """Who the reader is: boot and host, looked up once for all the jobs of a request."""

    def __init__(self):
        self.boot = _process.boot()
        self.host = _process.host()

    def same_boot(self, record):
        return record.get("boot") == self.boot

    def same_host(self, record):
        return record.get("host") == self.host


class Facts:
    """One look at a job. The attributes are the columns of the truth table; documents that were read are kept."""

    def __init__(self, spool, jid, here, whole=False):
        """``whole``: look at everything also where the job file says that the job has ended."""
        self.spool = spool
        self.jid = jid
        self.here = here
        self.results_file = spool + "/" + jid
        self.path = self.results_file + ".d"
        self.names = frozenset()
        self.lock = _spool.MISSING
        self.record = self.started = self.cancel = self.end = self.result = self.document = None
        self.trouble = self.newer = self.same_boot = self.same_host = self.supervisor_alive = self.payload_alive = False
        self.removed = self.past_limit = self.past_grace = self.command = self.ours = self.core_alive = self.core_visible = False
        self.directory = os.path.isdir(self.path)
        # A finished job file is the truth whatever else there is, so it may be looked at first. Any other may not: an end
        # that is committed and removed in between would read as "unknown".
        if not whole and self._job_file() == _verdict.FINISHED:
            self.job_file = _verdict.FINISHED
            return
        if self.directory:
            self.lock = _spool.probe(self.path + "/lock")
            self._processes()
            self._files()
        self.job_file = self._job_file()
        if not self.directory and self.job_file in (_verdict.UNFINISHED, _verdict.UNREADABLE):
            from ansible_collections.longhaul.jobs.plugins.module_utils import _core_job

            self.core_alive, self.core_visible = _core_job.seen(self.spool, self.jid)

    def _read(self, name, limit=None):
        try:
            return _spool.read_file(self.path + "/" + name, limit)
        except OSError as exc:
            # A file that cannot be read now is not the same as one that is not there, or is no file of ours at all.
            self.trouble = self.trouble or exc.errno not in (errno.EISDIR, errno.ELOOP, errno.EPERM)
            return None

    def _job_file(self):
        try:
            data = _spool.read_file(self.results_file)
        except OSError:
            return _verdict.UNREADABLE
        if data is None:
            return _verdict.ABSENT
        self.document = _record.parse(data)
        if self.document is None:
            return _verdict.UNREADABLE
        job = self.document.get("job")
        self.ours = isinstance(job, dict) and job.get("schema") is not None and job.get("jid") == self.jid
        return _verdict.FINISHED if _record.says_finished(self.document) else _verdict.UNFINISHED

    def _processes(self):
        record, self.newer = _record.read(self._read("job.json"))
        if record is None or record["jid"] != self.jid:
            return
        self.record = record
        self.command = record.get("kind") == "command"
        self.same_boot = self.here.same_boot(record)
        self.same_host = self.here.same_host(record)
        self.started = _record.started(self._read("started.json"))
        if not self.same_boot:
            return
        self.supervisor_alive = _process.alive(record["supervisor"])
        if self.started:
            self.payload_alive = _process.alive(self.started)
            if record["time_limit"] is not None:
                late = _process.boot_clock() - self.started.get("clock", 0.0) - record["time_limit"]
                self.past_limit = late >= 0
                self.past_grace = late > record["grace"] + 1

    def _files(self):
        try:
            self.names = frozenset(os.listdir(self.path))
        except OSError as exc:
            self.trouble = self.trouble or exc.errno not in (errno.ENOENT, errno.ENOTDIR)
        self.removed = "removed" in self.names
        if self.lock == _spool.HELD or self.supervisor_alive or self.removed or not self.record:
            return
        self.cancel = _record.filled(self._read("cancel"))
        self.end = _record.complete_end(self._read("end.new"))
        if not self.command and not self.payload_alive:
            from ansible_collections.longhaul.jobs.plugins.module_utils import _result

            self.result = _result.printed(self._read("result.raw", _result.RAW_MAX))


def look(spool, jid, here):
    """(Facts, Verdict) of a job; looked at twice where the table asks for it before it says lost or unknown."""
    facts = Facts(spool, jid, here)
    verdict = _verdict.judge(facts)
    until = time.monotonic() + WINDOW
    looks = 1
    while verdict.again and (looks < 2 or (verdict.state == "running" and time.monotonic() < until)):
        if verdict.state == "running":
            time.sleep(0.02)
        facts = Facts(spool, jid, here)
        verdict = _verdict.judge(facts)
        looks += 1
    return facts, verdict
