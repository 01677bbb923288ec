# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks after jobs once, and says what a question that was not answered means: another try, or an unreachable host."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible.errors import AnsibleConnectionFailure
from ansible.utils.display import Display
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _results
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote
from ansible_collections.longhaul.jobs.plugins.plugin_utils._schedule import Clock, Patience

display = Display()


@dataclass
class Question:
    """One question after jobs of one host."""

    remote: Remote
    references: list[Reference]
    mode: str = "status"
    unreachable_timeout: float = 0.0  # seconds for which it may be missed, however often it is asked meanwhile
    clock: Clock = field(default_factory=Clock)
    missed: str = ""  # why it was not answered; empty where it was
    unreachable: bool = False  # it was not answered for too long

    def ask(self) -> list[_results.JobResult]:
        """The results in the order of the references. Raises AnsibleActionFail for what the target refused."""
        real = [reference for reference in self.references if reference.jid and not reference.is_of_check_mode]
        entries = iter(self._exchange(real) if real else [])
        return [self._result(reference, entries) for reference in self.references]

    def _result(self, reference: Reference, entries: t.Iterator[dict[str, t.Any]]) -> _results.JobResult:
        if reference.never_started:
            return _results.never_started(self.remote.host, reference)
        if reference.is_of_check_mode:
            return _results.of_check_mode(self.remote.host, reference)
        if self.missed:
            return _results.missed(self.remote.host, reference)
        return _results.answered(self.remote, reference, next(entries))

    def _exchange(self, real: list[Reference]) -> list[dict[str, t.Any]]:
        jobs = [{"jid": reference.jid} for reference in real]
        here = [reference.async_dir for reference in real if reference.async_dir and reference.host == self.remote.host]
        patience = Patience((self.remote.host, tuple(reference.jid for reference in real)), self.unreachable_timeout, self.clock)
        begun = self.clock.now()
        try:
            entries = self.remote.ask("status", jobs, {"mode": self.mode}, also_in=here)
        except (LookMissed, AnsibleConnectionFailure) as lost:
            patient = patience.missed(begun)
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
