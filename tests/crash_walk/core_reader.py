# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Core's own async_status module, asked again and again: each question, a line of JSON, gets a process of its own that runs it.

The answer is a line of JSON too: {"rc", "out"}.
"""

from __future__ import annotations

import json
import os
import sys
import typing as t

from ansible.module_utils import basic
from ansible.modules import async_status


def _run(arguments: dict[str, t.Any], out: int) -> t.NoReturn:
    rc = 1
    try:
        os.dup2(out, 1)
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
        basic._ANSIBLE_PROFILE = "legacy"
        async_status.main()
    except SystemExit as exit_:
        rc = int(exit_.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(rc)


def main() -> None:
    """Answer until the questions end."""
    answers = os.fdopen(os.dup(1), "w")
    for question in sys.stdin:
        out = os.memfd_create("out")
        pid = os.fork()
        if pid == 0:
            _run(json.loads(question), out)
        rc = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = os.pread(out, os.fstat(out).st_size, 0).decode()
        os.close(out)
        answers.write(json.dumps({"rc": rc, "out": said}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
