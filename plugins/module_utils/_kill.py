# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's mark, and finding and ending all that belongs to a job, with proof (PROCESS-FACTS section 4).

What belongs to it: the payload's session, descendants, the cookie in the environment, and the mark, a random number in the
soft limit RLIMIT_LOCKS, which has had no effect since Linux 2.4 and which survives a cleared environment, setsid and a dead
supervisor. A sweep that finds nothing proves nothing against a process that forks on: the last pid is chased.
"""

import _signal as signal
import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _process

RLIMIT_LOCKS = 10
MARK_BIT = 1 << 61
CHASE_SECONDS = 10.0  # for which what forks on is hunted; milliseconds do on a machine that is not overrun


def new_mark():
    """A mark for one job."""
    return int.from_bytes(os.urandom(8), "big") >> 3 | MARK_BIT


def set_mark(mark):
    """Mark this process and all it will fork; whether the system has, and lets us set, such a limit."""
    try:
        import resource

        resource.setrlimit(RLIMIT_LOCKS, (mark, resource.getrlimit(RLIMIT_LOCKS)[1]))
        return True
    except (ImportError, ValueError, OSError):
        return False


def mark_of(pid):
    """The mark of a process, or None."""
    try:
        with open("/proc/%d/limits" % pid, "rb") as stream:
            for line in stream:
                if line.startswith(b"Max file locks"):
                    value = line[26:].split()[0]
                    return int(value) if value.isdigit() and int(value) & MARK_BIT else None
    except (OSError, IndexError):
        pass
    return None


class Tree:
    """The processes of one job."""

    def __init__(self, jid, mark, payload, supervisor):
        """``payload`` and ``supervisor`` are identities ({"pid", "start"}) or None."""
        self.jid = jid
        self.mark = mark
        self.payload = payload
        self.supervisor = supervisor if supervisor and _process.alive(supervisor) else None
        self.since = min([who["start"] for who in (payload, supervisor) if who and who.get("start") is not None] or [0])
        self.seen = set()  # every (pid, start time) that was ever ours: links between processes end with the first TERM
        self.seen_pids = set()
        if payload:
            self.remember([(payload["pid"], payload["start"])])
        self.leader = self.blind = False
        self.refused = {}
        self.spared = self._ancestors()

    def _ancestors(self):
        spared, pid = {1, os.getpid()}, os.getpid()
        while pid > 1:
            found = _process.stat_of(pid)
            if not found:
                break
            pid = found[1]
            spared.add(pid)
        if self.supervisor:
            spared.add(self.supervisor["pid"])
        return spared

    def remember(self, pairs):
        """These (pid, start time) are of the job, whatever becomes of the links between its processes."""
        for pid, start in pairs:
            self.seen.add((pid, start))
            self.seen_pids.add(pid)

    def _alive(self):
        table = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                found = _process.stat_of(int(name))
                if found and found[0] not in "ZX":
                    table[int(name)] = found
        if os.getpid() not in table:
            raise OSError("no /proc is mounted")
        return table

    def _belongs(self, pid, found):
        """True: ours by itself; False: another job's; None: by itself neither."""
        mark = mark_of(pid)
        if mark is not None and mark != self.mark:
            return False
        if (pid, found[3]) in self.seen or mark is not None:
            return True
        # A session's number is free for anybody once its leader is gone, so it counts only while that one lives.
        if self.leader and found[2] == self.payload["pid"]:
            return True
        if self.supervisor and found[1] == self.supervisor["pid"]:
            return True
        return True if _process.has_cookie(pid, self.jid) else None

    def _newborn(self, pid, found):
        """Whether a process that is a few milliseconds old is ours. Cheap: it must be told faster than others are born."""
        mark = mark_of(pid)
        if mark is not None:
            return mark == self.mark
        if self.supervisor and found[1] == self.supervisor["pid"]:
            return True
        if found[1] not in self.seen_pids:
            return False
        parent = _process.stat_of(found[1])
        return parent is not None and (found[1], parent[3]) in self.seen

    def find(self):
        """{pid: start time} of the living processes of the job; without /proc the payload's process alone."""
        try:
            table = self._alive()
        except OSError:
            self.blind, who = True, self.payload
            return {who["pid"]: None} if who and _process.alive(who) else {}
        kin = {}
        self.leader = _process.alive(self.payload)
        for pid, found in table.items():
            if pid in self.spared:
                kin[pid] = False
            elif found[3] >= self.since:
                kin[pid] = self._belongs(pid, found)
        ours = {}
        for pid in table:
            line, at = set(), pid
            while kin.get(at, False) is None and at not in line:
                line.add(at)
                at = table[at][1]
            if kin.get(at):
                ours[pid] = table[pid][3]
        self.remember(ours.items())
        return ours

    def send(self, processes, number):
        """Signal these {pid: start}, each only if it is still the one that was found.

        KILL the newest first, before it forks. Any other signal the oldest first: a shell that waits for a child must have its
        own TERM before that child's end, else it goes on past its trap.
        """
        oldest_first = sorted(processes, key=lambda pid: (processes[pid] or 0, pid))
        for pid in oldest_first if number != signal.SIGKILL else reversed(oldest_first):
            if processes[pid] is not None and _process.start_time(pid) != processes[pid]:
                continue
            try:
                if self.blind:
                    os.killpg(pid, number)  # the payload's own group, and with it more than can be seen
                os.kill(pid, number)
                self.refused.pop(pid, None)
            except ProcessLookupError:
                pass
            except OSError:
                self.refused[pid] = processes[pid]

    def end(self, number, grace, reap):
        """End them all: ask, then outlast."""
        self.ask(number)
        return self.outlast(grace, reap)

    def ask(self, number):
        """Send them all ``number``, and CONT, so that what is stopped hears it."""
        ours = self.find()
        self.send(ours, number)
        self.send(ours, signal.SIGCONT)

    def outlast(self, grace, reap):
        """Wait up to ``grace`` seconds for what was asked, then KILL until none is left.

        ``reap()`` collects children of the caller that have died. Returns (survivors, verified): what could not be ended as
        [{"pid", "user", "command"}], and whether nothing else can be left.
        """
        until, pause = time.monotonic() + grace, 0.002
        while True:
            reap()
            ours = self.find()
            left = until - time.monotonic()
            if not ours or left <= 0:
                break
            time.sleep(min(pause, left))
            pause = min(2 * pause, 0.1)
        proven = self._kill(reap)
        survivors = self.describe(self.find())
        return survivors, proven and not survivors and _process.sees_all()

    def describe(self, processes):
        """[{"pid", "user", "command"}] of these {pid: start}, but for those that are gone by now."""
        return [_describe(pid) for pid in sorted(processes) if self.blind or _process.start_time(pid) is not None]

    def _kill(self, reap):
        until, clean = time.monotonic() + CHASE_SECONDS, 0
        while time.monotonic() < until:
            low = _last_pid()
            ours = self.find()
            self.send(ours, signal.SIGKILL)
            caught = self._chase(low, until)
            reap()
            able = [pid for pid in ours if pid not in self.refused]
            clean = 0 if able or caught else clean + 1
            if clean == 2:
                return low is not None
            if able:
                time.sleep(0.001)
        return False

    def _chase(self, low, until):
        """Kill those of ours that were born behind the sweep, up to the newest pid; whether there was one, or no end of them."""
        caught = False
        while low is not None:
            if time.monotonic() > until:
                return True
            high = _last_pid()
            if high is None or high == low:
                break
            for pid in range(low + 1, high + 1) if high > low else list(range(low + 1, _pid_max())) + list(range(2, high + 1)):
                found = _process.stat_of(pid)
                if not found or found[0] in "ZX" or pid in self.spared or found[3] < self.since:
                    continue
                if self._newborn(pid, found):
                    self.remember([(pid, found[3])])
                    self.send({pid: found[3]}, signal.SIGKILL)
                    caught = caught or pid not in self.refused
            low = high
        return caught


def _last_pid():
    try:
        with open("/proc/loadavg") as stream:
            return int(stream.read().split()[4])
    except (OSError, ValueError, IndexError):
        return None


def _pid_max():
    try:
        with open("/proc/sys/kernel/pid_max") as stream:
            return int(stream.read())
    except (OSError, ValueError):
        return 32768


def _describe(pid):
    """{"pid", "user", "command"} of a process; the last two None where they are not ours to see."""
    user = command = None
    try:
        user = _process.user_name(os.stat("/proc/%d" % pid).st_uid)
        with open("/proc/%d/cmdline" % pid, "rb") as stream:
            command = stream.read(4096).replace(b"\0", b" ").decode("utf-8", "replace").strip()[:200]
        if not command:
            with open("/proc/%d/comm" % pid) as stream:
                command = "[%s]" % stream.read().strip()
    except (OSError, UnicodeDecodeError):
        pass
    return {"pid": pid, "user": user, "command": command}
