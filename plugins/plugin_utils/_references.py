# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job ids, and whatever users put behind `jobs`: ids, names, registered results, looped ones, as a list of references."""

from __future__ import annotations

import re
import secrets
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible.errors import AnsibleActionFail
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _options

_JID = re.compile(r"j[0-9]{1,12}\.[0-9]{1,20}", re.ASCII)
_CHECK_MODE = "j000000000000."
_TAKES = "it takes a job's id or name, a registered result, or a list of these"
NEVER_STARTED = "the job was never started: "
_LONGEST_PATH = 4096  # characters
_KNOWN = ("name", "host", "async_dir", "user")
_USER = re.compile(r"[^\s:]{1,64}")


@dataclass(frozen=True)
class Reference:
    """One job as somebody knows it: by its id or its name, or, where neither is, by the reason why it never started."""

    jid: str | None = None
    name: str | None = None
    host: str | None = None  # inventory name of the host that has it; None: whichever is asked
    async_dir: str | None = None
    never_started: str | None = None
    unanswered: bool = False  # whether its start was never answered, so that it may still come
    user: str | None = None  # on the host, as whom it was started

    @property
    def request(self) -> dict[str, t.Any]:
        """What the engine is asked with."""
        if not self.jid:
            return {"name": self.name}
        if not self.unanswered:
            return {"jid": self.jid}
        return {"jid": self.jid, "unanswered": True, "async_dir": self.async_dir}

    @property
    def is_askable(self) -> bool:
        """Whether there may be such a job on a host."""
        return not self.never_started and not self.is_of_check_mode

    @property
    def is_of_check_mode(self) -> bool:
        """Whether the start that gave this id was made in check mode, so that there is no such job."""
        return bool(self.jid and self.jid.startswith(_CHECK_MODE))


def new_jid(*, check_mode: bool = False) -> str:
    """A new job id in core's form; chosen here, before any contact, so that a start can be repeated."""
    if check_mode:
        return f"{_CHECK_MODE}{secrets.randbelow(10**10)}"
    return f"j{1 + secrets.randbelow(10**12 - 1):012d}.{secrets.randbelow(10**10)}"


def is_jid(value: object) -> bool:
    """Whether `value` is a job id, ours or core's."""
    return isinstance(value, str) and bool(_JID.fullmatch(value))


def by_jid(option: str, value: str) -> Reference:
    """The reference in an option that takes ids only. Raises AnsibleActionFail."""
    if not is_jid(value):
        raise AnsibleActionFail(f"{option}: got {_options.shown(value)}; it takes a job's id (ansible_job_id), such as j123456789012.3456")
    return Reference(jid=str(value))


def by_anything(option: str, value: object) -> list[Reference]:
    """The references in `value`, in its order; skipped results are left out. Raises AnsibleActionFail."""
    if isinstance(value, str):
        if is_jid(value):
            return [Reference(jid=str(value))]
        if _options.is_name(value):
            return [Reference(name=str(value))]
    elif isinstance(value, Mapping):
        return _of_mapping(option, value)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        return [reference for item in value for reference in by_anything(option, item)]
    raise AnsibleActionFail(f"{option}: got {_options.shown(value)}; {_TAKES}")


def _of_mapping(option: str, value: Mapping[str, t.Any]) -> list[Reference]:
    job = value.get("job")
    if value.get("ansible_job_id", "") is None and isinstance(job, Mapping) and job.get("cause") == "never_started":
        return [Reference(never_started=str(value.get("msg")).removeprefix(NEVER_STARTED))]  # as another verb has told of it
    if "ansible_job_id" in value:  # a job result; a module's own keys beside it may be called anything
        return [_of_job(option, job if isinstance(job, Mapping) else {}, value["ansible_job_id"])]
    if "jid" in value:
        return [_of_job(option, value, value["jid"])]
    if value.get("skipped"):
        return []
    for several in ("results", "jobs"):  # a loop's, and those of our other modules
        if isinstance(value.get(several), Sequence) and not isinstance(value[several], str):
            return by_anything(option, value[several])
    if value.get("failed") or value.get("unreachable"):
        return [Reference(never_started=str(value.get("msg") or "its start failed"))]
    raise AnsibleActionFail(f"{option}: got {_options.shown(sorted(map(str, value)))}, which is no job's result; {_TAKES}")


def _of_job(option: str, job: Mapping[str, t.Any], jid: object) -> Reference:
    """The reference that a job result holds. Its async dir came from the target, which checks it as any other."""
    is_named = jid is None and isinstance(job.get("name"), str) and _options.is_name(job["name"])  # as of a name that no job has
    if not is_jid(jid) and not is_named:
        raise AnsibleActionFail(f"{option}: got {_options.shown(jid)} for a job's id; {_TAKES}")
    name, host, async_dir, user = (str(job[key]) if isinstance(job.get(key), str) else None for key in _KNOWN)
    if user is not None and not _USER.fullmatch(user):
        user = None
    if async_dir is not None and (not async_dir.startswith(("/", "~")) or "\0" in async_dir or len(async_dir) > _LONGEST_PATH):
        async_dir = None
    unanswered = job.get("state") == "unknown" and job.get("reachable") is False  # as a start tells of it whose reply was lost
    return Reference(None if is_named else str(jid), name, host, async_dir, unanswered=unanswered and not is_named, user=user)


def registered(jid: str, variables: Mapping[str, t.Any]) -> Reference | None:
    """What a result that a play has registered tells of the job with that id; `variables` are those of the play. Does not raise."""
    for value in variables.values():
        if isinstance(value, dict):  # not what core looks up and templates as it is read, such as hostvars
            for one in (value, *(value["results"] if isinstance(value.get("results"), list) else ())):
                if isinstance(one, dict) and one.get("ansible_job_id") == jid and isinstance(one.get("job"), dict):
                    return _of_job("jobs", one["job"], jid)
    return None
