# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that several of the collection's modules share: what they can and cannot do."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes, each with its own wording; a module says to what extent it supports them."""

    DOCUMENTATION = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/longhaul.jobs.jobs) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - longhaul.jobs.jobs
  async:
    description: Can be used with the C(async) keyword of a task.
    support: none
    details:
      - The keyword is refused, because the module does itself what the keyword would do.
  check_mode:
    description: Can run in C(check_mode) and returns a prediction of the result, without changing anything.
  diff_mode:
    description: Will return details on what has changed, or will change, when in diff mode.
    support: none
  idempotent:
    description: When run twice in a row outside check mode with the same arguments, the second run changes nothing.
  platform:
    description: Target systems on which the module can work.
    support: full
    platforms: posix
"""
