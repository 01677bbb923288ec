# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that sets facts and warns."""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule({"value": {"type": "dict"}}, supports_check_mode=True)
    module.warn("this is a warning")
    module.exit_json(ansible_facts={"of_ours": module.params["value"]}, changed=False)


if __name__ == "__main__":
    main()
