# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb start: one job, idempotent by its jid, and by its name if it has one; with ``hold`` the answer waits for the end that long."""

import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import (
    _answer,
    _command,
    _disk,
    _ended,
    _facts,
    _launch,
    _process,
    _prune,
    _spool,
)
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused
from ansible_collections.longhaul.jobs.plugins.module_utils._hold import until_ended


def _async_dir(request):
    try:
        return _disk.for_start(request["async_dirs"])
    except Refused as exc:
        raise Refused("%s; nothing was started" % exc) from None


def run(request, supervisor=None, payload=b"", cwd=None):
    """The reply to a start.

    ``supervisor`` is the process that was forked for it beforehand; without it a fresh interpreter becomes one.
    ``cwd`` is where the job is to run, for a caller that has left it.
    Raises Refused; OSError where the disk fails before the request is taken. Nothing is started then.
    """
    jid = request["jobs"][0]["jid"]
    if not _spool.valid_jid(jid):
        raise Refused("%r is not a job id; nothing was started" % jid)
    if request["ago"] > _prune.TOMBSTONE_SECONDS:
        raise Refused("the start of job %s was first tried more than a day ago; nothing was started" % jid)
    began = time.monotonic()
    here = _facts.Here()
    # An earlier attempt may have found another of the async dirs the first that can be written.
    spool = _spool.find(_spool.for_questions(request["async_dirs"])[0], jid) or _async_dir(request)
    if request["attempt"] > 1 and not os.path.isdir("%s/%s.d" % (spool, jid)):
        if _disk.volatile(spool) and _process.uptime() < request["ago"]:
            sentence = "the host was restarted after job %s was first sent, and its directory does not survive that" % jid
            job = _ended.unknown(jid, spool, sentence)
            job["job"].update(state="lost", cause="host_rebooted")
            return {"schema": 1, "jobs": [job], "warnings": []}
    if cwd or request["options"]["payload"]["kind"] == "command":  # a module leaves a bad one by itself
        cwd = _command.enter(cwd)
    if supervisor is None:
        from ansible_collections.longhaul.jobs.plugins.module_utils._detach import Supervisor

        supervisor = Supervisor(fresh=True)
    try:
        launch = _launch.Launch(request, spool, here, supervisor, payload, cwd)
        found = launch.start()
        if request["hold"] > 0:
            until_ended(spool, found, here, request["hold"] - (time.monotonic() - began))
    finally:
        supervisor.let_go()
    document = _answer.settle(spool, found, here)[0]
    if found != jid:
        document = launch.holder.attached(document)
    elif document["job"]["state"] == "unknown":
        document["msg"] = "the job %s was removed before this repeat of its start came; it was not started again" % jid
    _prune.sweep(spool, time.time())
    return {"schema": 1, "jobs": [document], "warnings": launch.holder.warnings if launch.holder else []}
