# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that several of the collection's modules share: options and notes."""

from __future__ import annotations


class ModuleDocFragment:
    """What each module takes that looks for jobs on a host."""

    DOCUMENTATION = r"""
options:
  async_dir:
    description:
      - The directory on the host that the jobs live in, as an absolute path or one that begins with C(~).
      - It has to belong to the user that the task runs as, and must not be writable for others.
      - When this is not given, it is the one that core has for this host (C(ansible_async_dir), by default C(~/.ansible_async)), and
        C(/var/tmp/.longhaul-) followed by the user's number where that cannot be written.
      - C(~) is the user's home as the host's user database has it, whatever C(HOME) says.
    type: str
  _longhaul:
    description:
      - How the module's action plugin reaches it. Not for playbooks, where it is refused.
    type: dict
notes:
  - The variable C(longhaul_look_timeout) sets how many seconds one exchange with the host may take, besides the time that it is meant to
    wait, before it counts as missed. It is 30 when it is not set.
  - The variable C(longhaul_transport) is V(auto) when it is not set. With V(direct) the work is always sent to the host's Python over
    standard input and nothing but the job itself is written there. With V(module) it always goes as a module, whose arguments lie in a
    file on the host for a moment, as those of all modules do. V(auto) takes the first way where the connection and the become method
    allow it.
  - Jobs belong to one host and one user. Ask for them with the same C(become) and C(delegate_to) that they were started with.
  - Windows hosts and network devices are refused.
"""
