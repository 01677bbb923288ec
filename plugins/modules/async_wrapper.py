#!/usr/bin/python
# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: async_wrapper
short_description: Run core's C(async) keyword as jobs of this collection
version_added: 0.1.0
description:
  - Takes the place of the part of ansible-core that starts a task with the C(async) keyword, when the folder of this module is on core's
    library path (C(ANSIBLE_LIBRARY), or C(library) in C(ansible.cfg)).
  - Playbooks with C(async), C(poll) and M(ansible.builtin.async_status) then run unchanged as jobs of this collection.
  - Core calls it. It is not for playbooks, where it fails and does nothing.
author:
  - the longhaul.jobs authors (@longhaul)
extends_documentation_fragment:
  - longhaul.jobs.attributes
attributes:
  action_group:
    support: none
    membership: []
  check_mode:
    support: none
    details:
      - What a task with C(async) does in check mode is up to its own module, as with core's.
  idempotent:
    support: none
options: {}
seealso:
  - module: longhaul.jobs.async_start
  - module: longhaul.jobs.async_status
"""

EXAMPLES = r"""
---
# With ANSIBLE_LIBRARY set to the folder of this collection's modules
- name: Core's keyword, run by this collection
  ansible.builtin.command:
    cmd: sleep 90
  async: 120
  poll: 0
"""

RETURN = r""" # """

import os
import sys

from ansible_collections.longhaul.jobs.plugins.module_utils import _boot, _keyword, _supervisor
from ansible_collections.longhaul.jobs.plugins.module_utils._verbs import start

PACKED = (_supervisor,)  # core packs what a module imports, and the supervisor's process looks for its code there


def main():
    os.umask(0o022)  # as core's wrapper has it, whatever the login's
    try:
        request = _keyword.request(sys.argv[1:], os.environ)
    except _boot.Refused as exc:
        from ansible.module_utils.basic import AnsibleModule  # a start does without what it would cost

        AnsibleModule(argument_spec={}, supports_check_mode=True).fail_json(msg=str(exc))
    told = _keyword.answer(_boot.answer(start.run, request), request)
    _boot.write_all(1, ("\n%s\n" % _boot.dumps(told)).encode("ascii"))
    raise SystemExit(1 if told.get("failed") else 0)


if __name__ == "__main__":
    main()
