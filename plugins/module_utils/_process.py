# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a process, a boot and a host are, and what time it is for them.

A process is its pid and its start time, a boot its id, pid namespace and the start time of pid 1, a host its machine id and
hostname (homes are shared between hosts). Where there is no /proc, the parts that cannot be known are None.
"""

import os
import time


def stat_of(pid):
    """(state, parent pid, session, start time in clock ticks after boot) of a process, or None where there is none."""
    try:
        fd = os.open("/proc/%d/stat" % pid, os.O_RDONLY | os.O_CLOEXEC)  # a third of open()'s time, which a list takes for each job
        try:
            fields = os.read(fd, 4096).rpartition(b")")[2].split()
        finally:
            os.close(fd)
        return fields[0].decode("ascii"), int(fields[1]), int(fields[3]), int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def start_time(pid):
    """Start time of a living process in clock ticks after boot; None where it is gone. A zombie is dead."""
    found = stat_of(pid)
    return None if found is None or found[0] in "ZX" else found[3]


def identity(pid):
    """{"pid", "start"} of a living process, as records hold it."""
    return {"pid": pid, "start": start_time(pid)}


def alive(who):
    """Whether the process of that identity lives; of one that /proc does not show: whether its pid does."""
    if not who or not who.get("pid"):
        return False
    if who.get("start") is not None:
        found = start_time(who["pid"])
        if found is not None or sees_all():
            return found == who["start"]
    try:
        os.kill(who["pid"], 0)
    except ProcessLookupError:
        return False
    except OSError:  # there is one that is not ours to see: with hidepid, a child of ours that has become another user
        return True
    return who.get("start") is None


def sees_all():
    """Whether /proc is there and shows the processes of other users too (no hidepid)."""
    return os.path.exists("/proc/1/stat")


def environment(pid):
    """The environment of a process as bytes between NULs; empty where it is gone or not ours to read."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as stream:
            return b"\0" + stream.read()
    except OSError:
        return b""


def has_cookie(pid, jid):
    """Whether the process was exec'ed with this job's LONGHAUL_JID in its environment."""
    return b"\0LONGHAUL_JID=" + jid.encode("ascii") + b"\0" in environment(pid)


def _line_of(path):
    try:
        with open(path) as stream:
            return stream.readline().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def boot():
    """Identity of this boot of this container or machine."""
    try:
        pid_namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        pid_namespace = None
    return {
        "boot_id": _line_of("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": pid_namespace,
        "init_start": start_time(1),
    }


def whole_machine():
    """Whether this process sees all processes of the kernel: it is in the first pid namespace (PROC_PID_INIT_INO)."""
    try:
        return os.readlink("/proc/self/ns/pid") == "pid:[4026531836]"
    except OSError:
        return False


def host():
    """Identity of this host."""
    return {"machine_id": _line_of("/etc/machine-id"), "hostname": os.uname().nodename}


def boot_clock():
    """Seconds since the machine's boot, suspend included; steps of the wall clock do not touch it."""
    try:
        return time.clock_gettime(7)  # CLOCK_BOOTTIME; the name is there since Python 3.7
    except OSError:
        return time.monotonic()


def uptime():
    """Seconds for which this machine, or this container, has been up."""
    started = start_time(1)
    return boot_clock() - started / os.sysconf("SC_CLK_TCK") if started is not None else boot_clock()


def user_name(uid):
    """Login name of a uid, or the uid as text."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
