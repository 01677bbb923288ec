# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible_collections.longhaul.jobs`` made importable for all tests; tests/unit has one of its own, for ansible-test."""

from __future__ import annotations

import sys
from pathlib import Path


def _install_the_collection_finder() -> None:
    if any(type(finder).__name__ == "_AnsibleCollectionFinder" for finder in sys.meta_path):
        return
    from ansible.plugins.loader import init_plugin_loader

    above = Path(__file__).absolute().parents[3]
    init_plugin_loader([str(above.parent)] if above.name == "ansible_collections" else [])


_install_the_collection_finder()
