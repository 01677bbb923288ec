# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ends that no supervisor writes: judged, enforced and committed by who asks (PROTOCOL 3, "Verdict" and "Prune, cleanup")."""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import (
    _claim,
    _commit,
    _disk,
    _ended,
    _facts,
    _process,
    _record,
    _result,
    _spool,
    _verdict,
)

LOCK_SECONDS = 1.0  # for which another may be waited for who writes an end; who enforces a limit holds it for a grace


def verdict_lock(path, seconds=LOCK_SECONDS):
    """LOCK_EX on the job's verdict.lock, still in its place: a descriptor, or None where the job is gone.

    Raises OSError, EAGAIN where another holds it for so long.
    """
    return _claim.lock_in_place(path + "/verdict.lock", seconds)


def under_lock(facts, answer):
    """Judge again under the verdict's lock and write the end that is missing: (document, Facts, Verdict).

    ``answer`` makes the document (_answer.answer). An end that cannot be written is answered all the same.
    """
    try:
        lock = verdict_lock(facts.path)
    except OSError:
        lock = None
    facts, verdict = _facts.look(facts.spool, facts.jid, facts.here)
    if lock is None:  # the job is gone, or another is about to write its end
        return answer(facts, verdict), facts, verdict
    try:
        known = {}
        if verdict.act == "enforce":
            known, facts, verdict = enforce(facts)
        document = answer(facts, verdict, **known)
        if verdict.act in ("commit", "adopt", "recover"):
            document = write_end(facts, verdict, document)
        return document, facts, verdict
    finally:
        os.close(lock)


def write_end(facts, verdict, document):
    """Write an end under the verdict's lock; what is written, or would have been."""
    try:
        if verdict.act == "adopt":
            _commit.adopt(facts.path, facts.end[1])
        else:
            document = _commit.commit(facts.path, document, facts.command)
    except OSError:
        pass
    return document


def enforce(facts):
    """End an orphan that is past its limit: ({what is known of it}, Facts, Verdict) after that."""
    survivors, verified = end_tree(facts, 15, facts.record["grace"])
    facts, verdict = _facts.look(facts.spool, facts.jid, facts.here)
    if verdict.act == "commit":
        verdict = _verdict.Verdict("timed_out", "time_limit", act="commit")
    return {"survivors": survivors, "verified": verified}, facts, verdict


def cancelled(facts, **known):
    """Commit that a job is cancelled whose supervisor is gone and whose processes were ended: the job result."""
    cause = "cancelled" if facts.started else "never_started"
    verdict = _verdict.Verdict("cancelled", cause, act="commit")
    return write_end(facts, verdict, document(facts, verdict, known))


def tree(facts):
    """The processes of a job; those that have lost its mark (su, sudo) are told by their parent, while its supervisor lives."""
    from ansible_collections.longhaul.jobs.plugins.module_utils import _kill

    return _kill.Tree(facts.jid, facts.record["mark"], facts.started, facts.record["supervisor"])


def end_tree(facts, number, grace):
    """End all processes of a job without a supervisor: (survivors, verified)."""
    survivors, verified = tree(facts).end(number, grace, lambda: None)
    return survivors, verified and (facts.started or {}).get("marked", True)


def remains(facts):
    """What still lives of a job whose payload is gone: described, not touched; a job may have started a service."""
    processes = tree(facts)
    return processes.describe(processes.find())


def document(facts, verdict, known):
    """The job result of a job that does not run, by what was judged; ``known`` are keys of ``job``."""
    if verdict.recorded:
        return _recorded(facts)
    if verdict.act == "adopt":
        return facts.end[0]
    if verdict.state == "unknown":
        if facts.newer:
            sentence = "the record of job %s was written by a newer longhaul.jobs (schema above %d)" % (facts.jid, _record.SCHEMA)
        else:
            sentence = "could not find job %s in %s" % (facts.jid, facts.spool)
        return _ended.unknown(facts.jid, facts.spool, sentence)
    record = facts.record or _record.unrecorded(facts.spool, facts.jid)
    if verdict.state == "foreign":
        host = (record.get("host") or {}).get("hostname")
        result = {"failed": True, "msg": "the job %s is of another host, %s, which shares this directory: ask it there" % (facts.jid, host)}
        return _ended.ended(record, facts.started, "foreign", None, result, ended_at=None, **known)
    if verdict.act == "recover":  # the complete result that a module printed whose supervisor died
        state, cause, result = _result.module(facts.path)
        return _ended.ended(record, facts.started, state, cause or "exited", result, **known)
    return _unwatched_end(facts, verdict, record, known)


def _recorded(facts):
    """The end in the job file; one that core's wrapper wrote gets core's keys and a ``job``."""
    document = facts.document
    if facts.ours:
        return document
    failed = bool(document.get("failed"))
    cause = "time_limit" if document.get("msg") == "Timeout exceeded" and "child_pid" in document else "exited"
    state = "timed_out" if cause == "time_limit" else "failed" if failed else "succeeded"
    return _ended.ended(_record.unrecorded(facts.spool, facts.jid), None, state, cause, document, core=True, ended_at=_written(facts))


def _written(facts):
    try:
        return _record.timestamp(os.stat(facts.results_file).st_mtime)
    except OSError:
        return None


def _unwatched_end(facts, verdict, record, known):
    """An end that nobody watched: lost, cancelled or timed out, with the output that there is."""
    result = {"changed": True} if verdict.cause != "never_started" else {}
    if facts.command and facts.started:
        texts, sizes, warnings = _result.streams(facts.path, strip=True)
        result.update(texts, warnings=warnings) if warnings else result.update(texts)
        known.update(sizes)
    known["verified"] = known.get("verified", True) and _process.sees_all()
    if verdict.state == "lost" and facts.record and facts.same_boot and facts.started:
        known.setdefault("survivors", remains(facts))
    if facts.cancel:
        known.setdefault("reason", facts.cancel.get("reason"))
    return _ended.ended(record, facts.started, verdict.state, verdict.cause, result, core=not facts.directory, **known)


def remove(facts):
    """Remove an ended job but for the mark that a late repeat of its start meets; whether it did. Raises OSError."""
    if not facts.directory:
        try:
            os.unlink(facts.results_file)
        except FileNotFoundError:
            pass
        return True
    try:
        lock = verdict_lock(facts.path)
    except BlockingIOError:
        return False
    if lock is None:
        return False
    try:
        facts, verdict = _facts.look(facts.spool, facts.jid, facts.here)
        whole = _facts.Facts(facts.spool, facts.jid, facts.here, whole=True)  # an end in the job file hides whose it is
        foreign = whole.record and not whole.same_boot and not whole.same_host
        if foreign or verdict.state in ("running", "orphaned", "foreign"):
            return False
        if os.path.exists(facts.path + "/job.json"):
            os.rename(facts.path + "/job.json", facts.path + "/removed")  # needs no space; from here the job is gone
        _disk.remove(facts.results_file)
        _commit.discard(facts.path)
        _clear(facts.path)
    finally:
        os.close(lock)
    _forget(facts)
    return True


def go_on_removing(facts):
    """Take away what is left of a job whose removal was cut short; another who is at it is let alone. Raises OSError."""
    try:
        lock = verdict_lock(facts.path)
    except BlockingIOError:
        return
    try:
        _clear(facts.path)
    finally:
        if lock is not None:
            os.close(lock)
    _forget(facts)


def _forget(facts):
    """Take away the claim of a job that is removed: behind the verdict's lock, for who starts by a name takes them the other way round."""
    name = (_record.parse(_spool.read_file(facts.path + "/removed")) or {}).get("name")
    if name:
        _claim.forget(facts.spool, facts.here, name, facts.jid)


def _clear(path):
    """All but the mark of the removal, the lock of those who remove last."""
    for name in sorted(os.listdir(path), key="verdict.lock".__eq__):
        if name != "removed":
            _disk.remove(path + "/" + name)
    _disk.fsync_path(path)
