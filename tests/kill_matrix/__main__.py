# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m ansible_collections.longhaul.jobs.tests.kill_matrix [trials [core's trials]]``, in the folder of ansible_collections."""

from __future__ import annotations

import signal
import sys

from ansible_collections.longhaul.jobs.tests.kill_matrix import matrix

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as after Ctrl-C
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(matrix.main(*[*given, *(matrix.TRIALS, matrix.CORE_TRIALS)[len(given) :]]))
