# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Core's `async` keyword: what its actions tell an async_wrapper on the command line, as a request to start; and their answer.

The command lines are those of core 2.16 to 2.20 and from 2.21 on (plugins/action/__init__.py, modules/async_wrapper.py).
"""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _commit, _record, _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused

USAGE = "async_wrapper takes the place of core's for the async keyword and is not for playbooks; nothing was started"
# As AnsiballZ and args files hold a module's arguments (text in one has its quotes escaped), and as those of the oldest style do.
NO_LOG, NO_LOG_OF_OLD = b'"_ansible_no_log": true', b"_ansible_no_log=True "
GRACE, RETAIN = 2.0, 604800.0  # seconds; core kills at once, and its own waiting ends with the limit
FILE_MAX = 64 << 20


def request(words, environment):
    """The request of the verb start for these arguments (sys.argv[1:]) and this environment. Raises Refused."""
    if len(words) < 4 or not words[1].isdigit():
        raise Refused(USAGE)
    first_half, limit, third = words[:3]
    # Core's own has its pid behind the dot. Ours is the same in every repeat of the command, so that the repeat meets the job.
    jid, dirs = first_half + ".1", [environment.get("ANSIBLE_ASYNC_DIR", "~/.ansible_async"), None]
    known = _known(dirs, jid)  # then its module's file may be gone with its end
    if third in ("true", "false"):
        module, argv, keep = words[3], words[4:], third == "true"
    else:
        module, argv, keep = third, ([] if known else _interpreter(third)) + [third], "-preserve_tmp" in words[4:]
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
        "async_dirs": dirs,
        "jobs": [{"jid": jid}],
        "options": {
            "name": None,
            "labels": {},
            "module": name[: -len(".py")] if name.endswith(".py") else name,
            "no_log": any(map(_secret, [module] + arguments)) if not known else False,
            "time_limit": float(limit) or None,  # core gathers facts in parallel with a limit of 0
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


def _known(dirs, jid):
    return _spool.valid_jid(jid) and _spool.find(_spool.for_questions(dirs)[0], jid)


def _secret(path):
    content = _content(path)
    return NO_LOG in content or (os.path.basename(path) == "args" and NO_LOG_OF_OLD in content)


def _content(path, limit=FILE_MAX):
    try:
        with open(path, "rb") as stream:
            return stream.read(limit)
    except OSError as exc:
        raise Refused("the module's file %s cannot be read (%s); nothing was started" % (path, exc.strerror)) from exc


def answer(reply, request):
    """What core's action is told, for the reply of the verb start, and whose the module's folder is from now on.

    As core's says it at a start, also of a job that has ended by now: what came of it is for the first look to say.
    """
    temporary = request["options"]["payload"]["temporary"]
    jid = request["jobs"][0]["jid"]
    if "error" not in reply:
        job = _record.public(reply["jobs"][0])
        if job["started"]:
            job = dict({key: job[key] for key in _record.CORE_KEYS}, finished=False)
        return dict(job, _ansible_suppress_tmpdir_delete=temporary is not None)
    if temporary and not _known(request["async_dirs"], jid):
        _commit.remove_folder(temporary)  # nobody else does: core's action has left it to us
    return {"failed": True, "msg": reply["error"], "ansible_job_id": jid}
