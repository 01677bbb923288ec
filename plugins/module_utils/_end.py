# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Committing an end, and settling a job whose supervisor cannot: PROTOCOL section 3, "End", "Verdict" and "Prune, cleanup".

A job has ended when, and only when, its end has been renamed onto its job file. While the supervisor lives, it alone does so.
"""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _facts, _output, _process, _record, _result, _spool, _verdict
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import dumps, write_all

RESERVE = 64 << 10  # bytes of end.new laid down at the start, so that a full disk cannot hide an end
SHORT_STREAM = 4 << 10  # characters of a stream that a short end keeps


def commit(path, document, command):
    """Make ``document`` the job's end: written in place, cut to length, flushed, renamed; then the module's raw result goes.

    Where it does not fit on a full disk, its short form is committed. Returns the document that was. Raises OSError.
    """
    fd = os.open(path + "/end.new", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            _fill(fd, document)
        except OSError as exc:
            if exc.errno not in _spool.NO_SPACE:
                raise
            document = short(document, command)
            _fill(fd, document)
    finally:
        os.close(fd)
    publish(path)
    return document


def _fill(fd, document):
    data = dumps(document).encode("ascii")
    os.lseek(fd, 0, os.SEEK_SET)
    write_all(fd, data)
    os.ftruncate(fd, len(data))
    os.fsync(fd)


def publish(path):
    """The one rename: end.new, whole and flushed, becomes the job file. Raises OSError."""
    os.rename(path + "/end.new", path[: -len(".d")])
    _spool.fsync_path(os.path.dirname(path))
    try:
        os.unlink(path + "/result.raw")
    except OSError:
        pass


def short(document, command):
    """The form of an end that fits the reserve whatever the job printed; marked as cut.

    A command keeps its own cause and state; a module's result that is gone makes the job failed, cause no_space.
    """
    job = dict(document["job"])
    job.pop("result", None)
    job["labels"] = dict((key, value[:64]) for key, value in list((job["labels"] or {}).items())[:16])
    job["survivors"] = job["survivors"][:16]
    kept = dict((key, document[key]) for key in _record.CORE_KEYS if key in document)
    kept["job"] = job
    for key in ("failed", "changed", "rc", "delta", "start", "end", "msg"):
        if isinstance(document.get(key), (str, int, bool)):
            kept[key] = _output.shorten(document[key], 512, 512) if isinstance(document[key], str) else document[key]
    if not command and document["started"]:
        job.update(state="failed", cause="no_space")
        kept.update(failed=True, changed=True, msg="the module's result could not be written: no space left on the device")
        return kept
    for key in ("stdout", "stderr"):
        if key in document:
            kept[key] = _output.shorten(document[key], SHORT_STREAM, SHORT_STREAM) + _output.NO_SPACE
    return kept


def verdict_lock(path):
    """LOCK_EX on the job's verdict.lock, still in its place: a descriptor, or None where the job is gone. Raises OSError."""
    name = path + "/verdict.lock"
    while True:
        fd = _spool.lock(name)
        if fd is None:
            return None
        try:
            held, now = os.fstat(fd), os.stat(name)
            if (held.st_dev, held.st_ino) == (now.st_dev, now.st_ino):
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)


def settle(spool, jid, here, write=True):
    """(document, Facts, Verdict): a job's answer as of now; where its end is not written yet and ``write``, written first.

    An end that cannot be written (read-only, full beyond the reserve) is answered all the same.
    """
    facts, verdict = _facts.look(spool, jid, here)
    if verdict.act and write:
        try:
            lock = verdict_lock(facts.path)
        except OSError:
            lock = None
        if lock is None:
            facts, verdict = _facts.look(spool, jid, here)
            return answer(facts, verdict), facts, verdict
        try:
            facts, verdict = _facts.look(spool, jid, here)
            known = {}
            if verdict.act == "enforce":
                known, facts, verdict = enforce(facts)
            document = answer(facts, verdict, **known)
            if verdict.act:
                document = write_end(facts, verdict, document)
            return document, facts, verdict
        finally:
            os.close(lock)
    return answer(facts, verdict), facts, verdict


def write_end(facts, verdict, document):
    """Write an end under the verdict's lock; what is written, or would have been."""
    try:
        if verdict.act == "adopt":
            with open(facts.path + "/end.new", "r+b") as stream:
                stream.truncate(facts.end[1])
                os.fsync(stream.fileno())
            publish(facts.path)
        else:
            document = commit(facts.path, document, facts.command)
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


def cancelled(facts, verdict, **known):
    """Commit that a job is cancelled whose supervisor is gone and whose processes were ended: the job result."""
    if not verdict.act or verdict.act == "enforce":
        verdict = _verdict.Verdict(verdict.state, act="commit")
    verdict.state, verdict.cause = "cancelled", "cancelled"
    return write_end(facts, verdict, answer(facts, verdict, **known))


def end_tree(facts, number, grace):
    """End all processes of a job without a supervisor: (survivors, verified)."""
    from ansible_collections.longhaul.jobs.plugins.module_utils import _kill

    tree = _kill.Tree(facts.jid, facts.record["mark"], facts.started, facts.record["supervisor"])
    return tree.end(number, grace, lambda: None)


def remains(facts):
    """What still lives of a job whose payload is gone: described, not touched; a job may have started a service."""
    from ansible_collections.longhaul.jobs.plugins.module_utils import _kill

    tree = _kill.Tree(facts.jid, facts.record["mark"], facts.started, facts.record["supervisor"])
    return tree.describe(tree.find())


def answer(facts, verdict, **known):
    """The job result for what was judged; ``known`` are keys of ``job`` that its judge knows better."""
    if verdict.recorded:
        return _recorded(facts)
    if verdict.act == "adopt":
        return facts.end[0]
    if verdict.state == "unknown":
        if facts.newer:
            sentence = "the record of job %s was written by a newer longhaul.jobs (schema above %d)" % (facts.jid, _record.SCHEMA)
        else:
            sentence = "could not find job %s in %s" % (facts.jid, facts.spool)
        return _record.unknown(facts.jid, facts.spool, sentence)
    record = facts.record or _stub(facts)
    known.setdefault("verified", verdict.verified)
    known.setdefault("overdue", verdict.overdue)
    if verdict.state in ("running", "orphaned"):
        known.update(stdout_bytes=_output.size(facts.path + "/stdout"), stderr_bytes=_output.size(facts.path + "/stderr"))
        return _record.running(record, facts.started, state=verdict.state, core=not facts.directory, **known)
    if verdict.state == "foreign":
        host = (record.get("host") or {}).get("hostname")
        result = {"failed": True, "msg": "the job %s is of another host, %s, which shares this directory: ask it there" % (facts.jid, host)}
        return _record.ended(record, facts.started, "foreign", None, result, ended_at=None, **known)
    if verdict.act == "recover":  # the complete result that a module printed whose supervisor died
        state, result = _result.module(facts.path)
        return _record.ended(record, facts.started, state, "exited", result, **known)
    return _unwatched_end(facts, verdict, record, known)


def _stub(facts):
    """What is known of a job without a readable record, one of core's own for instance."""
    return {
        "jid": facts.jid,
        "labels": {},
        "user": _process.user_name(os.geteuid()),
        "async_dir": facts.spool,
        "results_file": facts.results_file,
    }


def _recorded(facts):
    """The end in the job file; one that core's wrapper wrote gets core's keys and a ``job``."""
    document = facts.document
    if facts.ours:
        return document
    failed = bool(document.get("failed"))
    cause = "time_limit" if document.get("msg") == "Timeout exceeded" and "child_pid" in document else "exited"
    state = "timed_out" if cause == "time_limit" else "failed" if failed else "succeeded"
    return _record.ended(_stub(facts), None, state, cause, document, core=True, ended_at=_written(facts))


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
    if verdict.state == "lost" and facts.record and facts.same_boot and facts.started:
        known.setdefault("survivors", remains(facts))
    if facts.cancel:
        known.setdefault("reason", facts.cancel.get("reason"))
    return _record.ended(record, facts.started, verdict.state, verdict.cause, result, core=not facts.directory, **known)


def remove(facts):
    """Remove an ended job but for the mark that a late repeat of its start meets; whether it did. Raises OSError."""
    if not facts.directory:
        _unlink(facts.results_file)
        return True
    lock = verdict_lock(facts.path)
    if lock is None:
        return False
    try:
        facts, verdict = _facts.look(facts.spool, facts.jid, facts.here)
        if verdict.state in ("running", "orphaned", "foreign"):
            return False
        if os.path.exists(facts.path + "/job.json"):
            os.rename(facts.path + "/job.json", facts.path + "/removed")  # needs no space; from here the job is gone
        _unlink(facts.results_file)
        for name in os.listdir(facts.path):
            if name != "removed":
                _unlink(facts.path + "/" + name)
        _spool.fsync_path(facts.path)
        return True
    finally:
        os.close(lock)


def _unlink(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
