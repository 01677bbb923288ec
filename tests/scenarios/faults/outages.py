# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three ways in which the hosts of a bed are not reached, all at once."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed

OUTAGE = 6.0  # seconds


@contextlib.contextmanager
def outage(bed: Bed, third: str) -> t.Iterator[None]:
    """h1 refuses, h2 is silent, h3 frozen or off, as ``third`` says; in the end all is well again."""
    try:
        bed.refuse("h1")
        bed.drop("h2")
        bed.freeze("h3") if third == "freeze" else bed.poweroff("h3")
        yield
    finally:
        bed.accept("h1")
        bed.undrop("h2")
        bed.thaw("h3") if third == "freeze" else bed.boot("h3")
