# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One exchange with the engine on the target: a request goes there, its reply comes back.

Either as one program over standard input (the direct way), or, where standard input cannot be used, by a module of ours.
"""

from __future__ import annotations

import base64
import json
import secrets
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _core, _options, _program, _reply
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.plugins.plugin_utils._look import Deadline

LOOK_TIMEOUT = 30.0  # seconds within which a look ends, plus what it holds
TRANSPORTS = ("auto", "direct", "module")
_MOST_WARNINGS = 20
_LONGEST_SENTENCE = 2000  # characters of what a target says that are shown


class Remote:
    """The way from one task to the jobs on its host; what has to be found out for it is found out once.

    Raises AnsibleActionFail for a host that can have no jobs, and for senseless `longhaul_*` variables.
    """

    def __init__(self, action: ActionBase, task_vars: dict[str, t.Any], async_dir: str | None = None) -> None:
        self.action: t.Any = action
        self.task_vars = task_vars
        self.host = str(self.action._task.delegate_to or task_vars["inventory_hostname"])
        self.facts: dict[str, str] = {}  # of the interpreter's discovery, for the action to return
        self.warnings: list[str] = []
        self._async_dirs = [async_dir] if async_dir else [_core.shell_async_dir(action), None]
        self._explicit = bool(async_dir)
        self._python = ""
        why_not = _core.refusal(action)
        if why_not:
            raise AnsibleActionFail(f"there are no jobs on {self.host}: {why_not}")
        transport = self._variable("longhaul_transport", "auto")
        if transport not in TRANSPORTS:
            takes = ", ".join(TRANSPORTS)
            raise AnsibleActionFail(f"longhaul_transport: got {_options.shown(transport)}; it takes one of {takes}")
        self._direct = transport == "direct" or (transport == "auto" and _core.direct_ok(action) is None)
        self._may_change_way = transport == "auto"
        look_timeout = self._variable("longhaul_look_timeout", LOOK_TIMEOUT)
        self.look_timeout = _options.seconds("longhaul_look_timeout", look_timeout, least=1.0)

    def ask(
        self,
        verb: str,
        jobs: list[dict[str, t.Any]] | None,
        options: dict[str, t.Any],
        *,
        filters: dict[str, t.Any] | None = None,
        hold: float = 0.0,
        extra: float = 0.0,
        attempt: int = 1,
        ago: float = 0.0,
        payload: bytes = b"",
        also_in: t.Iterable[str] = (),
    ) -> list[dict[str, t.Any]]:
        """The engine's entries for `jobs`, in their order, or for the jobs that `filters` let through, all of them if there are none;
        not cleaned yet.

        `hold`: seconds that the target may wait for the end. `extra`: seconds that it may take besides for what it has to do.
        `attempt`, `ago`: the how manyth try of one start, and the seconds since the first.
        `also_in`: async dirs to look in besides, unless the task names one; of those that are not this user's nothing is said.
        Raises LookMissed, and AnsibleActionFail for what the target refused.
        """
        more = [] if self._explicit else [path for path in dict.fromkeys(also_in) if path not in self._async_dirs]
        request = {
            "schema": 1,
            "verb": verb,
            "async_dirs": self._async_dirs,
            "also_in": more,
            "jobs": jobs,
            "filters": filters,
            "options": options,
            "attempt": attempt,
            "ago": ago,
            "hold": hold,
            "check": bool(self.action._task.check_mode),
        }
        try:
            reply = _reply.decode(self._exchange(verb, request, payload, self.look_timeout + hold + extra))
        except _reply.TooLarge as too_large:
            if jobs is None or len(jobs) < 2:  # no honest target's: the engine cuts each result
                raise LookMissed(str(too_large)) from too_large
            half = len(jobs) // 2  # what many wordy jobs have to say is asked for in parts
            parts = (jobs[:half], jobs[half:])
            return [entry for part in parts for entry in self.ask(verb, part, options, hold=hold, extra=extra, also_in=also_in)]
        except _reply.Lost as lost:
            raise LookMissed(str(lost)) from lost
        if "error" in reply:
            raise AnsibleActionFail(_sentence(reply["error"]))
        entries = reply.get("jobs")
        if not isinstance(entries, list) or (jobs is not None and len(entries) != len(jobs)):
            raise LookMissed("the reply does not tell of the jobs that were asked for")
        warnings = reply.get("warnings")
        self.warnings += [_sentence(text) for text in (warnings if isinstance(warnings, list) else [])[:_MOST_WARNINGS]]
        return [entry if isinstance(entry, dict) else {} for entry in entries]

    @property
    def task_key(self) -> t.Hashable:
        """What tells this task on this host from others, the same in each attempt of its `until`."""
        return (self.action._task._uuid, self.host)

    def close(self) -> None:
        """Really close the connection. Does not raise."""
        _core.close(self.action)

    def _exchange(self, verb: str, request: dict[str, t.Any], payload: bytes, deadline: float) -> str:
        if self._direct:
            try:
                return self._directly(verb, request, payload, deadline)
            except _core.NeedsModuleWay as reason:
                why_not = str(reason)
            if not self._may_change_way:
                raise AnsibleActionFail(f"longhaul_transport: got 'direct', but {why_not}; it takes 'module' here")
            self._direct = False
        return self._by_module(verb, request, payload, deadline)

    def _directly(self, verb: str, request: dict[str, t.Any], payload: bytes, deadline: float) -> str:
        nonce = secrets.token_hex(16)
        if not self._python:
            self._python = self._interpreter(deadline)
        program = _program.build(verb, request, nonce, payload)
        answer = _core.send(self.action, f"{self._python} -ISE -", program, deadline)
        if f"LONGHAUL-REPLY {nonce}" not in answer["stdout"] and 0 < answer["rc"] < 128:
            # No link's end, nor death by a signal, which may have come with it.
            said = _sentence("; ".join((answer["stderr"] or answer["stdout"]).strip().splitlines()[-3:])) or "nothing"
            raise AnsibleActionFail(f"{self._python} on {self.host} gave no reply but rc {answer['rc']}, and said: {said}")
        return _reply.body_in(answer["stdout"], nonce)

    def _interpreter(self, deadline: float) -> str:
        """The target's Python, as core finds it, in the words of a shell line."""
        words, facts, warnings = self._within(deadline, lambda: _core.interpreter(self.action, self.task_vars))
        self.facts.update(facts)
        self.warnings += warnings
        return " ".join(words)

    def _by_module(self, verb: str, request: dict[str, t.Any], payload: bytes, deadline: float) -> str:
        """The reply's body by way of our module; what it is sent lies in a file on the target for a moment, as core's do."""
        task = self.action._task
        arguments = {"_longhaul": {"request": json.dumps(request), "payload": base64.b64encode(payload).decode("ascii")}}
        module = f"longhaul.jobs.async_{verb}"
        environment, task.environment = task.environment, []  # it is the payload's, and does not touch the engine
        try:
            answer = self._within(
                deadline, lambda: self.action._execute_module(module_name=module, module_args=arguments, task_vars=self.task_vars)
            )
        finally:
            task.environment = environment
        if not isinstance(answer.get("reply"), str):
            raise AnsibleActionFail(_sentence(answer.get("msg") or "the module gave no reply"))
        return str(answer["reply"])

    def _within(self, deadline: float, call: t.Callable[[], t.Any]) -> t.Any:
        """What `call` returns, which speaks to the target by means of core's that have no deadline. Raises LookMissed."""
        limit = Deadline(deadline)
        try:
            with limit:
                answer = call()
        except AnsibleError as failure:  # of any kind, where the deadline has ended what core was doing
            lost = isinstance(failure, AnsibleConnectionFailure) and not isinstance(failure, AnsibleAuthenticationFailure)
            if not lost and not limit.passed:
                raise
            reason = _sentence(failure)
        else:
            if not limit.passed:
                return answer
        if limit.passed:
            reason = f"no answer within {deadline:g} seconds"
            self.close()
        raise LookMissed(reason, timed_out=limit.passed)

    def _variable(self, name: str, default: object) -> t.Any:
        """A variable of the host that is asked, templated."""
        delegate = self.action._task.delegate_to
        found = self.task_vars.get("ansible_delegated_vars", {}).get(delegate, {}) if delegate else self.task_vars
        return self.action._templar.template(found.get(name, default))


def _sentence(text: object) -> str:
    """What a target says, in one line that can be shown."""
    words = " ".join(str(text).encode("utf-8", "replace").decode("utf-8").split())
    line = "".join(sign if sign.isprintable() else " " for sign in words)
    return line if len(line) <= _LONGEST_SENTENCE else line[:_LONGEST_SENTENCE] + "…"
