# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names: a claim is a file of that name that holds the id of the newest job of it, on this host (PROTOCOL 1 and 2, step 3)."""

from ansible_collections.longhaul.jobs.plugins.module_utils import _spool


def path(spool, here, name):
    """Where the claim of that name is. Names are per host: a home may be shared."""
    return "%s/names/%s/%s" % (spool, here.host["machine_id"] or here.host["hostname"], name)


def holder(spool, here, name):
    """The id that the claim holds, or None. Raises OSError."""
    line = (_spool.read_file(path(spool, here, name), 64) or b"").split(b"\n")[0].decode("ascii", "replace")
    return line if _spool.valid_jid(line) else None
