# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Core's `async` keyword: what its actions tell an async_wrapper on the command line, as a request to start; and their answer.

The command lines are those of core 2.16 to 2.20 and from 2.21 on (plugins/action/__init__.py, modules/async_wrapper.py).
"""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _disk, _record, _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused

USAGE = "async_wrapper takes the place of core's for the async keyword and is not for playbooks; nothing was started"
# As AnsiballZ and args files hold a module's arguments (text in one has its quotes escaped), and as those of the oldest style do.
NO_LOG = (b'"_ansible_no_log": true', b"_ansible_no_log=True ")
GRACE, RETAIN = 10.0, 604800.0  # seconds: the defaults of async_start
FILE_MAX = 64 << 20


def request(words, environment):
    """The request of the verb start for these arguments (sys.argv[1:]) and this environment. Raises Refused."""
    if len(words) < 4 or not words[1].isdigit() or not int(words[1]):
        raise Refused(USAGE)
    first_half, limit, third = words[:3]
    if third in ("true", "false"):
        module, argv, keep = words[3], words[4:], third == "true"
    else:
        module, argv, keep = third, _interpreter(third) + [third], "-preserve_tmp" in words[4:]
        argv += [words[3]] if words[3] != "_" else []
    if not os.path.isabs(module) or not argv:
        raise Refused(USAGE)
    folder = os.path.dirname(module)
    arguments = [argv[-1]] if argv[-1] != module and os.path.dirname(argv[-1]) == folder else []
    temporary = folder if os.path.basename(folder).startswith("ansible-tmp-") and not keep else None
    name = os.path.basename(module)
    name = name[len("AnsiballZ_") :] if name.startswith("AnsiballZ_") else name
    return {
        "schema": 1,
        "verb": "start",
        "async_dirs": [environment.get("ANSIBLE_ASYNC_DIR", "~/.ansible_async"), None],
        # Core's own has its pid behind the dot. Ours is the same in every repeat of the command, so that the repeat meets the job.
        "jobs": [{"jid": first_half + ".1"}],
        "options": {
            "name": None,
            "labels": {},
            "module": name[: -len(".py")] if name.endswith(".py") else name,
            "no_log": any(mark in _content(path) for path in [module] + arguments for mark in NO_LOG),
            "time_limit": float(limit),
            "grace": GRACE,
            "retain": RETAIN,
            "environment": {},
            "payload": {"kind": "module", "style": "given", "words": argv, "args": None, "temporary": temporary},
        },
        "attempt": 1,
        "ago": 0.0,
        "hold": 0.0,
        "check": False,
    }


def _interpreter(path):
    """The words of a script's first line; none for a binary."""
    head = _content(path, 1024)
    line = head[2:].split(b"\n", 1)[0] if head.startswith(b"#!") else b""
    return [os.fsdecode(word) for word in line.split()]


def _content(path, limit=FILE_MAX):
    try:
        with open(path, "rb") as stream:
            return stream.read(limit)
    except OSError as exc:
        raise Refused("the module's file %s cannot be read (%s); nothing was started" % (path, exc.strerror)) from exc


def answer(reply, request):
    """What core's action is told, for the reply of the verb start: a job result, and whose the module's folder is from now on."""
    temporary = request["options"]["payload"]["temporary"]
    if "error" not in reply:
        return dict(_record.public(reply["jobs"][0]), _ansible_suppress_tmpdir_delete=temporary is not None)
    jid = request["jobs"][0]["jid"]
    if temporary and not _spool.find(_spool.for_questions(request["async_dirs"])[0], jid):
        try:
            _disk.remove(temporary)  # nobody else does: core's action has left it to us
        except OSError:
            pass
    return {"failed": True, "msg": reply["error"], "ansible_job_id": jid}
