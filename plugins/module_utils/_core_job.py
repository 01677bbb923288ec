# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that core's own async_wrapper has started, whose files name no process: what can be seen of them."""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _disk, _process


def seen(spool, jid):
    """(whether the job's wrapper runs here, whether it would have to be seen if it ran anywhere)."""
    found = wrappers(jid)
    if found is None:
        return False, False
    # Gone for certain only where all processes of this machine can be seen and the directory is on a disk of its own: in a
    # shared home the wrapper may live on another host, which core's file does not name.
    return bool(found), bool(found) or (os.path.exists("/proc/1/stat") and _process.whole_machine() and _disk.local(spool))


def wrappers(jid):
    """{pid: start time} of the processes of core's wrapper that live; None where no process can be seen.

    Core calls its wrapper with the first half of the id and appends the wrapper's pid (core 2.21: modules/async_wrapper.py).
    """
    first_half = jid.split(".")[0].encode("ascii")
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return None
    found = {}
    for pid in pids:
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:
            continue
        if first_half in words and any(b"async_wrapper" in word for word in words):
            found[pid] = _process.start_time(pid)
    return {pid: start for pid, start in found.items() if start is not None}
