# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ending jobs for sure, the supervisor's tree included when it is stopped or dead (PROTOCOL section 3, "Cancel").

All jobs of a request are asked before the first is waited for, so that a hundred that trap TERM take one grace and not a hundred.
"""

import _signal as signal
import errno
import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import (
    _answer,
    _commit,
    _disk,
    _end,
    _ended,
    _facts,
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
LIVING = ("running", "orphaned")
FASTER = ("adopt", "recover")  # ends that were there before anybody was asked


def one(spool, jid, here, options):
    """End one job: its job result, with ``changed`` (this call ended it) and ``failed`` (it may live on, see ``msg``).

    It returns when the job's end is committed and its lock is free, so it may be called under the lock of the name's claim.
    ``options``: ``signal`` (number), ``grace`` (seconds), ``reason`` and ``by`` (text or None). Does not raise.
    """
    document = several([(spool, jid)], here, options)[0]
    if not document["failed"]:
        sleep_on("%s/%s.d/lock" % (spool, jid), DYING_SECONDS)  # its supervisor may take a moment to be gone
    return document


def several(jobs, here, options):
    """The same for each of these (async dir, jid), all asked at once; their locks may be held for a moment longer."""
    cancels = {}
    for job in jobs:
        if job not in cancels:
            cancels[job] = _Cancel(job, here, options)
            cancels[job].ask()
    documents = {job: cancel.finish() for job, cancel in cancels.items()}
    found = []
    for job in jobs:  # of a job that is named twice it is said once that it was ended
        found.append(documents[job])
        documents[job] = dict(documents[job], changed=False)
    return found


class _Cancel:
    """The end of one job, from asking it to seeing it gone."""

    def __init__(self, job, here, options):
        self.spool, self.jid = job
        self.here = here
        self.options = options
        self.document = self.facts = self.wanted = self.tree = self.core = None
        self.ours = False  # whether it was us who filled `cancel`
        self.until = 0.0

    def ask(self):
        """Ask the job to end; its answer is there already where it does not run or cannot be asked."""
        self.facts, verdict = _facts.look(self.spool, self.jid, self.here)
        self.tree = self.core = None
        try:
            why_not = refusal(self.facts)
            if verdict.state not in LIVING:
                self.document = self._not_running()
            elif why_not:
                self.document = self._failed(why_not)
            elif not self.facts.directory:
                from ansible_collections.longhaul.jobs.plugins.module_utils._core_cancel import CoreCancel

                self.core = CoreCancel(self.facts, self.options)
            else:
                self._ask()
        except OSError as exc:
            self.document = self._failed("could not be asked to end: %s" % _why(exc))

    def finish(self):
        """Wait for the end, and take over where it does not come: the job result."""
        for _round in range(ROUNDS):
            if self.document is None:
                try:
                    self.document = self.core.finish() if self.core else self._end_it()
                except OSError as exc:
                    self.document = self._failed("could not be ended: %s" % _why(exc))
            if self.document is not None:
                return self.document
            self.ask()
        return self.document or self._failed("changes faster than it can be cancelled")

    def _failed(self, why):
        facts, verdict = _facts.look(self.spool, self.jid, self.here)
        return dict(_answer.answer(facts, verdict), changed=False, failed=True, msg="the job %s %s" % (self.jid, why))

    def _not_running(self):
        """The job result for a job that needs no cancel, but for what may live of a lost one: that is ended."""
        document, facts, verdict = _answer.settle(self.spool, self.jid, self.here)
        if document["job"]["state"] != "lost":
            return dict(document, changed=False, failed=verdict.state in ("unknown", "foreign"))
        facts = lost_with_remains(facts)
        if not facts:
            return dict(document, changed=False, failed=False)
        survivors, verified = _end.end_tree(facts, self.options["signal"], self.options["grace"])
        job = dict(document["job"], survivors=survivors, verified=verified)
        return dict(document, changed=True, failed=bool(survivors), job=job, msg=_ended.message(job))

    def _ask(self):
        """Fill `cancel` in place, unless another has, and pass it on to the supervisor, or to the processes that have none."""
        held = _end.verdict_lock(self.facts.path, LOCK_SECONDS)
        if held is None:
            return
        try:
            self.facts, verdict = _facts.look(self.spool, self.jid, self.here)
            if verdict.state not in LIVING:
                return
            self._fill()
            self.until = time.monotonic() + self.wanted["grace"]
            supervisor = self.facts.record["supervisor"]
            if not self.facts.supervisor_alive or (self.facts.payload_alive and _is_stopped(supervisor)):
                self._take_over()
            else:
                _send(supervisor, signal.SIGTERM)
        finally:
            os.close(held)

    def _fill(self):
        name = self.facts.path + "/cancel"
        self.wanted = _record.filled(_spool.read_file(name))
        self.ours = self.wanted is None
        if self.ours:
            self.wanted = {key: self.options[key] for key in ("signal", "grace", "by")}
            self.wanted.update(when=_record.timestamp(time.time()), reason=(self.options["reason"] or "")[:REASON_CHARACTERS] or None)
            _disk.fill(name, dumps(self.wanted).encode("ascii"))

    def _take_over(self):
        """Under the verdict's lock: end a supervisor that lives, and ask the job's processes themselves, if it runs without an end."""
        supervisor, lock = self.facts.record["supervisor"], self.facts.path + "/lock"
        seen = set()
        if self.facts.supervisor_alive:
            tree = _end.tree(self.facts)
            tree.find()  # what has lost the job's mark is known by its parent for the last time
            seen = tree.seen
            _send(supervisor, signal.SIGKILL)
            sleep_on(lock, SUPERVISOR_SECONDS)  # a child just forked may hold it for a moment longer
            _until_gone(supervisor, DYING_SECONDS)  # a subreaper of thousands is long in dying without the lock
        self.facts, verdict = _facts.look(self.spool, self.jid, self.here)
        if verdict.recorded or verdict.act in FASTER or self.facts.supervisor_alive or not self.facts.record:
            return
        self.tree = _end.tree(self.facts)
        self.tree.remember(seen)
        self.tree.ask(self.wanted["signal"])
        self.until = time.monotonic() + self.wanted["grace"]

    def _end_it(self):
        """The job result of a job that was asked, or None to look anew."""
        if self.wanted is None:
            return None
        if not self.tree:
            until = self.until + SUPERVISOR_SECONDS
            sleep_on(self.facts.path + "/lock", until - time.monotonic())
            _until_gone(self.facts.record["supervisor"], until - time.monotonic())
        held = _end.verdict_lock(self.facts.path, LOCK_SECONDS)
        if held is None:
            return None
        try:
            if not self.tree:
                self._take_over_what_is_left()
            self.facts, verdict = _facts.look(self.spool, self.jid, self.here)
            # What a module had printed before it was asked, and went on, is no end of its own.
            if verdict.recorded or (verdict.act in FASTER and not (self.tree and verdict.act == "recover")):
                return self._has_ended(verdict)
            if not self.tree:
                return None
            survivors, verified = self.tree.outlast(max(0.0, self.until - time.monotonic()), lambda: None)
            self.facts, verdict = _facts.look(self.spool, self.jid, self.here)
            known = {"survivors": survivors, "verified": verified and (self.facts.started or {}).get("marked", True)}
            return dict(_end.cancelled(self.facts, reason=self.wanted["reason"], **known), changed=True, failed=bool(survivors))
        finally:
            os.close(held)

    def _take_over_what_is_left(self):
        self.facts, verdict = _facts.look(self.spool, self.jid, self.here)
        if not verdict.recorded and self.facts.record:
            self._take_over()

    def _has_ended(self, verdict):
        """The job result where an end was faster: by the supervisor, who was asked, or by itself."""
        document = _answer.answer(self.facts, verdict)
        if verdict.act:
            document = _end.write_end(self.facts, verdict, document)
        ended = document["job"]["state"] == "cancelled"
        return dict(document, changed=ended and self.ours, failed=bool(ended and document["job"]["survivors"]))


def predicted(spool, jid, here):
    """What cancelling the job would come to, told without touching it."""
    document, facts, verdict = _answer.settle(spool, jid, here, write=False)
    if verdict.state in LIVING:
        why_not = refusal(facts)
        return dict(document, changed=not why_not, failed=bool(why_not), **({"msg": "the job %s %s" % (jid, why_not)} if why_not else {}))
    changed = document["job"]["state"] == "lost" and lost_with_remains(facts) is not None
    return dict(document, changed=changed, failed=verdict.state in ("unknown", "foreign"))


def refusal(facts):
    """Why a job that seems to run cannot be cancelled, or None."""
    if not facts.directory and not facts.core_alive:
        return "was started by core's async keyword, and none of its processes can be seen here: it was not cancelled"
    if facts.directory and not facts.record:
        return "cannot be cancelled: its record cannot be read"
    return None


def lost_with_remains(facts):
    """The whole Facts of a lost job of which something still lives; None for any other lost job."""
    facts = _facts.Facts(facts.spool, facts.jid, facts.here, whole=True)
    alive = facts.record and facts.same_boot and not facts.supervisor_alive and _end.remains(facts)
    return facts if alive else None


def _is_stopped(who):
    found = _process.stat_of(who["pid"])
    return bool(found and found[0] in "Tt")


def _until_gone(who, seconds):
    until = time.monotonic() + seconds
    while _process.alive(who) and time.monotonic() < until:
        time.sleep(0.01)


def _send(who, number):
    """Signal the process of that identity, if there is one."""
    if _process.alive(who):
        try:
            os.kill(who["pid"], number)
        except ProcessLookupError:
            pass


def _why(exc):
    if isinstance(exc, BlockingIOError):
        return "another has been at it for %d s" % LOCK_SECONDS
    return exc.strerror or str(exc)


def call_off(spool, jid, here, options):
    """Cancel a start that was never answered, so that one that arrives late is not carried out.

    The job result; None where the start was faster. Raises Refused.
    """
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
        os.rename(new, path)
    except OSError as exc:
        _disk.remove(new)
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return None
        raise Refused("%s: %s" % (spool, exc.strerror)) from exc
    try:  # the start cannot come any more: what fails from here on does not undo that
        _commit.publish(path)
        _disk.fsync_path(path)
    except OSError:
        pass
    return dict(document, changed=True, failed=False)
