#!/usr/bin/python
# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: async_start
short_description: Start a task detached, so that it outlives the connection
version_added: 0.1.0
description:
  - Starts a module, or a command, as a job on the host and returns at once. The job goes on when the connection is lost, when the play
    ends, and
    when the controller is switched off.
  - Its state, its output and its result are asked for with M(longhaul.jobs.async_status), from the same play, another play or another
    controller.
  - It does what core's C(async) keyword does with C(poll=0), and M(ansible.builtin.async_status) can read its jobs.
  - The start has succeeded only when the task really runs. Its job id is chosen before the host is contacted and a start whose answer is
    lost is
    asked for again with the same id, so that a bad link never makes two jobs of one.
author:
  - the longhaul.jobs authors (@longhaul)
extends_documentation_fragment:
  - longhaul.jobs.attributes
  - longhaul.jobs.common
attributes:
  check_mode:
    support: full
    details:
      - Nothing is started, and the result has a job id that the other modules of this collection know to be one of check mode.
  idempotent:
    support: partial
    details:
      - With O(name), a job that runs is met again instead of started twice, and with O(if_finished=reuse) one that has succeeded is, too.
      - Without a name every run of the task is a job of its own.
options:
  task:
    description:
      - "What to run: one module's name, with its arguments below it as a dict. They may be left out where the module needs none."
      - For M(ansible.builtin.command) and M(ansible.builtin.shell) a string is taken too; nothing is read out of it as an argument.
      - Modules with an action plugin run on the controller in part and are refused, such as M(ansible.builtin.copy) or
        M(ansible.builtin.template).
        M(ansible.builtin.command), M(ansible.builtin.shell), M(ansible.builtin.service), M(ansible.builtin.package),
        M(ansible.builtin.dnf) and
        M(ansible.builtin.uri) are fine, the last one without files of the controller.
      - C(module_defaults) of the module that is named here apply to it.
      - Exactly one of O(task) and O(cmd) is required.
    type: dict
  cmd:
    description:
      - A line for the shell, short for O(task) with M(ansible.builtin.shell).
    type: str
  time_limit:
    description:
      - How long the job may run, in seconds or as C(90s), C(15m), C(2h30m), C(1d).
      - Then it is ended, with everything that it has started, and RV(job.state) is V(timed_out).
      - There is no limit when this is not given. Time that the host is suspended counts.
    type: str
  grace:
    description:
      - How long the job has between being asked to end (SIGTERM) and being killed (SIGKILL), when its limit is reached or it is cancelled.
    type: str
    default: 10s
  poll:
    description:
      - V(0) starts the job and goes on.
      - Any other duration waits here until the job has ended, looks at it at least that often, and returns the job's own result, by which
        C(changed_when), C(failed_when), C(register) and handlers go.
      - The exchange that starts it stays open for up to this long, but 20 seconds at most, so that a short job takes one exchange.
    type: str
    default: '0'
  unreachable_timeout:
    description:
      - With O(poll), for how long the host may give no answer before it is unreachable. Each missed look is told at once.
      - With V(0) the first missed look is enough.
    type: str
    default: 5m
  name:
    description:
      - "A name to tell the job by: 1 to 64 letters, digits, dots, underscores and hyphens, the first one a letter or digit, and not like
        a job id."
      - It is kept with the job, is in each of its results, and stands for its newest job wherever this collection takes jobs.
      - While a job of that name runs there is no second one of this user on this host, however many plays and controllers start it, and
        however much at the same time.
      - What happens then, and after its end, O(if_running) and O(if_finished) say.
    type: str
  labels:
    description:
      - Strings that are kept with the job, by keys that look like names. Numbers become strings.
    type: dict
    default: {}
  if_running:
    description:
      - What a start does whose O(name) is that of a job that runs. Given without O(name), it is refused.
      - V(attach) starts nothing and answers with the job that runs. RV(job.attached) is true, and nothing is changed. With O(poll) that
        job is waited for, and the task's result is its own.
      - Attaching is to the same work only, that is the same module with the same arguments, in the same directory. Other work is refused.
        Another O(time_limit) or O(grace) is the same work, and a warning says that those of the job stay.
      - V(fail) refuses the start.
      - V(replace) ends the job that runs, whatever its work, with the O(grace) of this task, and then starts. When something of it
        cannot be ended, the start is refused.
    type: str
    choices:
      - attach
      - fail
      - replace
    default: attach
  if_finished:
    description:
      - What a start does when the newest job of its O(name) has ended. Given without O(name), it is refused.
      - V(restart) starts.
      - V(reuse) starts nothing when that job has succeeded, was the same work, and ended no longer ago than O(reuse_for). The answer is
        then that job, with its result where O(poll) asks for one. RV(job.attached) is true, and nothing is changed.
      - A job that has failed, was cancelled, timed out or was lost is started anew in any case, for that is what a play is run again for.
    type: str
    choices:
      - restart
      - reuse
    default: restart
  reuse_for:
    description:
      - With O(if_finished=reuse), how long after its end a job is still reused, such as V(12h).
      - Without it there is no limit but the one of O(retain), by which what is left of a job is removed.
      - Given without O(if_finished=reuse), it is refused.
    type: str
  retain:
    description:
      - How long what is left of the job is kept after its end. It is kept with the job.
      - Starts remove jobs that are past it, a few at each start.
    type: str
    default: 7d
  close_connection:
    description:
      - Whether to really close the connection when the job is started, and with O(poll) also between looks. Otherwise SSH's
        ControlPersist keeps
        it open for a while.
    type: bool
    default: false
notes:
  - "C(environment) of the task goes to what the job runs and to nothing else. What runs also has C(LONGHAUL_JID), and
    C(LONGHAUL_PROGRESS): a file in which it may say how far it is."
  - The last line of that file counts, such as C(42 unpacking libc6), C(42%) or a JSON object with C(percent), C(message) and
    C(eta_seconds). It is told in RV(job.progress) of each later answer, with an estimate of the time left.
  - C(no_log) of the task stays with the job. Each later answer about it is censored as well.
  - What a command prints is kept on the host from its first byte on. The result holds the first 256 KiB and the last 768 KiB of each
    stream.
  - An unreachable host gives a result with the job's id in it, so that the job can be looked for, or cancelled, when the host is back.
seealso:
  - module: longhaul.jobs.async_status
  - module: ansible.builtin.async_status
  - ref: playbooks_async
    description: What core does by itself.
"""

EXAMPLES = r"""
---
- name: Start a command that may take 32 minutes
  longhaul.jobs.async_start:
    task:
      ansible.builtin.shell:
        cmd: ls -lR / > /var/tmp/everything
    time_limit: 1920
  register: command_sleeper

- name: Wait for the command to complete
  longhaul.jobs.async_status:
    jid: "{{ command_sleeper.ansible_job_id }}"
  register: job_result
  until: job_result.finished
  retries: 60
  delay: 30

- name: Start an upgrade, let go of the connection, and go on
  longhaul.jobs.async_start:
    name: dist-upgrade
    labels:
      ticket: OPS-4711
    task:
      ansible.builtin.apt:
        upgrade: dist
    time_limit: 2h
    close_connection: true
  become: true
  register: upgrade

- name: Run a command in a job and wait for it here, whatever the link does
  longhaul.jobs.async_start:
    cmd: sha256sum /var/lib/libvirt/images/*.qcow2
    poll: 30
    unreachable_timeout: 15m
  register: sums
  changed_when: false

- name: One upgrade a host, however often this play runs
  longhaul.jobs.async_start:
    name: dist-upgrade
    task:
      ansible.builtin.apt:
        upgrade: dist
    time_limit: 2h
    poll: 30
  become: true

- name: Index the archive, unless that was done in the last twelve hours
  longhaul.jobs.async_start:
    name: index-archive
    cmd: updatedb --output /var/lib/archive.db --database-root /srv/archive
    if_finished: reuse
    reuse_for: 12h
    poll: 60

- name: Begin the import anew with the file of today, whether the last one has ended or not
  longhaul.jobs.async_start:
    name: import
    task:
      ansible.builtin.command:
        argv:
          - /usr/local/bin/import
          - /srv/in/{{ now(fmt='%F') }}.csv
    if_running: replace
    grace: 1m

- name: Start one job for each database
  longhaul.jobs.async_start:
    name: "dump-{{ item }}"
    task:
      ansible.builtin.command:
        argv:
          - pg_dump
          - --format=custom
          - --file=/var/backups/{{ item }}.dump
          - "{{ item }}"
  loop:
    - orders
    - customers
  become: true
  become_user: postgres
  register: dumps

- name: Wait for all of them
  longhaul.jobs.async_status:
    jobs: "{{ dumps }}"
  become: true
  become_user: postgres
  register: dumped
  until: dumped.finished
  retries: 120
  delay: 15
"""

RETURN = r"""
ansible_job_id:
  description: The job's id, to ask for it with M(longhaul.jobs.async_status).
  returned: always, unless nothing was started
  type: str
  sample: j360874038559.4169
started:
  description: Whether the job was started.
  returned: always, unless nothing was started
  type: bool
  sample: true
finished:
  description: Whether the job has ended.
  returned: always, unless nothing was started
  type: bool
  sample: false
results_file:
  description: The job's file on the host.
  returned: when the host has answered
  type: str
  sample: /root/.ansible_async/j360874038559.4169
job:
  description:
    - All about the job, as each module of this collection returns it.
    - With O(poll) the job's own result stands beside it, as its module gave it.
  returned: always, unless nothing was started
  type: dict
  contains:
    schema:
      description: Version of this structure.
      type: int
      returned: always
      sample: 1
    jid:
      description: The job's id.
      type: str
      returned: always
      sample: j360874038559.4169
    name:
      description: Its name.
      type: str
      returned: always
      sample: dist-upgrade
    labels:
      description: Its labels.
      type: dict
      returned: when the host has answered
      sample: {}
    host:
      description: The inventory name of the host that it runs on.
      type: str
      returned: always
      sample: db1
    user:
      description: The user that it runs as.
      type: str
      returned: when the host has answered
      sample: root
    async_dir:
      description: The directory that it lives in.
      type: str
      returned: when the host has answered
      sample: /root/.ansible_async
    module:
      description: The module that runs, never its arguments.
      type: str
      returned: when it is known
      sample: ansible.builtin.apt
    state:
      description:
        - V(running), or V(orphaned) when it runs but nobody watches over it any more.
        - V(succeeded), V(failed), V(timed_out), V(cancelled) or V(lost) when it has ended.
        - V(unknown) when there is no such job, V(foreign) when it is another host's in a shared home.
        - None in check mode, and when the host has not answered.
      type: str
      returned: always
      sample: running
    cause:
      description:
        - Why it ended. One of V(exited), V(signaled), V(time_limit), V(cancelled), V(supervisor_terminated), V(host_rebooted),
          V(supervisor_killed),
          V(never_started), V(no_space), V(corrupt_record) and V(exit_unknown).
        - None while it runs.
      type: str
      returned: always
      sample:
    started_at:
      description: When it started, in UTC.
      type: str
      returned: when the host has answered
      sample: "2026-03-01T12:00:00.125Z"
    ended_at:
      description: When it ended, in UTC. None for a job that runs or is lost.
      type: str
      returned: when the host has answered
      sample:
    elapsed:
      description: Seconds that it has run.
      type: float
      returned: when the host has answered
      sample: 12.5
    time_limit:
      description: Its limit in seconds.
      type: float
      returned: when the host has answered
      sample: 7200.0
    remaining:
      description: Seconds left of its limit.
      type: float
      returned: when the host has answered
      sample: 7187.5
    overdue:
      description: Whether its limit has passed and nobody has ended it yet.
      type: bool
      returned: when the host has answered
      sample: false
    rc:
      description: How its process exited, None where that is not known.
      type: int
      returned: when the host has answered
      sample:
    signal:
      description: The signal that ended its process.
      type: str
      returned: when the host has answered
      sample:
    supervisor_pid:
      description: The process on the host that watches over it.
      type: int
      returned: when the host has answered
      sample: 4169
    payload_pid:
      description: The process on the host that does its work.
      type: int
      returned: when the host has answered
      sample: 4170
    cpu_seconds:
      description: Processor time that it took.
      type: float
      returned: when it has ended
      sample: 3.25
    peak_memory_bytes:
      description: The most memory that one of its processes had.
      type: int
      returned: when it has ended
      sample: 52428800
    stdout_bytes:
      description: How much it has written to its standard output.
      type: int
      returned: when the host has answered
      sample: 2048
    stderr_bytes:
      description: How much it has written to its standard error.
      type: int
      returned: when the host has answered
      sample: 0
    progress:
      description: How far it says it is, in C(percent), C(message) and C(eta_seconds).
      type: dict
      returned: when it says so
      sample:
        percent: 42
        message: unpacking libc6
        eta_seconds: 17
    verified:
      description: Whether the state is certain. False for jobs of core's own that leave no proof of life, or where C(/proc) is hidden.
      type: bool
      returned: when the host has answered
      sample: true
    attached:
      description: Whether the start found the job, running or to be reused, instead of starting it.
      type: bool
      returned: when the host has answered
      sample: false
    reachable:
      description: Whether the host has answered the last look.
      type: bool
      returned: always
      sample: true
    result:
      description: Those keys of the module's own result that have the name of one of these keys.
      type: dict
      returned: when there are any
      sample:
        started: false
    reason:
      description: Why it was cancelled, or could not be started.
      type: str
      returned: when there is one
      sample: maintenance window closed
    survivors:
      description: Processes of the job that could not be ended, each with C(pid), C(user) and C(command).
      type: list
      elements: dict
      returned: when the host has answered
      sample: []
"""

import base64
import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.longhaul.jobs.plugins.module_utils import _boot, _supervisor
from ansible_collections.longhaul.jobs.plugins.module_utils._verbs import start

PACKED = (_supervisor,)  # core packs what a module imports, and the supervisor's process looks for its code there


def main():
    try:
        cwd = os.getcwd()  # AnsibleModule leaves it where it cannot be read, for a folder that goes with this module
    except OSError:
        cwd = None
    module = AnsibleModule(
        argument_spec={
            "task": {"type": "dict"},
            "cmd": {"type": "str"},
            "time_limit": {"type": "str"},
            "grace": {"type": "str", "default": "10s"},
            "poll": {"type": "str", "default": "0"},
            "unreachable_timeout": {"type": "str", "default": "5m"},
            "name": {"type": "str"},
            "labels": {"type": "dict", "default": {}},
            "if_running": {"type": "str", "choices": ["attach", "fail", "replace"], "default": "attach"},
            "if_finished": {"type": "str", "choices": ["restart", "reuse"], "default": "restart"},
            "reuse_for": {"type": "str"},
            "retain": {"type": "str", "default": "7d"},
            "close_connection": {"type": "bool", "default": False},
            "async_dir": {"type": "str"},
            "_longhaul": {"type": "dict", "no_log": True},
        },
        supports_check_mode=True,
    )
    envelope = module.params["_longhaul"]
    if not envelope:
        module.fail_json(msg="async_start works through its action plugin only: use its full name, longhaul.jobs.async_start")
    payload = base64.b64decode(envelope["payload"])
    module.exit_json(reply=_boot.encode(_boot.answer(start.run, json.loads(envelope["request"]), payload=payload, cwd=cwd)))


if __name__ == "__main__":
    main()
