#!/usr/bin/python
# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: async_info
short_description: List a host's jobs, all or some
version_added: 0.1.0
description:
  - Tells of every job of this user on the host, or of some, in one exchange.
  - It tells who each job is and how it is, but not what its module has returned. That is told by M(longhaul.jobs.async_status).
  - It never fails because a job has failed or is not there, never writes on the host and never ends anything.
  - Jobs that core's C(async) keyword started are listed too, and so are V(foreign) ones, which belong to another host that shares the
    directory.
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
      - It changes nothing anyway.
  idempotent:
    support: full
options:
  jobs:
    description:
      - Jobs by their ids or names, by registered results of their starts, those of loops included, or by other results about them. One,
        or a list.
      - A name means its newest job. O(filters.names) finds all of a name.
      - Without O(jobs) and O(filters) all jobs are told of. An empty list means no jobs.
      - Mutually exclusive with O(filters).
    type: raw
seealso:
  - module: longhaul.jobs.async_status
  - module: longhaul.jobs.async_prune
"""

EXAMPLES = r"""
---
- name: What is running here
  longhaul.jobs.async_info:
    filters:
      states: [running, orphaned]
  become: true
  register: now_running

- name: All jobs that there are
  longhaul.jobs.async_info:
  register: everything

- name: What the nightly jobs of this week have come to
  longhaul.jobs.async_info:
    filters:
      names: nightly-*
      newer_than: 7d
  register: nightly

- name: Stop the play where one of them has failed
  ansible.builtin.assert:
    that: nightly.jobs | selectattr('failed') | length == 0

- name: Is there a job of that name
  longhaul.jobs.async_info:
    jobs: dist-upgrade
  register: upgrade
  failed_when: upgrade.missing | length > 0
"""

RETURN = r"""
jobs:
  description:
    - Who and how each job is, ordered by their starts, or with O(jobs) in the order asked.
    - What was asked for and is not there is in RV(missing) instead.
  returned: always
  type: list
  elements: dict
  contains:
    ansible_job_id:
      description: The job's id.
      type: str
      returned: always
      sample: j360874038559.4169
    started:
      description: Whether the job was started.
      type: bool
      returned: always
      sample: true
    finished:
      description: Whether it has ended.
      type: bool
      returned: always
      sample: false
    failed:
      description: Whether its state is a failure.
      type: bool
      returned: always
      sample: false
    results_file:
      description: The job's file on the host.
      type: str
      returned: always
      sample: /root/.ansible_async/j360874038559.4169
    job:
      description: All about the job, as described for M(longhaul.jobs.async_start).
      type: dict
      returned: always
      sample:
        jid: j360874038559.4169
        state: running
missing:
  description: The ids and names that were asked for and are not there.
  returned: always
  type: list
  elements: str
  sample: [dist-upgrade]
finished:
  description: Whether all of RV(jobs) have ended.
  returned: always
  type: bool
  sample: false
bytes:
  description: The size of all files of RV(jobs) on the host.
  returned: always
  type: int
  sample: 71202
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.longhaul.jobs.plugins.module_utils._module_way import FILTERS, serve
from ansible_collections.longhaul.jobs.plugins.module_utils._verbs import info


def main():
    module = AnsibleModule(
        argument_spec={
            "jobs": {"type": "raw"},
            "filters": FILTERS,
            "async_dir": {"type": "str"},
            "_longhaul": {"type": "dict", "no_log": True},
        },
        mutually_exclusive=[("jobs", "filters")],
        supports_check_mode=True,
    )
    serve(module, info)


if __name__ == "__main__":
    main()
