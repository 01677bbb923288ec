#!/usr/bin/python
# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: async_log
short_description: Read what jobs write, while they run and afterwards
version_added: 0.1.0
description:
  - Returns what the commands of jobs have written to their standard output or error so far, from an offset on, only the last lines, or only
    lines that match. Or it writes that into files on the controller.
  - Neither the host nor the controller reads or holds more of a stream than what is asked for, however large it is. Only with O(grep) the
    host reads through it.
  - RV(logs[].end) says that the job has ended and that all it wrote was read. It is found out before the stream is read, so that whoever
    goes on from RV(logs[].next_offset) until then has all of it.
  - The standard output of a module is its result, which no log shows. The jobs of core's C(async) keyword keep no output at all.
  - The output of a job that was started with C(no_log) is not shown, and asking for it fails.
  - It writes nothing on the host and never ends anything.
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
      - What would be written to O(dest) is read and compared, but not written.
  idempotent:
    support: full
options:
  jobs:
    description:
      - Jobs by their ids or names, by registered results of their starts, those of loops included, or by other results about them. One,
        or a list.
      - A name means its newest job.
      - Skipped results are left out, and an empty list means no jobs.
      - Exactly one of O(jobs) and O(filters) is required.
    type: raw
  filters:
    description:
      - By what jobs are chosen. All that is given must match, and at least one must be given.
  stream:
    description:
      - Which of the two streams.
    type: str
    choices:
      - stdout
      - stderr
    default: stdout
  offset:
    description:
      - From which byte of the stream on.
      - Behind the end nothing is read, and RV(logs[].next_offset) is this offset.
    type: int
    default: 0
  lines:
    description:
      - Only the last so many lines from O(offset) on. With O(grep), the last so many that match.
    type: int
  grep:
    description:
      - Only lines in which this regular expression of Python's finds something.
      - A line that is still being written is matched once it is whole. One of more than a megabyte is taken for several.
    type: str
  max_bytes:
    description:
      - How many bytes of each job's stream are taken at most, V(4) at least. What is behind them can be read from
        RV(logs[].next_offset) on.
      - With O(lines) these are the last ones.
      - Bytes, or a size such as V(500K), V(10M) or V(2G).
    type: str
    default: 1M
  dest:
    description:
      - A file on the controller that the bytes are written to as they are. Give O(max_bytes) for more than a megabyte.
      - For several jobs, with O(filters), and if it is a folder or ends in a slash, each job has a file of its own in it, with the host's
        name for a folder and with the job's id and the stream's name for a name.
      - A relative path begins at the playbook's folder.
      - The jobs of several hosts need files of their own. Let it end in a slash, or have the host's name in it.
      - The file is replaced at once, and only if its content is another. A new one has mode V(0600), and one that is there keeps its mode.
    type: str
seealso:
  - module: longhaul.jobs.async_status
  - module: longhaul.jobs.async_wait
"""

EXAMPLES = r"""
---
- name: Start a build
  longhaul.jobs.async_start:
    cmd: make -C /srv/build
    name: build
  register: build

- name: Its last lines
  longhaul.jobs.async_log:
    jobs: "{{ build }}"
    lines: 20
  register: tail

- name: Show them
  ansible.builtin.debug:
    var: tail.logs[0].text

- name: What it has complained about
  longhaul.jobs.async_log:
    jobs: build
    stream: stderr
    grep: '(?i)error|warning'

- name: What is new since then
  longhaul.jobs.async_log:
    jobs: build
    offset: "{{ tail.logs[0].next_offset }}"

- name: The whole output of all builds, in files beside the playbook
  longhaul.jobs.async_log:
    filters:
      names: build*
    dest: logs/
    max_bytes: 1G
"""

RETURN = r"""
logs:
  description: For each job that was asked for, in that order, or for each that was chosen by O(filters), what was read.
  returned: always
  type: list
  elements: dict
  contains:
    job:
      description: All about the job, as described for M(longhaul.jobs.async_start).
      type: dict
      returned: always
    text:
      description: What was read. Bytes that are not UTF-8 are shown as U+FFFD, and characters are not taken apart.
      type: str
      returned: without O(dest)
      sample: "make: Nothing to be done for 'all'.\n"
    dest:
      description: The file that it was written to. None if there is no log.
      type: str
      returned: with O(dest)
      sample: /home/ops/logs/web1/j360874038559.4169.stdout
    offset:
      description: The byte of the stream at which that begins. None if there is no log.
      type: int
      returned: always
      sample: 0
    next_offset:
      description: The byte to go on from. None if there is no log.
      type: int
      returned: always
      sample: 36
    end:
      description: Whether the job has ended and nothing is left behind RV(logs[].next_offset), or there is no log.
      type: bool
      returned: always
      sample: true
    msg:
      description: Why there is no log, or why it is always empty.
      type: str
      returned: when there is something to say
      sample: 'what a module prints is its result, which no log shows: ask async_status'
  sample:
    - job:
        jid: j360874038559.4169
        name: build
        state: succeeded
      text: "make: Nothing to be done for 'all'.\n"
      offset: 0
      next_offset: 36
      end: true
jobs:
  description: The job results of the same jobs, without the results of their modules.
  returned: always
  type: list
  elements: dict
  sample:
    - ansible_job_id: j360874038559.4169
      started: true
      finished: true
      job:
        jid: j360874038559.4169
        state: succeeded
finished:
  description: Whether all of RV(jobs) have ended.
  returned: always
  type: bool
  sample: true
msg:
  description: Of which jobs there is no log, and why.
  returned: when there are such jobs
  type: str
  sample: 'of 1 of 1 jobs there is no log: could not find a job named build in /root/.ansible_async'
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.longhaul.jobs.plugins.module_utils._module_way import FILTERS, serve
from ansible_collections.longhaul.jobs.plugins.module_utils._verbs import log


def main():
    module = AnsibleModule(
        argument_spec={
            "jobs": {"type": "raw"},
            "filters": FILTERS,
            "stream": {"type": "str", "choices": ["stdout", "stderr"], "default": "stdout"},
            "offset": {"type": "int", "default": 0},
            "lines": {"type": "int"},
            "grep": {"type": "str"},
            "max_bytes": {"type": "str", "default": "1M"},
            "dest": {"type": "str"},
            "async_dir": {"type": "str"},
            "_longhaul": {"type": "dict", "no_log": True},
        },
        mutually_exclusive=[("jobs", "filters")],
        supports_check_mode=True,
    )
    serve(module, log)


if __name__ == "__main__":
    main()
