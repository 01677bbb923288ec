#!/usr/bin/python
# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: async_status
short_description: Ask how jobs are, and for their results
version_added: 0.1.0
description:
  - Returns the state of one job, or of many in one exchange, and the own result of a job that has ended.
  - Takes the place of M(ansible.builtin.async_status). With O(jid) it returns the same keys, and besides them RV(job).
  - It knows the jobs of M(longhaul.jobs.async_start) and those that core's C(async) keyword started.
  - A job that is not there is never taken for one that was started, and one whose processes are gone is V(lost) at once.
author:
  - the longhaul.jobs authors (@longhaul)
extends_documentation_fragment:
  - longhaul.jobs.attributes
  - longhaul.jobs.common
attributes:
  check_mode:
    support: full
    details:
      - Nothing is written on the host. An end that is seen is told but not recorded, and nothing is removed.
  idempotent:
    support: full
options:
  jid:
    description:
      - The job's id, RV(ansible_job_id) of its start.
      - Exactly one of O(jid) and O(jobs) is required.
    type: str
  jobs:
    description:
      - Jobs by their ids, by registered results of their starts, those of loops included, or by other results about them. One, or a list.
      - Skipped results are left out, and an empty list means no jobs.
      - The answer is a list, RV(jobs), also for one job.
    type: raw
  mode:
    description:
      - V(status) asks.
      - V(cleanup) removes what is left of jobs that have ended. A job that runs is not removed.
    type: str
    choices:
      - cleanup
      - status
    default: status
  unreachable_timeout:
    description:
      - Inside C(until), for how long the host may give no answer before it is unreachable. Until then each missed look is told at once and
        gives RV(finished=false), so that C(until) tries again.
      - Outside C(until) a host that gives no answer is unreachable at once.
    type: str
    default: 5m
  _async_dir:
    description:
      - How the action plugin of M(ansible.builtin.async_status) reaches the module. Not for playbooks, where it is refused.
    type: str
seealso:
  - module: longhaul.jobs.async_start
  - module: ansible.builtin.async_status
"""

EXAMPLES = r"""
---
- name: Start a job
  longhaul.jobs.async_start:
    cmd: sleep 90
  register: sleeper

- name: Wait for it
  longhaul.jobs.async_status:
    jid: "{{ sleeper.ansible_job_id }}"
  register: job_result
  until: job_result.finished
  retries: 60
  delay: 5

- name: Remove what is left of it
  longhaul.jobs.async_status:
    jid: "{{ sleeper.ansible_job_id }}"
    mode: cleanup

- name: Start several
  longhaul.jobs.async_start:
    cmd: "sleep {{ item }}"
  loop: [10, 20, 30]
  register: sleepers

- name: Wait for all of them, in one exchange each time
  longhaul.jobs.async_status:
    jobs: "{{ sleepers }}"
  register: all_of_them
  until: all_of_them.finished
  retries: 60
  delay: 5
"""

RETURN = r"""
ansible_job_id:
  description: The job's id.
  returned: with O(jid)
  type: str
  sample: j360874038559.4169
started:
  description: Whether there is such a job and it was started.
  returned: with O(jid)
  type: bool
  sample: true
finished:
  description: Whether the job has ended, or is not there; with O(jobs), whether that is so for all of them.
  returned: always
  type: bool
  sample: false
results_file:
  description: The job's file on the host.
  returned: with O(jid), when the host has answered
  type: str
  sample: /root/.ansible_async/j360874038559.4169
stdout:
  description: What a command has written, when it has ended. Empty for other modules.
  returned: with O(jid)
  type: str
  sample: done
stdout_lines:
  description: The same by lines.
  returned: with O(jid)
  type: list
  elements: str
  sample: [done]
stderr:
  description: What a command has written to its standard error, when it has ended. Empty for other modules.
  returned: with O(jid)
  type: str
  sample: ''
stderr_lines:
  description: The same by lines.
  returned: with O(jid)
  type: list
  elements: str
  sample: []
erased:
  description: The job's file, which was removed.
  returned: with O(jid) and O(mode=cleanup), when it was removed
  type: str
  sample: /root/.ansible_async/j360874038559.4169
msg:
  description: What failed.
  returned: when something has
  type: str
  sample: could not find job j360874038559.4169 in /root/.ansible_async
job:
  description:
    - All about the job, as described for M(longhaul.jobs.async_start).
  returned: with O(jid)
  type: dict
  contains:
    state:
      description:
        - One of V(running), V(orphaned), V(succeeded), V(failed), V(timed_out), V(cancelled), V(lost), V(unknown) and V(foreign).
        - None for a job of check mode, and when the host has not answered.
      type: str
      returned: always
      sample: running
    jid:
      description: The job's id.
      type: str
      returned: always
      sample: j360874038559.4169
jobs:
  description: For each job that was asked for, in that order, what O(jid) would return.
  returned: with O(jobs)
  type: list
  elements: dict
  sample:
    - ansible_job_id: j360874038559.4169
      started: true
      finished: false
      job:
        jid: j360874038559.4169
        state: running
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.longhaul.jobs.plugins.module_utils import _boot, _record
from ansible_collections.longhaul.jobs.plugins.module_utils._verbs import status


def main():
    module = AnsibleModule(
        argument_spec={
            "jid": {"type": "str"},
            "jobs": {"type": "raw"},
            "mode": {"type": "str", "choices": ["cleanup", "status"], "default": "status"},
            "unreachable_timeout": {"type": "str", "default": "5m"},
            "async_dir": {"type": "str"},
            "_async_dir": {"type": "str"},  # from core's action plugin, where this module stands in for core's own
            "_longhaul": {"type": "dict", "no_log": True},
        },
        supports_check_mode=True,
    )
    envelope = module.params["_longhaul"]
    if envelope:
        module.exit_json(reply=_boot.encode(_boot.answer(status.run, json.loads(envelope["request"]))))
    if not module.params["jid"]:
        module.fail_json(msg="async_status with jobs works through its action plugin only: use its full name, longhaul.jobs.async_status")
    _boot.write_all(
        1, ("\n%s\n" % _boot.dumps(_one(module))).encode("ascii")
    )  # the job's own result, which its module has made fit to print
    raise SystemExit(0)


def _one(module):
    """The job result of one job, asked for as core's action plugin does."""
    reply = _boot.answer(
        status.run,
        {
            "async_dirs": [module.params["_async_dir"] or "~/.ansible_async", None],
            "jobs": [{"jid": module.params["jid"]}],
            "options": {"mode": module.params["mode"]},
            "hold": 0.0,
            "check": module.check_mode and module.params["mode"] != "cleanup",  # which core's own carries out in check mode too
        },
    )
    if "error" in reply:
        return {"failed": True, "finished": True, "started": False, "ansible_job_id": module.params["jid"], "msg": reply["error"]}
    job = _record.public(reply["jobs"][0])
    return {key: job[key] for key in ("ansible_job_id", "erased", "job")} if "erased" in job else job  # of a removal, what core's says


if __name__ == "__main__":
    main()
