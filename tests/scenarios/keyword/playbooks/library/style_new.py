# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module in Python, as most are."""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule({"text": {"type": "str"}}, supports_check_mode=True)
    with open(module.tmpdir + "/written", "w") as stream:
        stream.write(module.params["text"])
    module.exit_json(text=module.params["text"], changed=False)


if __name__ == "__main__":
    main()
