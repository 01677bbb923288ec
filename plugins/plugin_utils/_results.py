# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the engine's entries to job results: the module's own result cleaned by core, `job` rebuilt field by field.

Nothing of a target's answer is handed on as it came: what is not known here, or not of its type, is left out.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Callable, Mapping

from ansible_collections.longhaul.jobs.plugins.plugin_utils import _core, _options
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import NEVER_STARTED, Reference, is_jid, registered
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote

Result = dict[str, t.Any]

ENDED_STATES = ("succeeded", "failed", "timed_out", "cancelled")  # for good, by what is recorded
FAILED_STATES = ("failed", "timed_out", "cancelled", "lost", "unknown", "foreign")
_STATES = ("queued", "running", "orphaned", "succeeded", *FAILED_STATES)
_CAUSES = (
    *("exited", "signaled", "time_limit", "cancelled", "supervisor_terminated", "host_rebooted", "supervisor_killed"),
    *("never_started", "no_space", "corrupt_record", "exit_unknown"),
)
_WHEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII)
_SIGNAL = re.compile(r"[A-Z0-9+-]{1,20}", re.ASCII)
_MOST = 1000  # survivors, or labels
_LONGEST = 4096  # characters of a text
_STREAMS: Result = {"stdout": "", "stderr": "", "stdout_lines": [], "stderr_lines": []}


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return value[:_LONGEST] if value.isascii() else value[:_LONGEST].encode("utf-8", "replace").decode("utf-8")


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63 else None


def _number(value: object) -> int | float | None:
    return value if isinstance(value, float) and abs(value) < 1 << 63 else _whole(value)  # no NaN, no infinity


def _one_of(known: tuple[str, ...]) -> Callable[[object], str | None]:
    return lambda value: value if isinstance(value, str) and value in known else None


def _like(form: re.Pattern[str]) -> Callable[[object], str | None]:
    return lambda value: value if isinstance(value, str) and form.fullmatch(value) else None


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and _options.is_name(value) else None


def _labels(value: object) -> dict[str, str]:
    pairs = list(value.items())[:_MOST] if isinstance(value, dict) else []
    return {key: _text(content) or "" for key, content in pairs if _name(key) and isinstance(content, str)}


def _progress(value: object) -> Result | None:
    if not isinstance(value, dict):
        return None
    percent, eta = _number(value.get("percent")), _number(value.get("eta_seconds"))
    return {"percent": percent, "message": _text(value.get("message")), "eta_seconds": eta}


def _survivors(value: object) -> list[Result]:
    found = [item for item in (value if isinstance(value, list) else [])[:_MOST] if isinstance(item, dict)]
    return [{"pid": _whole(item.get("pid")), "user": _text(item.get("user")), "command": _text(item.get("command"))} for item in found]


_FIELDS: dict[str, Callable[[object], object]] = {
    **dict.fromkeys(("user", "async_dir", "results_file", "module", "reason"), _text),
    **dict.fromkeys(("elapsed", "time_limit", "remaining", "cpu_seconds"), _number),
    **dict.fromkeys(("rc", "supervisor_pid", "payload_pid", "peak_memory_bytes", "stdout_bytes", "stderr_bytes"), _whole),
    **dict.fromkeys(("overdue", "verified", "attached"), _flag),
    **dict.fromkeys(("started_at", "ended_at"), _like(_WHEN)),
    "name": _name,
    "labels": _labels,
    "state": _one_of(_STATES),
    "cause": _one_of(_CAUSES),
    "signal": _like(_SIGNAL),
    "progress": _progress,
    "survivors": _survivors,
}


class JobResult:
    """One job's result as users see it, and what goes with it to the top of a task's result."""

    def __init__(
        self, shown: Result, *, facts: Result | None = None, censored: bool = False, entry: Mapping[str, t.Any] | None = None
    ) -> None:
        self.shown = shown
        self.facts = facts
        self.censored = censored
        self.entry = entry  # what the engine has told, not cleaned; None where it was not asked, or by verbs that tell modules' results

    @property
    def is_refused(self) -> bool:
        """Whether the verb says that it has not done its work on this job, whatever has become of that."""
        return self.entry is not None and self.entry.get("failed") is True


def answered(remote: Remote, reference: Reference, entry: Mapping[str, t.Any]) -> JobResult:
    """What the engine's entry for that job comes to. Does not raise."""
    told = entry.get("job")
    job = told if isinstance(told, dict) else {}
    document = {key: value for key, value in entry.items() if key != "job"}
    shown, facts, warnings = _core.clean(remote.action, document, remote.task_vars)
    if "exception" not in document:
        shown.pop("exception", None)  # since core 2.19 put there for each failure; not the job's own
    shown["job"] = _job(remote.host, reference, job)
    if isinstance(job.get("result"), dict):
        secrets = {key: entry[key] for key in ("_ansible_new_secrets",) if key in entry}
        # A level down, where core takes no key for one of its own.
        own = _core.clean(remote.action, {"own": job["result"], **secrets}, remote.task_vars)[0].get("own")
        shown["job"]["result"] = own if isinstance(own, dict) else {}
    if warnings:
        shown["warnings"] = warnings
    _add_flags(shown, entry)
    for path in ("results_file", "erased"):
        if path in shown:
            shown[path] = _text(entry.get(path))
    _say_whose(shown, remote, reference, job)
    if job.get("no_log") and shown["failed"]:
        # Since core 2.19 a failed task's message is shown whatever is censored; the job's own may hold what no_log was to hide.
        shown["msg"] = _censored(shown)
    return JobResult(shown, facts=facts, censored=bool(job.get("no_log")))


def told(remote: Remote, reference: Reference, entry: Mapping[str, t.Any]) -> JobResult:
    """The same for an entry without a module's result: taken field by field, so that a thousand of them cost little. Does not raise."""
    job = entry["job"] if isinstance(entry.get("job"), dict) else {}
    shown: Result = {"results_file": _text(entry.get("results_file")), "job": _job(remote.host, reference, job)}
    shown.update((flag, entry.get(flag) is True) for flag in ("failed", "changed"))
    if isinstance(entry.get("msg"), str):
        shown["msg"] = _text(entry["msg"])
    _add_flags(shown, entry)
    _say_whose(shown, remote, reference, job)
    if job.get("no_log"):  # what the job itself may have written or been called with
        if "msg" in shown:
            shown["msg"] = _censored(shown)
        for holder in (*(shown["job"].get("survivors") or []), shown["job"].get("progress") or {}):
            holder.update((key, None) for key in ("command", "message") if key in holder)
    return JobResult(shown, entry=entry)


def _job(host: str, reference: Reference, job: Mapping[str, t.Any]) -> Result:
    """The `job` of a result: what the reference knows, and what the target tells, each field checked."""
    found = skeleton(host, reference, reachable=True)
    if is_jid(job.get("jid")) and (not reference.jid or job.get("attached") is True):
        found["jid"] = str(job["jid"])
    fields = {key: check(job[key]) for key, check in _FIELDS.items() if key in job}
    if fields.get("state") == "unknown":  # then the target knows less of it than the reference
        fields = {key: value for key, value in fields.items() if value is not None and found.get(key) is None}
    return {**found, **fields}


def _add_flags(shown: Result, entry: Mapping[str, t.Any]) -> None:
    shown["ansible_job_id"] = shown["job"]["jid"]
    for flag in ("started", "finished"):
        shown[flag] = entry.get(flag) is True
    shown["failed"] = bool(shown.get("failed")) or ("erased" not in shown and shown["job"]["state"] in FAILED_STATES)
    shown["changed"] = bool(shown.get("changed"))


def _say_whose(shown: Result, remote: Remote, reference: Reference, job: Mapping[str, t.Any]) -> None:
    """Say of a job that is not here whose it is, where the reference, or what the play has registered, knows."""
    if shown["job"]["state"] != "unknown":
        return
    if reference.jid and not reference.host:
        reference = registered(reference.jid, remote.task_vars) or reference
    asked_as = _text(job.get("user"))
    if reference.host not in (None, remote.host):
        shown["msg"] = elsewhere(reference, remote.host)
        shown["job"]["host"] = reference.host
    elif reference.user and asked_as and reference.user != asked_as:
        shown["msg"] = (
            f"job {reference.jid or reference.name} is one of the user {reference.user} and was looked for as {asked_as}: ask with "
            f"become_user: {reference.user}, or without become where that is the user of the connection"
        )
        shown["job"]["user"] = reference.user


def _censored(shown: Result) -> str:
    job = shown["job"]
    return f"job {job['jid']} {job['state'] or 'failed'}; its own message is censored, for it was started with no_log"


def skeleton(host: str, reference: Reference, *, reachable: bool) -> Result:
    """The `job` of a result while nothing is known but who it is."""
    found: Result = {"schema": 1, "jid": reference.jid, "name": reference.name, "host": host}
    found.update((key, value) for key, value in (("async_dir", reference.async_dir), ("user", reference.user)) if value)
    return {**found, "state": None, "cause": None, "reachable": reachable}


def bare(host: str, reference: Reference, *, started: bool, finished: bool, reachable: bool = True, msg: str = "") -> JobResult:
    """A job result without an answer of the target's."""
    shown: Result = {"ansible_job_id": reference.jid, "results_file": None, "started": started, "finished": finished}
    shown.update(failed=False, changed=False)
    shown["job"] = skeleton(reference.host or host, reference, reachable=reachable)
    if msg:
        shown["msg"] = msg
    return JobResult(shown)


def missed(host: str, reference: Reference) -> JobResult:
    """A job that was asked for while its host did not answer."""
    return bare(host, reference, started=True, finished=False, reachable=False)


def of_check_mode(host: str, reference: Reference) -> JobResult:
    """A job whose start was made in check mode."""
    return bare(host, reference, started=False, finished=True, msg="the job was started in check mode, so there is none")


def never_started(host: str, reference: Reference) -> JobResult:
    """A job whose start failed before there was a job id."""
    result = bare(host, reference, started=False, finished=True, msg=f"{NEVER_STARTED}{reference.never_started}")
    result.shown["failed"] = True
    result.shown["job"].update(state="unknown", cause="never_started")
    return result


def elsewhere(reference: Reference, host: str) -> str:
    """The refusal of a reference of another host."""
    return f"job {reference.jid or reference.name} is one of {reference.host}, not of {host}: ask with delegate_to: {reference.host}"


def with_streams(shown: Result) -> Result:
    """A result as core's async_status gives it: with the streams, empty where the job's module left none."""
    return {**{key: value if isinstance(value, str) else list(value) for key, value in _STREAMS.items()}, **shown}


def flat(result: JobResult) -> Result:
    """The task's result that is one job's."""
    shown = dict(result.shown)
    if result.facts:
        shown["ansible_facts"] = dict(result.facts)
    if result.censored:
        shown["_ansible_no_log"] = True
    return shown


def listed(results: list[JobResult]) -> Result:
    """The task's result that tells of several jobs, in the order asked."""
    jobs = [result.shown for result in results]
    failed = [job for job in jobs if job["failed"]]
    top: Result = {
        "jobs": jobs,
        "finished": all(job["finished"] for job in jobs),
        "failed": bool(failed),
        "changed": any(job["changed"] for job in jobs),
    }
    if failed:
        every = (f"{job['ansible_job_id'] or job['job'].get('name') or 'a job'} ({_why(job)})" for job in failed)
        named = "; ".join(dict.fromkeys(every))  # once each, though several references may mean it
        top["msg"] = f"{len(failed)} of {len(jobs)} jobs failed: {named}"
    if any(result.censored for result in results):
        top["_ansible_no_log"] = True
    return top


def position(value: object, default: int) -> int:
    """A place in a stream as a target tells it; `default` for what is none."""
    found = _whole(value)
    return default if found is None or found < 0 else found


def total_bytes(entries: list[Result]) -> int:
    """Bytes on the host's disk of the jobs that the engine's entries tell of."""
    return sum(max(0, _whole(entry.get("bytes")) or 0) for entry in entries)


def _why(job: Result) -> str:
    """A failed job's name and state, and in its own words what is not a state."""
    name, state = job["job"].get("name"), job["job"].get("state")
    words = [str(name)] if name else []
    words += [str(job.get("msg") or state)] if state in (None, "unknown", "foreign") else [str(state)]
    return ", ".join(words)


def finish(remote: Remote, result: Result) -> Result:
    """Add to a task's result what was found out on the way: the interpreter, warnings."""
    if remote.facts:
        result["ansible_facts"] = {**result.get("ansible_facts", {}), **remote.facts}
    if remote.warnings:
        result["warnings"] = [*result.get("warnings", []), *remote.warnings]
    return result
