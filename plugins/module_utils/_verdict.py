# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job's state is, judged from facts alone: the truth table of PROTOCOL section 4, in its order."""

# What a job file says
ABSENT, UNFINISHED, FINISHED, UNREADABLE = "absent", "unfinished", "finished", "unreadable"


class Verdict:
    """A state with its cause.

    ``act`` is what one who may write has to do: None; "commit" an end of this state; "adopt" the end that lies ready in
    end.new; "recover" the end from a module's own result; "enforce" the limit. ``again`` asks for a second look first.
    """

    __slots__ = ("state", "cause", "act", "again", "verified", "overdue", "recorded")

    def __init__(self, state, cause=None, act=None, again=False, verified=True, overdue=False, recorded=False):
        self.state = state
        self.cause = cause
        self.act = act
        self.again = again
        self.verified = verified
        self.overdue = overdue
        self.recorded = recorded

    def __repr__(self):
        return "Verdict(%s)" % ", ".join("%s=%r" % (name, getattr(self, name)) for name in self.__slots__)

    def __eq__(self, other):
        return isinstance(other, Verdict) and repr(self) == repr(other)


def judge(facts):
    """The Verdict on ``facts`` (a _facts.Facts). Pure: reads nothing, writes nothing."""
    if facts.job_file == FINISHED:
        return Verdict("ended", recorded=True)
    if not facts.directory:
        return _without_directory(facts)
    if facts.trouble and not facts.removed:
        # EACCES, EIO: what could not be read does not say that a job has ended.
        return Verdict("running", again=True, verified=False)
    if facts.removed or not facts.names:
        return Verdict("unknown", again=True)
    if facts.job_file == ABSENT and "end.new" not in facts.names:
        return Verdict("unknown", again=True)
    if facts.record and not facts.same_boot and not facts.same_host:
        return Verdict("foreign")
    held = facts.lock == "held"
    if not facts.record:
        if facts.newer or facts.lock == "denied":
            return Verdict("running" if held else "unknown", verified=False)
        if held:
            return Verdict("running", verified=False)
        return Verdict("lost", "corrupt_record", act="commit", again=True)
    if held or facts.lock == "denied":
        if facts.supervisor_alive:
            return Verdict("running", overdue=facts.past_grace)
        return Verdict("running", again=True, verified=False, overdue=facts.past_grace)
    if facts.supervisor_alive:
        return Verdict("running", overdue=facts.past_grace)
    return _without_supervisor(facts)


def _without_directory(facts):
    if facts.job_file == ABSENT or facts.ours:
        return Verdict("unknown", again=True)
    # Core's own job: its file names no process, so its wrapper is looked for by its command line.
    if facts.core_alive:
        return Verdict("running")
    if facts.core_visible:
        return Verdict("lost", "supervisor_killed", again=True)
    if facts.job_file == UNREADABLE:
        return Verdict("lost", "corrupt_record", again=True)
    return Verdict("running", verified=False)


def _without_supervisor(facts):
    if facts.end:
        return Verdict("ended", act="adopt")
    if facts.result and not facts.payload_alive:
        return Verdict("ended", act="recover")
    if not facts.same_boot:
        return Verdict("lost", "host_rebooted", act="commit", again=True)
    if "started.json" not in facts.names:
        return Verdict("lost", "never_started", act="commit", again=True)
    if facts.payload_alive:
        if facts.past_limit:
            return Verdict("orphaned", act="enforce", overdue=True)
        return Verdict("orphaned")
    if facts.cancel:
        return Verdict("cancelled", "cancelled", act="commit", again=True)
    return Verdict("lost", "exit_unknown" if facts.command else "supervisor_killed", act="commit", again=True)
