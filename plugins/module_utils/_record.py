# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema: a job's record, its job file and its end, and how they are read back.

A record (job.json) is what is fixed at the start; a job file is the job result of the public interface, flat, so that core's
async_status reads it too. Both are dicts here.
"""

import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _process, _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import first_value, loads

SCHEMA = 1
NEEDED = frozenset(("jid", "kind", "mark", "time_limit", "grace", "boot", "host", "supervisor"))  # to judge a job by
CORE_KEYS = ("ansible_job_id", "started", "finished", "results_file", "job")
# Every key of `job` but `result` and the ones that the controller sets (host, reachable).
FIELDS = (
    "jid name labels user async_dir results_file module state cause started_at ended_at elapsed time_limit remaining overdue rc "
    "signal supervisor_pid payload_pid cpu_seconds peak_memory_bytes stdout_bytes stderr_bytes progress verified attached reason "
    "survivors no_log core"
).split()


def blank(jid, spool, here):
    """A record (schema 1) of a job that nothing is known of but its id: a tombstone's."""
    return {
        "schema": SCHEMA,
        "jid": jid,
        "name": None,
        "labels": {},
        "module": None,
        "kind": "command",
        "no_log": False,
        "user": _process.user_name(os.geteuid()),
        "async_dir": spool,
        "results_file": spool + "/" + jid,
        "created": time.time(),
        "time_limit": None,
        "grace": 10.0,
        "retain": None,
        "fingerprint": None,
        "mark": None,
        "boot": here.boot,
        "host": here.host,
        "supervisor": None,
    }


def unrecorded(spool, jid):
    """What stands in for the record of a job that has none that can be read, one of core's own for instance."""
    user = _process.user_name(os.geteuid())
    return {"jid": jid, "labels": {}, "user": user, "async_dir": spool, "results_file": spool + "/" + jid}


def parse(data):
    """The JSON object that ``data`` (bytes or None) is, or None for anything else."""
    try:
        value = loads(data.decode("utf-8"))
    except (AttributeError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def filled(data):
    """The JSON object at the beginning of a file that was laid down with room for it, or None; what stands behind is no part."""
    try:
        value = first_value((data or b"").decode("ascii", "replace"))[0]
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def read(data):
    """(record, newer) of job.json's bytes: the record, or None and whether a newer collection has written it."""
    record = parse(data)
    if record is None:
        return None, False
    if record.get("schema") != SCHEMA:
        return None, isinstance(record.get("schema"), int)
    return (record if _is_sound(record) else None), False


def of(spool, jid, removed=False):
    """The record of a job, with ``removed`` also of one whose removal has begun.

    None where there is none that can be read, or that is another job's.
    """
    path = "%s/%s.d/" % (spool, jid)
    try:
        data = _spool.read_file(path + "job.json")
        if not data and removed:
            data = _spool.read_file(path + "removed")
    except OSError:
        return None
    record = read(data)[0]
    return record if record and record["jid"] == jid else None


def _is_sound(record):
    """Whether all that a job is judged, chosen and ended by is of its kind."""
    labels = record.get("labels") or {}
    return (
        NEEDED <= set(record)
        and _are_numbers(record.get(key) for key in ("time_limit", "grace", "retain", "created"))
        and isinstance(record["boot"], dict)
        and isinstance(record["host"], dict)
        and isinstance(labels, dict)
        and (record["supervisor"] is None or _is_identity(record["supervisor"]))
    )


def _are_numbers(values):
    return all(value is None or isinstance(value, (int, float)) for value in values)


def _is_identity(who):
    """Whether that may be one process's: other numbers mean groups of them to those who signal."""
    return isinstance(who, dict) and isinstance(who.get("pid"), int) and who["pid"] > 1 and _are_numbers([who.get("start")])


def started(data):
    """What started.json's bytes (or None) say of the payload: its identity, `wall` and `clock` in seconds; None for anything else."""
    found = parse(data)
    good = found and _is_identity(found) and _are_numbers(found.get(key) for key in ("wall", "clock"))
    return found if good else None


def complete_end(data):
    """(document, length in bytes) of an end that was written wholly into end.new, or None.

    The document ends where its object closes: behind it lie what was laid down at the start, or a longer attempt's rest.
    """
    try:
        value, length = first_value(data.decode("ascii", "replace"))
    except (AttributeError, ValueError):
        return None
    return (value, length) if isinstance(value, dict) and value.get("finished") is True else None


def says_finished(document):
    """Whether a job file means an ended job: by core's own rule, which covers all its versions and ours."""
    return "started" not in document or bool(document.get("finished"))


def timestamp(seconds):
    """RFC 3339 in UTC, to the millisecond, of seconds since the epoch; None of None."""
    if seconds is None:
        return None
    return "%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)), int(seconds % 1 * 1000))


def fields(record, started, **known):
    """The ``job`` of a job result: what record and started.json (dict or None) say, and what else is ``known``."""
    job = dict.fromkeys(FIELDS)
    limit = record.get("time_limit")
    job.update(
        schema=SCHEMA,
        overdue=False,
        verified=True,
        core=False,
        attached=False,
        survivors=[],
        supervisor_pid=(record.get("supervisor") or {}).get("pid"),
        started_at=timestamp(record.get("created")),
    )
    for key in ("jid", "name", "labels", "user", "async_dir", "results_file", "module", "time_limit", "no_log"):
        job[key] = record.get(key)
    if started:
        job["payload_pid"] = started.get("pid")
        job["started_at"] = timestamp(started.get("wall"))
        job["elapsed"] = round(max(0.0, _process.boot_clock() - started.get("clock", 0.0)), 3)
        if limit is not None:
            job["remaining"] = max(0.0, round(limit - job["elapsed"], 3))
    job.update(known)
    return job


def running(record, started, **known):
    """The job file of a job that runs."""
    known.setdefault("state", "running")
    return document({}, fields(record, started, **known), started=True, finished=False)


def document(result, job, started, finished):
    """A job file: a module's own ``result`` with core's keys, and ours under ``job``."""
    result.update(ansible_job_id=job["jid"], started=started, finished=finished, results_file=job["results_file"], job=job)
    return result


def public(document):
    """The job result without what only the controller's side of ours takes out of `job` itself."""
    for private in ("no_log", "core"):
        document["job"].pop(private, None)
    return document


def brief(document):
    """The job result without the module's own, for the verbs that do not tell of that."""
    kept = {key: document[key] for key in (*CORE_KEYS, "changed", "failed", "msg") if key in document}
    return dict(kept, job={key: value for key, value in document["job"].items() if key != "result"})
