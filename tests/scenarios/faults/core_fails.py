# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One playbook for both engines, ours and core's own, and the table of what core's came to: each row is asserted by a test."""

from __future__ import annotations

TABLE: dict[str, str] = {}  # what happens -> what core's own async does then

# The job waits for a file on its host. The variables: gate, patience (of ours, for a host that is not reached).
OURS = """
- name: Start
  longhaul.jobs.async_start:
    cmd: echo begun; while ! test -e {{ gate }}; do sleep 0.1; done; echo let go
  register: started

- name: Wait
  longhaul.jobs.async_status:
    jid: "{{ started.ansible_job_id }}"
    unreachable_timeout: "{{ patience | default('1m') }}"
  register: ended
  until: ended.finished
  retries: 300
  delay: 1
"""
CORE = """
- name: Start
  ansible.builtin.shell: echo begun; while ! test -e {{ gate }}; do sleep 0.1; done; echo let go
  async: 3600
  poll: 0
  register: started

- name: Wait
  ansible.builtin.async_status:
    jid: "{{ started.ansible_job_id }}"
  register: ended
  until: ended.finished
  retries: 300
  delay: 1
"""
