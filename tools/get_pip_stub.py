# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for get-pip.py where ansible-test cannot download it.

Put at ~/.ansible/test/cache/get_pip_<version with _>.py; gets pip's own options and
requirements (pip==X ...) as arguments. Uses the interpreter's bundled ensurepip, then the index.
"""

import ensurepip
import os
import subprocess
import sys

args = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
env = os.environ.copy()  # ensurepip sets PIP_CONFIG_FILE=/dev/null and drops PIP_* in ours
ensurepip.bootstrap()
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"] + args, env=env))
