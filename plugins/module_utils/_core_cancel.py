# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ending a job that core's own async_wrapper has started: its wrapper first, so that nobody but us writes its job file."""

import _signal as signal
import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _core_job, _disk, _ended, _kill, _process, _record
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import dumps

DYING_SECONDS = 10.0  # how long a killed process may take to be gone on a busy machine
LOCK_SECONDS = 30.0  # for which another may be waited for who is ending the job


class _Tree(_kill.Tree):
    """The processes of a job of core's but for its wrappers. They carry no mark of their own: sessions and descent tell them."""

    def __init__(self, jid, wrappers):
        super().__init__(jid, None, None, None)
        self.since = min(wrappers.values())
        self.wrappers = wrappers
        self.spared.update(wrappers)
        # Since a wrapper detaches itself the session is its own; the one that it was started in is somebody's login.
        found = [_process.stat_of(pid) for pid in wrappers]
        sessions = {one[2] for one in found if one} - {0}
        self.sessions = {number for number in sessions if number in wrappers or _process.start_time(number) is None}
        self.outer = {_kill.mark_of(pid) for pid in wrappers}  # where core's task was started by a job of ours

    def _belongs(self, pid, found):
        if _kill.mark_of(pid) not in self.outer:
            return False
        return True if (pid, found[3]) in self.seen or found[2] in self.sessions or found[1] in self.wrappers else None

    def _newborn(self, pid, found):
        return _kill.mark_of(pid) in self.outer and (found[1] in self.seen_pids or found[2] in self.sessions or found[1] in self.wrappers)


class CoreCancel:
    """The cancel of one job of core's: asked when it is made, seen through by finish(). Holds a lock on its job file meanwhile.

    The wrapper is stopped first, so that it writes no end of its own from then on, and until there is ours the job is seen to run.
    Raises OSError, EAGAIN where another is cancelling it.
    """

    def __init__(self, facts, options):
        self.facts = facts
        self.options = options
        self.tree = None
        self.lock = _disk.lock(facts.results_file, LOCK_SECONDS)
        wrappers = _own_wrappers(facts.jid)
        if wrappers and self._runs():
            tree = _Tree(facts.jid, wrappers)
            tree.send(wrappers, signal.SIGSTOP)
            _until(lambda: all((_process.stat_of(pid) or "T")[0] in "TtZX" for pid in wrappers))
            if self._runs():
                self.tree = tree
                tree.ask(options["signal"])
            else:
                tree.send(wrappers, signal.SIGCONT)
        self.until = time.monotonic() + options["grace"]

    def _runs(self):
        """Whether the job file that we have locked is still in its place: an end is another file, renamed onto it."""
        try:
            held, now = os.fstat(self.lock), os.stat(self.facts.results_file)
        except (FileNotFoundError, TypeError):
            return False
        return (held.st_dev, held.st_ino) == (now.st_dev, now.st_ino)

    def finish(self):
        """The job result, or None to look anew. Raises OSError where the end cannot be written."""
        try:
            if not self.tree:
                return None  # its own end was faster
            survivors, _verified = self.tree.outlast(max(0.0, self.until - time.monotonic()), lambda: None)
            self.tree.send(self.tree.wrappers, signal.SIGKILL)
            _until(lambda: not _own_wrappers(self.facts.jid))
            known = {"survivors": survivors, "verified": False, "reason": self.options["reason"], "cause": "cancelled"}
            record = _record.unrecorded(self.facts.spool, self.facts.jid)
            document = _ended.ended(record, None, "cancelled", result={"changed": True}, core=True, **known)
            self._write(document)
            return dict(document, changed=True, failed=bool(survivors))
        finally:
            if self.lock is not None:
                os.close(self.lock)

    def _write(self, document):
        """Put a finished job file in the place of core's own. Raises OSError."""
        new = "%s/.new-%s-%s" % (self.facts.spool, self.facts.jid, os.urandom(4).hex())
        try:
            _disk.create(new, dumps(document).encode("ascii"), sync=True)
            os.rename(new, self.facts.results_file)
        except OSError:
            _disk.remove(new)
            raise
        _disk.fsync_path(self.facts.spool)


def _own_wrappers(jid):
    """Those of the job's user, who is ours: another's command line may look like one."""
    found = {}
    for pid, start in (_core_job.wrappers(jid) or {}).items():
        try:
            if os.stat("/proc/%d" % pid).st_uid == os.geteuid():
                found[pid] = start
        except OSError:
            continue
    return found


def _until(condition):
    until = time.monotonic() + DYING_SECONDS
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
