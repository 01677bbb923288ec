# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What core gives in its results beside what ours gives, and the table of what was compared."""

from __future__ import annotations

import re
import typing as t

# Another in each run; and what a look says of its own arguments, until 2.18, instead of the job's (the docs say so).
VOLATILE = {"ansible_job_id", "results_file", "erased", "start", "end", "delta", "attempts", "exception", "diff", "invocation"}
# What differs by intent: {(playbook, task): keys}; the docs say so too (docs/docsite/rst/keyword.rst).
DIFFERS = {
    ("fire_and_forget", "Ask for a job that is not there"): {"msg", "started"},
    ("limits", "A limit"): {"msg", "child_pid", "async_result", "changed"},
    ("limits", "Wait for its end"): {"msg", "child_pid", "changed"},
    ("styles", "A module that leaves no result"): {"msg", "cmd", "data", "changed"},
}
TABLE: dict[str, dict[str, str]] = {}  # playbook -> version of core -> what came of it


class Comparison:
    """Of one playbook's results."""

    def __init__(self, playbook: str) -> None:
        self.playbook = playbook
        self.differences: list[str] = []
        self.count = 0

    def values(self, core: t.Any, ours: t.Any, task: str, where: str) -> None:
        """Whatever core has, ours has."""
        if isinstance(core, dict) and isinstance(ours, dict):
            for key, value in core.items():
                if key in VOLATILE or key.startswith("_ansible") or key in DIFFERS.get((self.playbook, task), ()):
                    continue
                if key not in ours:
                    self.differences.append(f"{where}{key} is missing, core has {value!r}")
                else:
                    self.values(value, ours[key], task, f"{where}{key}.")
        elif isinstance(core, list) and isinstance(ours, list) and len(core) == len(ours):
            for number, (value, other) in enumerate(zip(core, ours, strict=True)):
                self.values(value, other, task, f"{where}{number}.")
        else:
            self.count += 1
            if _plain(core) != _plain(ours):
                self.differences.append(f"{where} core has {core!r}, ours {ours!r}")


def _plain(value: t.Any) -> t.Any:
    """Without what is another one in each run: ids, and the folders of the two engines."""
    return re.sub(r"j[0-9]+[.][0-9]+|-(core|ours)\b", "", value) if isinstance(value, str) else value
