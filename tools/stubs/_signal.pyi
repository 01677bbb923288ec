# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The C module behind signal, which the target's side imports because it is light; the type checker has no description of it.
from typing import Any

def __getattr__(name: str) -> Any: ...
