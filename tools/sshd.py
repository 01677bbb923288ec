# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An sshd of one's own on loopback, for tests: own port, keys and configuration, all in a scratch folder.

As a command: ``sshd.py FOLDER COMMAND…`` runs COMMAND while the server lives, with LONGHAUL_SSH_PORT, LONGHAUL_SSH_KEY and
LONGHAUL_SSH_KNOWN_HOSTS in its environment.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TypeVar

_Self = TypeVar("_Self", bound="Sshd")
_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"
_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/client_key.pub
PidFile none
LogLevel ERROR
MaxSessions 100
MaxStartups 100
KbdInteractiveAuthentication no
PasswordAuthentication no
PermitRootLogin prohibit-password
PermitUserEnvironment no
PubkeyAuthentication yes
StrictModes no
Subsystem sftp internal-sftp
UseDNS no
UsePAM no
{extra}
"""


def binary() -> str | None:
    """The full path of sshd (which wants to be started by it), or None."""
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":" + _FOLDERS)


class Sshd:
    """A context manager: the server lives inside ``with``. ``port``, ``key``, ``known_hosts`` and ``user`` say how to reach it."""

    def __init__(self, folder: str | Path, extra: str = "") -> None:
        self.folder = Path(folder).absolute()
        self.extra = extra
        self.key = self.folder / "client_key"
        self.known_hosts = self.folder / "known_hosts"
        self.log = self.folder / "sshd.log"
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self: _Self) -> _Self:
        sshd = binary()
        if sshd is None:
            raise RuntimeError("there is no sshd here: install openssh-server")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("host_key", "client_key"):
            if not (self.folder / name).exists():
                words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "longhaul tests", "-f", str(self.folder / name)]
                subprocess.run(words, check=True)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for _attempt in range(5):
            if self._listen(sshd):
                public = (self.folder / "host_key.pub").read_text().split()
                self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")
                return self
        raise RuntimeError(f"sshd does not start: {self.log.read_text()[-2000:]}")

    def _listen(self, sshd: str) -> bool:
        """One try with a port that was free a moment ago."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = self.folder / "sshd_config"
        # Without root sshd may not hand a terminal over, and would end the session that asks for one.
        extra = self.extra if os.getuid() == 0 else f"PermitTTY no\n{self.extra}"
        config.write_text(_CONFIG.format(port=self.port, folder=self.folder, extra=extra))
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return True
            except OSError:
                time.sleep(0.02)
        self._end()
        return False

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        """End the server and the sshd of each session, so that no client's master connection stays behind; jobs are no part of them."""
        if self._process is None:
            return
        sessions = self.sessions()
        self._process.kill()
        self._process.wait()
        for pid in sessions:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process = None

    def variables(self) -> dict[str, str]:
        """What a command is told of the server, in its environment."""
        return {
            "LONGHAUL_SSH_PORT": str(self.port),
            "LONGHAUL_SSH_KEY": str(self.key),
            "LONGHAUL_SSH_KNOWN_HOSTS": str(self.known_hosts),
        }

    def sessions(self) -> list[int]:
        """The pids of the server's own processes that serve sessions."""
        parents: dict[int, tuple[int, str]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    head, _sep, tail = Path("/proc", entry, "stat").read_text().rpartition(")")
                except OSError:
                    continue
                parents[int(entry)] = (int(tail.split()[1]), head.partition("(")[2])
        found: list[int] = []
        known = {self._process.pid} if self._process is not None else set()
        while True:
            more = [pid for pid, (parent, name) in parents.items() if parent in known and pid not in known and name.startswith("sshd")]
            if not more:
                return found
            found += more
            known.update(more)


def main() -> int:
    """Run a command while a server lives; its exit status."""
    if len(sys.argv) < 3:
        sys.stderr.write(__doc__ or "")
        return 2
    with Sshd(sys.argv[1]) as server:
        return subprocess.run(sys.argv[2:], env={**os.environ, **server.variables()}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
