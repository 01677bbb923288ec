# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb cancel: end jobs for sure, the supervisor's tree included when it is stopped or dead (PROTOCOL section 3, "Cancel")."""

import _signal as signal
import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import (
    _answer,
    _commit,
    _disk,
    _end,
    _ended,
    _facts,
    _listing,
    _process,
    _record,
    _spool,
)
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused, dumps
from ansible_collections.longhaul.jobs.plugins.module_utils._hold import sleep_on

SUPERVISOR_SECONDS = 2.0  # beyond the grace: how long a supervisor may take before it is killed
DYING_SECONDS = 10.0  # how long a killed process may take to be gone on a busy machine
LOCK_SECONDS = 30.0  # for which another may be waited for who is ending the job
REASON_CHARACTERS = 500  # that fit what is laid down for them, whatever they are
ROUNDS = 5


def run(request):
    """The reply to a cancel request. Raises Refused."""
    here = _facts.Here()
    places = _listing.Places(request, here)
    jobs = [_cancel(job, here, request) for job in request["jobs"]]
    return {"schema": 1, "jobs": jobs, "warnings": places.reasons}


def _cancel(job, here, request):
    write = not request["check"]
    for _round in range(ROUNDS):
        places = _listing.Places(request, here)  # again, for the start that is called off may come in between
        spool, jid = places.find(job)
        if spool is None:
            document = places.nowhere(job)
            if not job.get("unanswered"):
                return document
            if not write:
                return dict(document, changed=True, failed=False)
            tombstone = _tombstone(_disk.for_start(request["async_dirs"]), jid, here, request["options"])
            if tombstone:
                return dict(tombstone, changed=True, failed=False)
            continue  # the start was faster: cancel that
        document, facts, verdict = _answer.settle(spool, jid, here, write)
        if verdict.state not in ("running", "orphaned"):
            return _not_running(spool, jid, here, document, verdict, request)
        if not facts.record:
            return dict(document, changed=False, failed=True, msg="the job %s was not started by longhaul.jobs" % jid)
        if not write:
            return dict(document, changed=True)
        try:
            ended = _end_it(facts, request["options"])
        except OSError as exc:
            return dict(document, changed=False, failed=True, msg="the job %s could not be asked to end: %s" % (jid, exc.strerror))
        if ended:
            return ended
    return dict(document, changed=False, failed=True, msg="the job %s changes faster than it can be cancelled" % jid)


def _not_running(spool, jid, here, document, verdict, request):
    """The job result for a job that needs no cancel, but for what may live of a lost one: that is ended."""
    if document["job"]["state"] != "lost" or request["check"]:
        return dict(document, changed=False, failed=verdict.state in ("unknown", "foreign"))
    facts = _facts.Facts(spool, jid, here, whole=True)
    if not facts.record or not facts.same_boot or facts.supervisor_alive or not _end.remains(facts):
        return dict(document, changed=False, failed=False)
    survivors, verified = _end.end_tree(facts, request["options"]["signal"], request["options"]["grace"])
    job = dict(document["job"], survivors=survivors, verified=verified)
    return dict(document, changed=True, failed=bool(survivors), job=job, msg=_ended.message(job))


def _end_it(facts, options):
    """Ask the supervisor, and take over where it does not answer: the job result, or None to look anew."""
    supervisor = facts.record["supervisor"]
    wanted, ours = _ask(facts, options)
    if wanted is None:
        return None
    lock, seen = facts.path + "/lock", ()
    if _send(supervisor, signal.SIGTERM):
        sleep_on(lock, wanted["grace"] + SUPERVISOR_SECONDS)
        if _spool.probe(lock) == _spool.HELD:
            # What has lost the job's mark (su, sudo) is known by its parent, the supervisor, for the last time.
            seen = _end.seen(facts)
        if _spool.probe(lock) == _spool.HELD and _send(supervisor, signal.SIGKILL):
            sleep_on(lock, SUPERVISOR_SECONDS)  # a child just forked may hold it for a moment longer
        _until_gone(supervisor, DYING_SECONDS)  # a subreaper of thousands is long in dying without the lock
    held = _end.verdict_lock(facts.path, LOCK_SECONDS)
    if held is None:
        return None
    try:
        facts, verdict = _facts.look(facts.spool, facts.jid, facts.here)
        if verdict.recorded or verdict.act == "adopt":
            document = _answer.answer(facts, verdict)
            if verdict.act:
                document = _end.write_end(facts, verdict, document)
            ended = document["job"]["state"] == "cancelled"
            return dict(document, changed=ended and ours, failed=bool(ended and document["job"]["survivors"]))
        if not facts.record or facts.supervisor_alive:
            return None
        survivors, verified = _end.end_tree(facts, wanted["signal"], wanted["grace"], seen)
        facts, verdict = _facts.look(facts.spool, facts.jid, facts.here)
        document = _end.cancelled(facts, verdict, survivors=survivors, verified=verified, reason=wanted["reason"])
        return dict(document, changed=True, failed=bool(survivors))
    finally:
        os.close(held)


def _ask(facts, options):
    """Fill `cancel` in place, unless another has: (what it holds, whether we did), or (None, False): look anew."""
    held = _end.verdict_lock(facts.path, LOCK_SECONDS)
    if held is None:
        return None, False
    try:
        facts, verdict = _facts.look(facts.spool, facts.jid, facts.here)
        if verdict.state not in ("running", "orphaned"):
            return None, False
        name = facts.path + "/cancel"
        asked = _record.filled(_spool.read_file(name))
        if asked:
            return asked, False
        asked = {"signal": options["signal"], "grace": options["grace"], "by": options["by"], "when": _record.timestamp(time.time())}
        asked["reason"] = options["reason"] and options["reason"][:REASON_CHARACTERS]
        _disk.fill(name, dumps(asked).encode("ascii"))
        return asked, True
    finally:
        os.close(held)


def _until_gone(who, seconds):
    until = time.monotonic() + seconds
    while _process.alive(who) and time.monotonic() < until:
        time.sleep(0.01)


def _send(who, number):
    """Signal the process of that identity: whether there is one."""
    if not _process.alive(who):
        return False
    try:
        os.kill(who["pid"], number)
        return True
    except OSError:
        return False


def _tombstone(spool, jid, here, options):
    """Cancel a start that was never answered, so that one that arrives late is not carried out: the job result, or None."""
    record = _record.blank(jid, spool, here)
    document = _ended.ended(record, None, "cancelled", "never_started", {"changed": False}, reason=options["reason"])
    new = "%s/.new-%s-%s" % (spool, jid, os.urandom(4).hex())
    path = "%s/%s.d" % (spool, jid)
    try:
        os.mkdir(new, 0o700)
        for name, data in (
            ("lock", b""),
            ("verdict.lock", b""),
            ("job.json", dumps(record).encode("ascii")),
            ("cancel", dumps(options).encode("ascii")),
            ("end.new", dumps(document).encode("ascii")),
        ):
            _disk.create(new + "/" + name, data, sync=True)
        _disk.fsync_path(new)
    except OSError as exc:
        _disk.remove(new)
        raise Refused("the start of job %s could not be called off in %s: %s; nothing was changed" % (jid, spool, exc.strerror)) from exc
    try:
        os.rename(new, path)
    except OSError:
        _disk.remove(new)
        return None
    try:  # the start cannot come any more: what fails from here on does not undo that
        _commit.publish(path)
        _disk.fsync_path(path)
    except OSError:
        pass
    return document
