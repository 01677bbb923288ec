#!/usr/bin/python
# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: async_cancel
short_description: End jobs for sure
version_added: 0.1.0
description:
  - Asks jobs to end, waits for a grace, and then kills what is left of them, all jobs at once and in one exchange.
  - What belongs to a job is ended with it, also what has left its session, group or environment, and also when the job's supervisor is
    dead or stopped. What could not be ended is told in RV(jobs[].job.survivors).
  - It knows the jobs of M(longhaul.jobs.async_start) and those that core's C(async) keyword started. The latter carry no mark, so that
    RV(jobs[].job.verified) is V(false) for them. Their job file says afterwards that they were cancelled, to
    M(ansible.builtin.async_status) too.
  - A job that has ended is left as it is, and C(changed) is V(false). What still lives of a V(lost) one is ended.
  - A start that was never answered is called off, so that it is not carried out if it arrives late.
author:
  - the longhaul.jobs authors (@longhaul)
extends_documentation_fragment:
  - longhaul.jobs.attributes
  - longhaul.jobs.common
  - longhaul.jobs.filters
attributes:
  check_mode:
    support: full
  idempotent:
    support: full
options:
  jobs:
    description:
      - Jobs by their ids or names, by registered results of their starts, those of loops included, or by other results about them. One,
        or a list.
      - A name means its newest job. A name that no job has is no mistake, an id that no job has is one.
      - Skipped results are left out. An empty list is refused.
      - Exactly one of O(jobs) and O(filters) is required.
    type: raw
  filters:
    description:
      - By what jobs are chosen. All that is given must match, and at least one must be given.
      - Only jobs that run are touched and told of, and V(lost) ones if O(filters.states) names that state.
  signal:
    description:
      - The signal that asks the jobs to end, by its name or number. It is sent to all processes of a job.
      - With V(KILL) nothing is asked.
    type: str
    default: TERM
  grace:
    description:
      - How long the jobs have to end by themselves before they are killed.
      - Seconds, or a duration such as V(90s), V(15m) or V(2h30m).
    type: str
    default: 10s
  reason:
    description:
      - Why, for whoever asks later. It is told in RV(jobs[].job.reason) and in the job's own message.
      - Of a longer text the first 500 characters are kept.
    type: str
seealso:
  - module: longhaul.jobs.async_start
  - module: longhaul.jobs.async_info
"""

EXAMPLES = r"""
---
- name: Stop a job by its name
  longhaul.jobs.async_cancel:
    jobs: dist-upgrade
    reason: maintenance window closed
  become: true

- name: Stop all jobs of a loop, those of them that run
  longhaul.jobs.async_cancel:
    jobs: "{{ sleepers }}"
    grace: 1m

- name: Stop every build that has run for more than two hours
  longhaul.jobs.async_cancel:
    filters:
      names: build-*
      states: [running, orphaned]
      older_than: 2h

- name: A start that leaves nothing behind when it fails
  block:
    - name: Start it
      longhaul.jobs.async_start:
        cmd: /usr/local/bin/migrate
        poll: 10
      register: migration
  rescue:
    - name: Stop it
      longhaul.jobs.async_cancel:
        jobs: "{{ migration }}"
"""

RETURN = r"""
jobs:
  description:
    - For each job that was asked for, in that order, or for each that was chosen by O(filters), its job result without the result of its
      module.
    - RV(jobs[].changed) says whether this call has ended the job. RV(jobs[].failed) is the job's own, so it is V(true) for a cancelled one.
  returned: always
  type: list
  elements: dict
  contains:
    changed:
      description: Whether this call has ended the job.
      type: bool
      returned: always
      sample: true
    failed:
      description: Whether the job counts as failed, as a cancelled one does.
      type: bool
      returned: always
      sample: true
    msg:
      description: What has become of the job, or why it could not be cancelled.
      type: str
      returned: when there is something to say
      sample: 'the job dist-upgrade was cancelled: maintenance window closed'
    job:
      description: All about the job, as described for M(longhaul.jobs.async_start).
      type: dict
      returned: always
      contains:
        state:
          description: Its state, V(cancelled) unless it has ended in another way before.
          type: str
          returned: always
          sample: cancelled
        reason:
          description: O(reason) of who was the first to cancel it.
          type: str
          returned: when the host has answered
          sample: maintenance window closed
        survivors:
          description: Processes of the job that could not be ended.
          type: list
          elements: dict
          returned: when the host has answered
          sample: []
        verified:
          description: Whether it is proven that nothing else of it lives.
          type: bool
          returned: when the host has answered
          sample: true
  sample:
    - ansible_job_id: j360874038559.4169
      changed: true
      failed: true
      finished: true
      msg: 'the job dist-upgrade was cancelled: maintenance window closed'
      started: true
      job:
        jid: j360874038559.4169
        name: dist-upgrade
        reason: maintenance window closed
        state: cancelled
        survivors: []
finished:
  description: Whether all of RV(jobs) have ended.
  returned: always
  type: bool
  sample: true
msg:
  description: Which jobs could not be cancelled and why, or that there was nothing to cancel.
  returned: when there is something to say
  type: str
  sample: 'nothing to cancel: could not find a job named dist-upgrade in /root/.ansible_async'
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.longhaul.jobs.plugins.module_utils._module_way import FILTERS, serve
from ansible_collections.longhaul.jobs.plugins.module_utils._verbs import cancel


def main():
    module = AnsibleModule(
        argument_spec={
            "jobs": {"type": "raw"},
            "filters": FILTERS,
            "signal": {"type": "str", "default": "TERM"},
            "grace": {"type": "str", "default": "10s"},
            "reason": {"type": "str"},
            "async_dir": {"type": "str"},
            "_longhaul": {"type": "dict", "no_log": True},
        },
        mutually_exclusive=[("jobs", "filters")],
        supports_check_mode=True,
    )
    serve(module, cancel)


if __name__ == "__main__":
    main()
