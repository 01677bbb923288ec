# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb wait: how jobs are once what is waited for is there, or after so many seconds; ends that are missing are written."""

import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _answer, _facts, _listing

FOLLOW_SECONDS = 0.5  # between two looks for new output
FOLLOW_LEAST = 1.0  # seconds for which a look stays open before it is answered for new output's sake
SPARE_SECONDS = 0.2  # before what could not be settled is tried again


def run(request):
    """The reply to a wait request. Raises Refused."""
    return _Wait(request).reply()


class _Wait:
    """One look at jobs that are found once, so that a later job of a name does not take the place of the one that is waited for."""

    def __init__(self, request):
        self.request = request
        self.began = time.monotonic()
        self.here = _facts.Here()
        self.places = _listing.Places(request, self.here)
        self.found = [self.places.find(job) for job in request["jobs"]]
        self.documents = [{}] * len(self.found)
        self._settle(range(len(self.found)))
        self.follow = None
        if request["options"]["follow"] is not None:
            from ansible_collections.longhaul.jobs.plugins.module_utils._follow import Follow

            self.follow = Follow(request["options"]["follow"])

    def reply(self):
        until = self.began + self.request["hold"]
        has_slept = False
        while not self._is_over():
            left = until - time.monotonic()
            if left <= 0 or self._has_news():
                break
            has_slept = True
            if not self._sleep(min(left, FOLLOW_SECONDS) if self.follow else left):
                time.sleep(max(0.0, min(SPARE_SECONDS, until - time.monotonic())))
        if has_slept:
            self._settle(self._running())  # as they are by now
        if self.follow:
            for place, document in zip(self.found, self.documents):
                self.follow.add_to(document, *place)
        return {"schema": 1, "jobs": self.documents, "warnings": self.places.reasons}

    def _settle(self, numbers):
        for number in numbers:
            spool, jid = self.found[number]
            if spool is None:
                self.documents[number] = self.places.nowhere(self.request["jobs"][number])
            else:
                self.documents[number] = _answer.settle(spool, jid, self.here, not self.request["check"])[0]

    def _running(self):
        return [number for number, document in enumerate(self.documents) if not document["finished"]]

    def _is_over(self):
        when = self.request["options"]["return_when"]
        ended = [document for document in self.documents if document["finished"]]
        if len(ended) == len(self.documents) or (when == "first_finished" and ended):
            return True
        return when == "first_failed" and any(document.get("failed") for document in ended)

    def _has_news(self):
        if not self.follow or time.monotonic() - self.began < FOLLOW_LEAST:
            return False
        return any(self.follow.has_news(document, *place) for place, document in zip(self.found, self.documents))

    def _sleep(self, seconds):
        """Wait for an end, at most so long, and settle what has ended; whether it was of use to wait, or the time is up."""
        from ansible_collections.longhaul.jobs.plugins.module_utils import _hold

        running = self._running()
        until = time.monotonic() + seconds
        if self.request["options"]["return_when"] == "all_finished":
            ended = running[:1]
            _hold.until_ended(*self.found[ended[0]], self.here, seconds)
        else:
            ended = [running[at] for at in _hold.until_one_ended([self.found[number] for number in running], self.here, seconds)]
        self._settle(ended)
        return time.monotonic() >= until or all(self.documents[number]["finished"] for number in ended)
