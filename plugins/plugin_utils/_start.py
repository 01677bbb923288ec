# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts one job, however often the link fails meanwhile, and follows it to its end."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field, replace

from ansible.errors import AnsibleConnectionFailure
from ansible.utils.display import Display
from ansible_collections.longhaul.jobs.plugins.plugin_utils._core import LookMissed
from ansible_collections.longhaul.jobs.plugins.plugin_utils._payload import Payload
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference
from ansible_collections.longhaul.jobs.plugins.plugin_utils._remote import Remote
from ansible_collections.longhaul.jobs.plugins.plugin_utils._results import JobResult, answered, bare
from ansible_collections.longhaul.jobs.plugins.plugin_utils._schedule import Clock, Patience, Rhythm

display = Display()

REPLACE_SECONDS = 15.0  # beyond the grace: what the target may need to end the job that holds the name
REPEAT_FOR = 30.0  # seconds within which a start without `poll`, whose reply was lost, is asked again

# What ssh says when it never got as far as running anything.
_NOT_THERE = re.compile(
    r"connect to host|resolve hostname|Host key verification failed|Permission denied \(|exchange_identification|banner exchange"
)


@dataclass
class Start:
    """One start: what to run, how it is to be followed."""

    remote: Remote
    reference: Reference
    options: dict[str, t.Any]
    payload: Payload
    poll: float = 0.0  # seconds between looks; 0: do not follow it
    unreachable_timeout: float = 0.0
    close_connection: bool = False
    clock: Clock = field(default_factory=Clock)

    def run(self) -> JobResult:
        """The job's result, as far as it was followed. Raises AnsibleActionFail: nothing was started.

        With `unreachable` in it where the host was lost; not raised, so that the result still names the job.
        """
        self._patience = Patience(object(), self.unreachable_timeout if self.poll else REPEAT_FOR, self.clock)
        self._rhythm = Rhythm(self.poll, self.clock)
        self._missed: list[str] = []
        self._last = self._unknown()
        try:
            if self.poll:
                self._say_how_to_come_back()
            self._launch()
            if self.poll:
                self._follow()
            elif self._last.shown["started"]:
                self._last = _launched(self._last)
        except (LookMissed, AnsibleConnectionFailure) as lost:
            self._last.shown["job"]["reachable"] = False
            self._last.shown.update(unreachable=True, msg=f"{self.remote.host} is not reached: {lost}")
        result = self._last
        if self._missed:
            result.shown["warnings"] = [*result.shown.get("warnings", []), *self._missed]
        return result

    def _launch(self) -> None:
        """Start it. A lost reply is asked for again: the job id is the same, so there is never a second job."""
        first = self.clock.now()
        attempt = 0
        nothing_there = True
        while True:
            attempt += 1
            begun = self.clock.now()
            try:
                entries = self.remote.ask(
                    "start",
                    [{"jid": self.reference.jid}],
                    self.options,
                    hold=self._rhythm.hold,
                    extra=self.options["grace"] + REPLACE_SECONDS if self.options["if_running"] == "replace" else 0.0,
                    attempt=attempt,
                    ago=begun - first,
                    payload=self.payload.data,
                )
            except LookMissed as lost:
                nothing_there = nothing_there and bool(_NOT_THERE.search(lost.reason))
                patient = self._patience.missed(begun)
                if self.poll and not self.unreachable_timeout:
                    raise
                # Once more in any case: what ssh says is about its own last try only, and core may have let it try twice.
                if attempt > 1 and (nothing_there or not patient):
                    raise
                self._tell(f"{self.remote.host}: the start of job {self.reference.jid} was not answered ({lost}); it is asked again")
                self._rhythm.wait_after_miss()
            else:
                self._patience.answered()
                self._last = answered(self.remote, self.reference, entries[0])
                self._note_attached()
                return

    def _follow(self) -> None:
        """Look every `poll` seconds until it has ended."""
        missed = False
        while not self._last.shown["finished"]:
            if self.close_connection:
                self.remote.close()
            if missed:
                self._rhythm.wait_after_miss()
            else:
                self._rhythm.wait()
            begun = self.clock.now()
            hold = 0.0 if self.close_connection else self._rhythm.hold
            try:
                entries = self.remote.ask("status", [{"jid": self.reference.jid}], {"mode": "status"}, hold=hold)
            except LookMissed as lost:
                missed = True
                if not self._patience.missed(begun):
                    raise
                self._tell(f"{self.remote.host}: a look at job {self.reference.jid} was missed ({lost}); it is tried again")
            else:
                missed = False
                self._patience.answered()
                attached = self._last.shown["job"].get("attached")
                self._last = answered(self.remote, self.reference, entries[0])
                self._last.shown["job"]["attached"] = attached

    def _note_attached(self) -> None:
        """Follow the job that the start was attached to, if it was."""
        job = self._last.shown["job"]
        if job.get("attached"):
            self.reference = replace(self.reference, jid=job["jid"])
            if self.poll and not self._last.shown["finished"]:
                self._say_how_to_come_back()

    def _unknown(self) -> JobResult:
        """What is known before the target has answered: enough to ask for the job, or to cancel it, later."""
        result = bare(self.remote.host, self.reference, started=False, finished=False)
        result.shown["job"].update(name=self.options["name"], module=self.options["module"], state="unknown")
        return result

    def _say_how_to_come_back(self) -> None:
        name = f" ({self.options['name']})" if self.options["name"] else ""
        display.display(
            f"{self.remote.host}: job {self.reference.jid}{name} goes on by itself if this play is stopped;"
            f" to ask for it: longhaul.jobs.async_status with jid: {self.reference.jid}"
        )

    def _tell(self, text: str) -> None:
        """Say it now: since core 2.19 a warning is held back to the end of the task."""
        self._missed.append(text)
        display.display(text, color="bright purple")


def _launched(result: JobResult) -> JobResult:
    """A start that nobody waits for has changed something and has not failed, whatever has become of the job by now."""
    kept: dict[str, t.Any] = {
        key: result.shown[key] for key in ("ansible_job_id", "started", "finished", "results_file", "job") if key in result.shown
    }
    kept["job"].pop("result", None)
    return JobResult({**kept, "changed": not kept["job"].get("attached"), "failed": False}, censored=result.censored)
