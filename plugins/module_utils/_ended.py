# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job files of jobs that have ended, or that are not there, and the sentences that say how."""

import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _process, _record

CAUSES = {
    "host_rebooted": "the host, or the container, was restarted while it ran",
    "supervisor_killed": "its supervisor was killed, and the module left no complete result",
    "exit_unknown": "its supervisor was killed, so how the command ended is not known",
    "never_started": "its start died before the task was run; it never ran and never will",
    "corrupt_record": "its record cannot be read, and nothing of it runs",
}


def ended(record, started, state, cause, result, **known):
    """The job file of an ended job: the module's own ``result`` with core's keys, and ours under ``job``."""
    now = time.time()
    known.setdefault("ended_at", None if state == "lost" else _record.timestamp(now))
    job = _record.fields(record, started, state=state, cause=cause, remaining=None, **known)
    if state == "lost":
        job["elapsed"] = None
    if cause == "never_started":
        job["started_at"] = None
    result = dict(result)
    clash = {key: result.pop(key) for key in _record.CORE_KEYS if key in result}
    if clash:
        job["result"] = clash
    if state != "succeeded":
        result["failed"] = True
        result.setdefault("msg", message(job))
    return _record.document(result, job, started=cause != "never_started", finished=True)


def message(job):
    """One sentence on how a job ended that left no message of its own."""
    who = "the job %s" % (job["name"] or job["jid"])
    state = job["state"]
    if state == "timed_out":
        text = "%s ran longer than its time limit of %s s and was ended" % (who, _number(job["time_limit"]))
    elif state == "cancelled":
        text = "%s was cancelled" % who + (": %s" % job["reason"] if job["reason"] else "")
    elif state == "lost":
        text = "%s is lost: %s" % (who, job["reason"] or CAUSES.get(job["cause"], job["cause"]))
    elif job["cause"] == "supervisor_terminated":
        text = "%s was ended because its supervisor was told to terminate" % who
    elif job["signal"]:
        text = "%s was ended by signal %s" % (who, job["signal"])
    else:
        text = "%s failed" % who
    if job["survivors"]:
        what = "still live" if state == "lost" else "could not be ended"
        text += "; these of its processes %s: " % what + ", ".join(
            "%s (%s, %s)" % (s["pid"], s["user"], s["command"]) for s in job["survivors"]
        )
    return text


def unknown(jid, async_dir, sentence):
    """The job result of a job that is not there."""
    stub = {"jid": jid, "async_dir": async_dir, "results_file": "%s/%s" % (async_dir, jid) if async_dir and jid else None}
    stub["user"] = _process.user_name(os.geteuid())  # who has looked for it
    result = {"failed": True, "msg": sentence}
    return _record.document(result, _record.fields(stub, None, state="unknown"), started=False, finished=True)


def _number(value):
    return "%g" % value if value is not None else "?"
