#!/usr/bin/python
# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: async_prune
short_description: Remove what is left of ended jobs
version_added: 0.1.0
description:
  - Removes files of jobs that have ended, chosen by filters, by how many are to be kept, or by how much room they may take.
  - A job that is V(running), V(orphaned) or V(foreign) is never removed.
  - A job that has ended in the last ten minutes stays, for somebody may be about to ask for it. It is removed only where O(filters.names)
    is given. A shorter O(filters.older_than) does not change that.
  - A job whose supervisor was killed, and which nobody has asked for since, has ended when its files were last changed.
  - A start also removes jobs of its user that are past their own C(retain), a few at each start.
author:
  - the longhaul.jobs authors (@longhaul)
extends_documentation_fragment:
  - longhaul.jobs.attributes
  - longhaul.jobs.common
  - longhaul.jobs.filters
attributes:
  check_mode:
    support: full
    details:
      - Nothing is removed, and the result tells what would be.
  idempotent:
    support: full
options:
  filters:
    description:
      - By what jobs are chosen. All that is given must match. Those of them that have ended may be removed.
      - At least one of O(filters), O(keep_last) and O(max_bytes) is required.
  keep_last:
    description:
      - How many of the chosen ended jobs stay, the newest by their ends.
      - With O(max_bytes) these stay whatever they take.
    type: str
  max_bytes:
    description:
      - How much room the chosen ended jobs may take together, in bytes or as V(500K), V(10M) or V(2G). The oldest of them are removed
        until the others take no more.
    type: str
  include_core:
    description:
      - Whether to remove files of ended jobs that core's C(async) keyword started, too.
    type: bool
    default: false
seealso:
  - module: longhaul.jobs.async_info
  - module: longhaul.jobs.async_status
"""

EXAMPLES = r"""
---
- name: Remove what ended more than two days ago
  longhaul.jobs.async_prune:
    filters:
      older_than: 2d

- name: Keep the ten newest nightly jobs
  longhaul.jobs.async_prune:
    filters:
      names: nightly-*
    keep_last: 10

- name: Keep what ended jobs leave below 100 MiB, core's own included
  longhaul.jobs.async_prune:
    max_bytes: 100M
    include_core: true
  become: true
"""

RETURN = r"""
pruned:
  description:
    - The jobs that were removed, the oldest first. In check mode, those that would be.
  returned: always
  type: list
  elements: dict
  contains:
    jid:
      description: The job's id.
      type: str
      returned: always
      sample: j360874038559.4169
    name:
      description: The job's name, if it had one.
      type: str
      returned: always
      sample: nightly-dump
    labels:
      description: The job's labels.
      type: dict
      returned: always
      sample: {}
    host:
      description: The host's name in the inventory.
      type: str
      returned: always
      sample: db1
    user:
      description: The user whose job it was.
      type: str
      returned: always
      sample: root
    async_dir:
      description: The directory that it was in.
      type: str
      returned: always
      sample: /root/.ansible_async
    results_file:
      description: The job's file.
      type: str
      returned: always
      sample: /root/.ansible_async/j360874038559.4169
    module:
      description: What it has run.
      type: str
      returned: always
      sample: ansible.builtin.shell
    state:
      description: How it had ended.
      type: str
      returned: always
      sample: succeeded
    started_at:
      description: When it was started.
      type: str
      returned: always
      sample: '2026-11-24T11:20:00.000Z'
    ended_at:
      description: When it ended, if that is known.
      type: str
      returned: always
      sample: '2026-11-24T11:20:05.120Z'
space_reclaimed:
  description: The size of the files that were removed, in bytes. A small mark of each job stays for a day.
  returned: always
  type: int
  sample: 5894
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.longhaul.jobs.plugins.module_utils._module_way import FILTERS, serve
from ansible_collections.longhaul.jobs.plugins.module_utils._verbs import prune


def main():
    module = AnsibleModule(
        argument_spec={
            "filters": FILTERS,
            "keep_last": {"type": "str"},
            "max_bytes": {"type": "str"},
            "include_core": {"type": "bool", "default": False},
            "async_dir": {"type": "str"},
            "_longhaul": {"type": "dict", "no_log": True},
        },
        required_one_of=[("filters", "keep_last", "max_bytes", "_longhaul")],
        supports_check_mode=True,
    )
    serve(module, prune)


if __name__ == "__main__":
    main()
