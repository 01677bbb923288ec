# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that several of the collection's modules share: the filters by which they choose jobs."""

from __future__ import annotations


class ModuleDocFragment:
    """The option `filters`; a module may describe in its own words what it does with the jobs that are chosen."""

    DOCUMENTATION = r"""
options:
  filters:
    description:
      - By what jobs are chosen. All that is given must match.
    type: dict
    suboptions:
      states:
        description:
          - One state or a list of them.
          - Each is one of V(running), V(orphaned), V(succeeded), V(failed), V(timed_out), V(cancelled), V(lost) and V(foreign).
        type: list
        elements: str
      names:
        description:
          - A name or a list of names, in which C(*), C(?) and C([]) stand for others as in file names. All jobs of such a name are meant,
            not the newest alone.
        type: list
        elements: str
      labels:
        description:
          - Labels and their values. A job must have all of them.
        type: dict
      modules:
        description:
          - What the jobs run, as a module's name or a list of names, in which C(*), C(?) and C([]) stand for others.
          - The collection may be left out.
        type: list
        elements: str
      older_than:
        description:
          - A duration, as seconds or such as V(90s), V(15m), V(2h30m) or V(7d).
          - The job's end must be longer ago, or its start while it runs. A jump of the host's wall clock does not make a job old.
        type: str
      newer_than:
        description:
          - A duration too. The job's end, or its start while it runs, must be no longer ago.
        type: str
"""
