# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb info: what jobs there are, all or some, without the modules' own results. Writes nothing and ends nothing."""

import gc

from ansible_collections.longhaul.jobs.plugins.module_utils import _facts, _listing


def run(request):
    """The reply to an info request: with `jobs` in the order asked, else by their starts. Raises Refused."""
    gc.disable()  # it would look for cycles in thousands of documents that have none, and the process ends with the reply
    here = _facts.Here()
    places = _listing.Places(request, here)
    if request["jobs"] is None:
        found = list(places.let_through(request["filters"]))
        found.sort(key=lambda one: (one[2]["job"]["started_at"] or "", one[1]))
    else:
        chosen = places.chosen(request)
        found = [(spool, jid, _listing.told(spool, jid, here) if spool else places.nowhere(job)) for spool, jid, job in chosen]
    for spool, jid, document in found:
        if document["job"]["state"] != "unknown":
            document["bytes"] = _listing.size(spool, jid)
    return {"schema": 1, "jobs": [document for _spool, _jid, document in found], "warnings": places.reasons}
