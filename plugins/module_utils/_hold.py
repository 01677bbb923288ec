# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting on the target for a job's end: asleep on its lock, awake within a millisecond of the supervisor's exit (PROTOCOL 5)."""

import _signal as signal
import fcntl
import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _facts, _process

PROBE_SECONDS = 0.2  # how often an orphan, or one of core's own jobs, is looked at
PROBE_MANY_SECONDS = 0.5  # the same where there may be many


class _Alarm(Exception):
    pass


def _ring(number, frame):
    raise _Alarm


def until_ended(spool, jid, here, seconds):
    """Return when the job has ended, or after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        facts, verdict = _facts.look(spool, jid, here)
        left = until - time.monotonic()
        if verdict.state not in ("running", "orphaned") or verdict.act or left <= 0:
            return
        if facts.lock == "held" and facts.supervisor_alive:
            sleep_on(facts.path + "/lock", left)
        else:
            time.sleep(min(PROBE_SECONDS, left))


def until_one_ended(jobs, here, seconds):
    """The numbers of those of ``jobs``, [(async dir, jid)], that have ended; none of them where none has within so many seconds.

    Asleep on the supervisors' pidfds; what has none, and all where Python does not know them (before 3.9), is looked at now and then.
    """
    import select

    until = time.monotonic() + seconds
    poller, watched = select.poll(), {}
    doubtful, ended = list(range(len(jobs))), []
    try:
        while True:
            unwatched = []
            for number in doubtful:
                facts, verdict = _facts.look(*jobs[number], here)
                fd = _pidfd(facts)
                if verdict.state not in ("running", "orphaned") or verdict.act:
                    ended.append(number)
                elif fd is None:
                    unwatched.append(number)
                if fd is not None:
                    watched[fd] = number
                    poller.register(fd, select.POLLIN)
            left = until - time.monotonic()
            if ended or left <= 0:
                return ended
            doubtful = unwatched
            for fd, _event in poller.poll(1 + int(1000 * (min(left, PROBE_MANY_SECONDS) if unwatched else left))):
                poller.unregister(fd)
                doubtful.append(watched.pop(fd))
                os.close(fd)
    finally:
        for fd in watched:
            os.close(fd)


def _pidfd(facts):
    """A descriptor of the supervisor that watches over the job, which can be read when it is gone; None where there is none."""
    if facts.lock != "held" or not facts.supervisor_alive or not hasattr(os, "pidfd_open"):
        return None
    try:
        fd = os.pidfd_open(facts.record["supervisor"]["pid"])
    except OSError:
        return None
    if _process.alive(facts.record["supervisor"]):  # still that one, so the descriptor is of no other
        return fd
    os.close(fd)
    return None


def sleep_on(path, seconds):
    """Wait until the lock is free, at most so long."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    before = signal.signal(signal.SIGALRM, _ring)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])  # whoever called us may have it blocked
    try:
        # Again and again, since an alarm just before the system call would be lost.
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), 0.1)
        fcntl.flock(fd, fcntl.LOCK_SH)
    except (OSError, _Alarm):
        pass
    finally:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        except _Alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.close(fd)
