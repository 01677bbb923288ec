# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A start by a name that another job holds: to attach to it, to refuse, to replace it, or to take its end for the answer."""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _answer, _claim, _disk, _facts, _process, _record, _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused

KEY_BYTES = 32
DIGEST_BYTES = 16
REPLACE_SECONDS = 15.0  # beyond the grace: what it may take to end a job, as the controller reckons too


def fingerprint(spool, work, cwd):
    """What tells a job's work from other work: of the digest of module and arguments, the directory and the user. Raises OSError.

    Keyed, so that who sees a record and guesses the arguments cannot tell whether he has guessed right.
    """
    try:
        from _blake2 import blake2b  # hashlib would load OpenSSL
    except ImportError:
        from hashlib import blake2b

    parts = [work.encode("ascii"), cwd or os.getcwdb(), _process.user_name(os.geteuid()).encode("utf-8", "surrogateescape")]
    return blake2b(b"\0".join(parts), key=_key(spool), digest_size=DIGEST_BYTES).hexdigest()


def _key(spool):
    """The async dir's key, made if need be: under its lock, so that there is never but one. Raises OSError."""
    name = spool + "/.key"
    key = _spool.read_file(name, KEY_BYTES) or b""
    if len(key) < KEY_BYTES:
        try:
            _disk.create(name)
        except FileExistsError:
            pass
        fd = _disk.lock(name, _claim.LOCK_SECONDS)
        try:
            key = os.pread(fd, KEY_BYTES, 0)
            if len(key) < KEY_BYTES:
                key = os.urandom(KEY_BYTES)
                os.pwrite(fd, key, 0)
                os.fsync(fd)
                _disk.fsync_path(spool)
        finally:
            os.close(fd)
    return key


def claim(launch):
    """The claim of a start's name, locked. Raises Refused, where another holds it for too long too; OSError."""
    options = launch.options
    seconds = _claim.LOCK_SECONDS + (options["grace"] + REPLACE_SECONDS if options["if_running"] == "replace" else 0.0)
    try:
        return _claim.Claim(launch.spool, launch.here, options["name"], seconds)
    except BlockingIOError:
        if launch.attempt > 1:
            sentence = "the name %s is still being started, which may be an earlier attempt of this very start: ask for job %s"
            raise Refused(sentence % (options["name"], launch.jid)) from None
        raise Refused("the name %s is being started by another and that takes long; nothing was started" % options["name"]) from None


class Holder:
    """The job whose id a name's claim holds, as a start finds it that has the claim locked."""

    def __init__(self, launch, jid):
        """``launch`` is the start (a _launch.Launch), ``jid`` the job's id."""
        self.launch = launch
        self.options = launch.options
        self.spool = launch.spool
        self.here = launch.here
        self.jid = jid
        self.path = "%s/%s.d" % (self.spool, jid)
        self.replaced = False  # whether it was ended for this start
        self.reused = False  # whether it had ended, and its end is the answer
        self.warnings = []

    def answers(self):
        """Whether the start is answered with this job, as it now is; else its own may go on. Raises Refused."""
        record = self._record()
        if record and record.get("name") != self.options["name"]:
            return False  # no claim of ours has named it
        document = _answer.settle(self.spool, self.jid, self.here)[0]
        state = document["job"]["state"]
        if state not in ("running", "orphaned"):
            self.reused = self.options["if_finished"] == "reuse" and state == "succeeded" and self._can_be_reused(document)
            return self.reused
        if self.options["if_running"] == "replace":
            self._replace()
            self.replaced = True
            return False
        name = "the name %s is held by job %s, which is %s" % (self.options["name"], self.jid, state)
        if self.options["if_running"] == "fail":
            raise Refused("%s (if_running: fail); nothing was started" % name)
        if record.get("fingerprint") != self.launch.fingerprint:
            other = "with other work (module, arguments, directory or user); if_running: replace would end it first"
            raise Refused("%s, %s; nothing was started" % (name, other))
        for key in ("time_limit", "grace"):
            if record[key] != self.options[key]:
                told = tuple("none" if value is None else "%g s" % value for value in (record[key], self.options[key]))
                self.warnings.append("job %s, which this start is attached to, keeps its %s: %s, not %s" % ((self.jid, key) + told))
        return True

    def attached(self, document):
        """The start's answer, of the job's ``document`` as it is by now."""
        document = dict(document, job=dict(document["job"], attached=True))
        if self.reused:
            document["changed"] = False
        return document

    def _can_be_reused(self, document):
        from ansible_collections.longhaul.jobs.plugins.module_utils import _filters

        record = self._record()
        if record.get("fingerprint") != self.launch.fingerprint:
            return False
        # One that is past its own `retain` is not there any more, though nobody has removed it yet.
        longest = [seconds for seconds in (self.options["reuse_for"], record.get("retain")) if seconds is not None]
        return not longest or _filters.age(self.spool, self.jid, self.here, document, _filters.clocks()) <= min(longest)

    def _record(self):
        """The job's record; empty where there is none that can be read."""
        return _record.of(self.spool, self.jid) or {}

    def _replace(self):
        """End the job, and see that it has ended. Raises Refused."""
        from ansible_collections.longhaul.jobs.plugins.module_utils import _cancel

        options = {"signal": 15, "grace": self.options["grace"], "by": self.launch.jid, "reason": "replaced by job %s" % self.launch.jid}
        document = _cancel.one(self.spool, self.jid, self.here, options)
        held = _spool.probe(self.path + "/lock") == _spool.HELD
        verdict = _facts.look(self.spool, self.jid, self.here)[1]
        if verdict.state != "unknown" and (held or not verdict.recorded or document["job"]["survivors"]):
            sentence = "the name %s is held by job %s, which could not be replaced: %s; nothing was started"
            raise Refused(sentence % (self.options["name"], self.jid, document.get("msg") or "it does not end"))
