# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module way: a module hands the request that its action plugin has sent to the engine; and an option that several modules have."""

import json

from ansible_collections.longhaul.jobs.plugins.module_utils._boot import answer, encode

# The option `filters`; the action plugins check it themselves, to say more than core does.
FILTERS = {
    "type": "dict",
    "options": {
        "states": {"type": "list", "elements": "str"},
        "names": {"type": "list", "elements": "str"},
        "labels": {"type": "dict"},
        "modules": {"type": "list", "elements": "str"},
        "older_than": {"type": "str"},
        "newer_than": {"type": "str"},
    },
}


def serve(module, verb):
    """Exit with the reply to the action plugin's request; fail where no action plugin has sent one.

    ``module`` is an AnsibleModule, ``verb`` the module of _verbs that carries the request out.
    """
    envelope = module.params["_longhaul"]
    if envelope:
        module.exit_json(reply=encode(answer(verb.run, json.loads(envelope["request"]))))
    name = "async_" + verb.__name__.rpartition(".")[2]
    module.fail_json(msg="%s works through its action plugin only: use its full name, longhaul.jobs.%s" % (name, name))
