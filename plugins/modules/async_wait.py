#!/usr/bin/python
# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: async_wait
short_description: Wait for jobs, under one deadline and over lost connections
version_added: 0.1.0
description:
  - Waits until all jobs that are asked for have ended, or the first of them has, and returns what they came to.
  - The host answers as soon as that is so. Until then it sleeps, and one look after the other is kept open to it. How many looks that
    takes does not depend on the number of jobs.
  - The task is judged by the jobs. It has changed something if one of them has, and it has failed if one of them has, or if the
    O(timeout) passes.
  - How to come back to the jobs is said before the waiting begins. They go on by themselves if the play is stopped.
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
      - It looks once and does not wait. Nothing is written on the host, and a job that still runs is no failure.
  idempotent:
    support: full
options:
  jobs:
    description:
      - Jobs by their ids or names, by registered results of their starts, those of loops included, or by other results about them. One,
        or a list.
      - Skipped results are left out, and an empty list means no jobs.
      - A name means its newest job at the time of the first look. A later job of that name does not take its place.
      - Exactly one of O(jobs) and O(filters) is required.
    type: raw
  filters:
    description:
      - By what jobs are chosen when the waiting begins. All that is given must match, and at least one must be given.
  return_when:
    description:
      - V(all_finished) waits for all jobs.
      - V(first_finished) waits for the first that ends.
      - V(first_failed) waits for the first that fails, or for all.
    type: str
    choices:
      - all_finished
      - first_finished
      - first_failed
    default: all_finished
  timeout:
    description:
      - For how long jobs are waited for. When it has passed and what is waited for is not there, the task fails.
      - Without it, the waiting has no end but the jobs' own.
    type: str
  timeout_from:
    description:
      - V(now) counts O(timeout) from the beginning of this task.
      - V(start) counts it from each job's start, so that hosts whose turn comes later do not get more time. Jobs past their own deadline
        are given up one by one, while the others are waited for.
      - A job that does not tell for how long it has run, such as one of core's C(async) keyword, has its deadline counted from V(now).
      - V(start) is refused without O(timeout).
    type: str
    choices:
      - now
      - start
    default: now
  on_timeout:
    description:
      - What is done with jobs that still run when O(timeout) has passed. The task fails either way.
      - V(leave_running) does nothing with them. V(cancel) is refused without O(timeout).
      - V(cancel) cancels them, as M(longhaul.jobs.async_cancel) does.
    type: str
    choices:
      - leave_running
      - cancel
    default: leave_running
  long_poll:
    description:
      - How long one look may stay open for the host to answer early. The next one follows at once.
      - With V(0) no look is kept open, and O(poll_interval) says when to look.
    type: str
    default: 20s
  poll_interval:
    description:
      - With O(long_poll=0) or O(close_connection=true), the time between the beginnings of two looks.
      - It grows by half with each look, up to O(poll_interval_max).
    type: str
    default: 5s
  poll_interval_max:
    description:
      - The longest time between the beginnings of two looks. It is never less than O(poll_interval).
    type: str
    default: 60s
  look_timeout:
    description:
      - How long one look may take, beyond what it is kept open for, before it counts as missed.
      - When it is not given, it is what the variable C(longhaul_look_timeout) says, or 30 seconds.
    type: str
  unreachable_timeout:
    description:
      - For how long the host may give no answer before it is unreachable. Until then each missed look is told at once and tried again.
      - An unreachable result still names the jobs. With C(ignore_unreachable) it can be used, and so it can on other hosts.
    type: str
    default: 5m
  follow:
    description:
      - Whether what the jobs write to their standard output and standard error is shown while they are waited for, line by line.
      - Of what they have written before, up to the last 64 KiB of each stream are shown.
      - The output of jobs that were started with C(no_log) is not shown, and none is if this task has C(no_log).
    type: bool
    default: false
  close_connection:
    description:
      - Really close the connection after each look, the last one included, so that none is open while nothing is asked. The master
        connection of ControlPersist is closed too.
      - No look is kept open then. O(poll_interval) says when to look.
      - Mutually exclusive with O(long_poll) above V(0).
    type: bool
    default: false
seealso:
  - module: longhaul.jobs.async_start
  - module: longhaul.jobs.async_status
  - module: longhaul.jobs.async_info
"""

EXAMPLES = r"""
---
- name: One upgrade a host, however often this play runs
  longhaul.jobs.async_start:
    name: dist-upgrade
    task: {ansible.builtin.apt: {upgrade: dist}}
    time_limit: 2h
  become: true
  register: upgrade

- name: Under one deadline, over lost connections, noticed at once
  longhaul.jobs.async_wait:
    jobs: "{{ upgrade }}"
    timeout: 2h
    on_timeout: cancel
  become: true

- name: Start several
  longhaul.jobs.async_start:
    cmd: "make -C /src/{{ item }}"
  loop: [client, server, docs]
  register: builds

- name: Stop waiting as soon as one of them fails, and show what they write
  longhaul.jobs.async_wait:
    jobs: "{{ builds }}"
    return_when: first_failed
    follow: true

- name: Wait for whatever runs here, without a connection between looks
  longhaul.jobs.async_wait:
    filters:
      states: [running, orphaned]
    close_connection: true
    poll_interval: 1m
    poll_interval_max: 10m
"""

RETURN = r"""
jobs:
  description: For each job that was asked for, in that order, what M(longhaul.jobs.async_status) would return.
  returned: always
  type: list
  elements: dict
  sample:
    - ansible_job_id: j360874038559.4169
      started: true
      finished: true
      rc: 0
      stdout: done
      job:
        jid: j360874038559.4169
        state: succeeded
finished:
  description: Whether all these jobs have ended, or are not there.
  returned: always
  type: bool
  sample: true
looks:
  description: How often the host was asked.
  returned: always
  type: int
  sample: 3
missed_looks:
  description: How many of these questions were not answered.
  returned: always
  type: int
  sample: 0
msg:
  description: Which jobs failed, which still ran when the O(timeout) passed and what was done with them, or why the host is unreachable.
  returned: when something has failed
  type: str
  sample: '1 of 2 jobs had not ended 7200 s after the waiting began: dist-upgrade (j360874038559.4169); left running'
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.longhaul.jobs.plugins.module_utils._module_way import FILTERS, serve
from ansible_collections.longhaul.jobs.plugins.module_utils._verbs import wait


def main():
    module = AnsibleModule(
        argument_spec={
            "jobs": {"type": "raw"},
            "filters": FILTERS,
            "return_when": {"type": "str", "choices": ["all_finished", "first_finished", "first_failed"], "default": "all_finished"},
            "timeout": {"type": "str"},
            "timeout_from": {"type": "str", "choices": ["now", "start"], "default": "now"},
            "on_timeout": {"type": "str", "choices": ["leave_running", "cancel"], "default": "leave_running"},
            "poll_interval": {"type": "str", "default": "5s"},
            "poll_interval_max": {"type": "str", "default": "60s"},
            "long_poll": {"type": "str", "default": "20s"},
            "look_timeout": {"type": "str"},
            "unreachable_timeout": {"type": "str", "default": "5m"},
            "follow": {"type": "bool", "default": False},
            "close_connection": {"type": "bool", "default": False},
            "async_dir": {"type": "str"},
            "_longhaul": {"type": "dict", "no_log": True},
        },
        supports_check_mode=True,
    )
    serve(module, wait)


if __name__ == "__main__":
    main()
