# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks after jobs once, and says what a question that was not answered means: another try, or an unreachable host."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure
from ansible.utils.display import Display
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _results
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote
from ansible_collections.longhaul.jobs.plugins.plugin_utils._schedule import Clock, Patience
from ansible_collections.longhaul.jobs.plugins.plugin_utils._selection import Selection

display = Display()

_PATIENT = ("status", "info", "log")  # what is asked by these is given up with the host; a cancel may be repeated by who wants that

# What jobs that have ended answered to earlier attempts of `until`, by task and host: fetched and cleaned once. A dict of the module's
# for the reason that _schedule has one.
_ended: dict[t.Hashable, dict[str, _results.JobResult]] = {}


@dataclass
class Question:
    """One exchange about jobs of one host.

    The verbs status and wait answer with the modules' own results, which core cleans; the others without, and are taken field by field.
    """

    remote: Remote
    selection: Selection
    verb: str = "status"
    options: dict[str, t.Any] = field(default_factory=dict)
    hold: float = 0.0  # seconds that the target may wait for ends
    extra: float = 0.0  # seconds that it may need besides
    unreachable_timeout: float = 0.0  # seconds for which it may be missed, however often it is asked meanwhile
    keeps: bool = False  # whether the ends that are told are kept for when it is asked again
    clock: Clock = field(default_factory=Clock)
    missed: str = ""  # why it was not answered; empty where it was
    denied: bool = False  # it was missed because the login was, which is not tried again: that locks accounts
    unreachable: bool = False  # it was not answered for too long
    entries: list[dict[str, t.Any]] = field(default_factory=list)  # what the engine has told of each job, not cleaned

    def ask(self) -> list[_results.JobResult]:
        """The results in the order of the references. Raises AnsibleActionFail for what the target refused."""
        references = self.selection.references
        if references is None:
            self.entries = self._exchange([], None)
            return [self._answered(Reference(), entry) for entry in self.entries]
        kept = _ended.setdefault(self.remote.task_key, {}) if self.keeps else {}
        real = [reference for reference in references if reference.is_askable and reference.jid not in kept]
        self.entries = self._exchange(real, [reference.request for reference in real]) if real else []
        entries = iter(self.entries)
        results = [kept.get(str(reference.jid)) or self._result(reference, entries) for reference in references]
        if self.keeps:
            ends = {result.shown["ansible_job_id"]: result for result in results if result.shown["job"]["state"] in _results.ENDED_STATES}
            _ended[self.remote.task_key] = ends if len(ends) < len(results) else {}
        return results

    def mark(self, shown: _results.Result) -> _results.Result:
        """Put into a task's result that the question was not answered, if so."""
        if self.unreachable:
            shown.update(unreachable=True, msg=self.missed)
            if self.verb in _PATIENT:
                self.remote.action._task.until = []  # core would go on asking; an empty one is met by a result that has not failed
        elif self.missed:
            shown["warnings"] = [*shown.get("warnings", []), self.missed]
        return shown

    def _result(self, reference: Reference, entries: t.Iterator[dict[str, t.Any]]) -> _results.JobResult:
        if reference.never_started:
            return _results.never_started(self.remote.host, reference)
        if reference.is_of_check_mode:
            return _results.of_check_mode(self.remote.host, reference)
        if self.missed:
            return _results.missed(self.remote.host, reference)
        return self._answered(reference, next(entries))

    def _answered(self, reference: Reference, entry: dict[str, t.Any]) -> _results.JobResult:
        answered = _results.answered if self.verb in ("status", "wait") else _results.told
        return answered(self.remote, reference, entry)

    def _exchange(self, real: list[Reference], jobs: list[dict[str, t.Any]] | None) -> list[dict[str, t.Any]]:
        here = [reference.async_dir for reference in real if reference.async_dir and reference.host == self.remote.host]
        key = (self.remote.host, tuple(reference.jid or reference.name for reference in real))
        patience = Patience(key, self.unreachable_timeout, self.clock)
        begun = self.clock.now()
        try:
            entries = self.remote.ask(
                self.verb, jobs, self.options, filters=self.selection.filters, hold=self.hold, extra=self.extra, also_in=here
            )
        except (LookMissed, AnsibleConnectionFailure) as lost:
            self.denied = isinstance(lost, AnsibleAuthenticationFailure)
            patient = patience.missed(begun) and not self.denied
            self.missed = f"{self.remote.host} was not reached: {lost}"
            if patient:
                self.missed += f"; asked again, until it has been so for {self.unreachable_timeout:g} s"
                # Now: since core 2.19 a warning is held back to the end of the task.
                display.display(self.missed, color="bright purple")
                return []
            self.unreachable = True
        else:
            patience.answered()
            return entries
        patience.answered()  # given up: the next question begins anew
        return []
