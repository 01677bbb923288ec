# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a job: settle it, where somebody has to and may, and answer with its job result.

Most looks meet a job that runs, or an end that stands in its file; what else there is (_end) is compiled when it is needed.
"""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _facts, _record, _spool


def settle(spool, jid, here, write=True):
    """(document, Facts, Verdict): a job's answer as of now; an end that is missing is written first, if ``write``."""
    facts, verdict = _facts.look(spool, jid, here)
    if verdict.act and write:
        from ansible_collections.longhaul.jobs.plugins.module_utils import _end

        return _end.under_lock(facts, answer)
    return answer(facts, verdict), facts, verdict


def answer(facts, verdict, **known):
    """The job result for what was judged; ``known`` are keys of ``job`` that the caller knows better. Writes nothing."""
    document = _document(facts, verdict, known)
    progress = facts.path + "/progress"
    if os.path.lexists(progress):
        from ansible_collections.longhaul.jobs.plugins.module_utils import _progress

        document["job"]["progress"] = _progress.read(progress, None if document.get("finished") else document["job"].get("elapsed"))
    return document


def _document(facts, verdict, known):
    if verdict.recorded and facts.ours:
        return facts.document
    known.setdefault("verified", verdict.verified)
    known.setdefault("overdue", verdict.overdue)
    if verdict.state not in ("running", "orphaned"):
        from ansible_collections.longhaul.jobs.plugins.module_utils import _end

        return _end.document(facts, verdict, known)
    record = facts.record or _record.unrecorded(facts.spool, facts.jid)
    known.update(stdout_bytes=_spool.size(facts.path + "/stdout"), stderr_bytes=_spool.size(facts.path + "/stderr"))
    return _record.running(record, facts.started, state=verdict.state, core=not facts.directory, **known)
