# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Core's command and shell, natively: the same arguments (core 2.21: modules/command.py, basic.run_command)."""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused


def enter(folder):
    """Go where a job is to run that is not told: to ``folder``, None for where this process is, unless that cannot be read or is gone.

    Then it is the home, /tmp or the root, the first of them that can be. Core's modules do so too (core 2.21: basic.py, `_set_cwd`):
    whoever has become another user is in the home of the one that has logged in. Returns the path as bytes, None where nothing has changed.
    """
    for path in (folder or ".", _spool.expand("~"), "/tmp", "/"):
        try:
            if os.access(path, os.R_OK | os.X_OK):
                os.chdir(path)
                found = os.getcwdb()
                return None if path == "." else found
        except OSError:
            pass
    return None


def prepare(payload):
    """What to exec for a command's arguments: {"argv", "shown", "cwd", "stdin", "skip", "strip"}.

    ``skip`` is the result of a command that creates or removes makes needless, else None. Raises Refused for a chdir that
    cannot be entered.
    """
    chdir = _path(payload["chdir"])
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY) if chdir and os.access(".", os.R_OK | os.X_OK) else None
    if chdir:
        try:
            os.chdir(chdir)
        except (OSError, ValueError) as exc:
            raise Refused(
                "Unable to change directory before execution: %s: %s; nothing was started" % (chdir, getattr(exc, "strerror", None) or exc)
            ) from exc
    try:
        shown = payload["cmd"] if payload["shell"] else payload["argv"]
        return {
            "argv": _argv(payload),
            "shown": shown,
            "cwd": os.getcwdb() if chdir else None,
            "stdin": _stdin(payload),
            "skip": _needless(payload, shown),
            "strip": payload["strip_empty_ends"],
        }
    finally:
        if here is not None:
            os.fchdir(here)
            os.close(here)


def _path(value):
    """As core's type "path": variables and ~ expanded."""
    return _spool.native(os.path.expanduser(os.path.expandvars(value))) if value else None


def _argv(payload):
    if payload["shell"]:
        return [payload["executable"] or "/bin/sh", "-c", payload["cmd"]]
    if payload["expand_argument_vars"]:
        return [os.path.expandvars(os.path.expanduser(word)) for word in payload["argv"]]
    return list(payload["argv"])


def _stdin(payload):
    if payload["stdin"] is None:
        return None
    data = payload["stdin"].encode("utf-8", "surrogateescape")
    return data + b"\n" if payload["stdin_add_newline"] else data


def _needless(payload, shown):
    creates, removes = _path(payload["creates"]), _path(payload["removes"])
    why = None
    if creates and _found(creates):
        why = ("'%s' exists", "%s exists", creates)
    elif removes and not _found(removes):
        why = ("'%s' does not exist", "%s does not exist", removes)
    if why is None:
        return None
    return {
        "changed": False,
        "cmd": shown,
        "delta": None,
        "end": None,
        "msg": "Did not run command since " + why[0] % why[2],
        "rc": 0,
        "start": None,
        "stderr": "",
        "stdout": "skipped, since " + why[1] % why[2],
    }


def _found(pattern):
    import glob

    return bool(glob.glob(pattern))
