# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process for the supervisor, detached from session, terminal and descriptors, that waits for its code on a pipe.

It stands alone: on the direct way it is the head of a start's program, and the process is forked before anything else is
compiled, for what is in memory then is what the supervisor carries for as long as the job runs.
"""

import marshal
import os
import sys

PREFIX = "ansible_collections.longhaul.jobs.plugins.module_utils."
BOOT = PREFIX + "_boot"


class Supervisor:
    """The starter's end of the pipes to a supervisor's process that waits for its code."""

    def __init__(self, fresh=False):
        """Fork it, detached from session and descriptors; ``fresh``: it becomes a new interpreter, for a starter that has
        imported much."""
        import _signal as signal

        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by the caller, no child could be waited for
        while os.open(os.devnull, os.O_RDWR) < 3:
            pass  # a caller without descriptors 0 to 2: what is opened next must not become one of them
        down, self.down = os.pipe()
        self.up, up = os.pipe()
        stdin, self.stdin = os.pipe()
        self.pending = b""
        code, fill = os.pipe() if fresh else (-1, -1)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                if os.fork():
                    os._exit(0)
                if not fresh:
                    supervise(down, up, stdin)
                else:
                    os.close(fill)
                    for fd in (down, up, stdin, code):
                        os.set_inheritable(fd, True)
                    start = "import os; exec(os.fdopen(%d).read()); supervise(%d, %d, %d)" % (code, down, up, stdin)
                    os.execv(sys.executable, [sys.executable, "-ISE", "-c", start])
            finally:
                os._exit(1)
        for fd in (down, up, stdin):
            os.close(fd)
        os.waitpid(pid, 0)
        if fresh:  # written while it is read: a pipe of a user who has many is a small one
            os.close(code)
            _write(fill, sys.modules[__name__].__spec__.loader.get_source(__name__).encode("ascii"))
            os.close(fill)

    def send(self, data):
        """Raises OSError (EPIPE) when it is gone."""
        _write(self.down, data)

    def receive(self):
        """Its next line without the end, as text; empty when it is gone."""
        while b"\n" not in self.pending:
            more = os.read(self.up, 4096)
            if not more:
                return ""
            self.pending += more
        line, self.pending = self.pending.split(b"\n", 1)
        return line.decode("ascii")

    def let_go(self):
        """Close the starter's ends; the supervisor's process judges by its directory what that means."""
        for fd in (self.down, self.up, self.stdin):
            if fd >= 0:
                os.close(fd)
        self.down = self.up = self.stdin = -1


def _write(fd, data):
    while data:
        data = data[os.write(fd, data) :]


def make_boot(code):
    """The module _boot, made of its source or code, in its place among the modules."""
    module = type(sys)(BOOT)
    module.CODE = compile(code, BOOT, "exec", dont_inherit=True, optimize=2) if isinstance(code, str) else code
    sys.modules[BOOT] = module
    exec(module.CODE, module.__dict__)
    return module


def supervise(down, up, stdin):
    """The supervisor's process: let go of everything, wait for the code, run it. Never returns."""
    try:
        import _signal as signal

        # From here on TERM and CHLD are kept by the kernel until the supervisor asks for them: none is lost, none kills it.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM])
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        for fd in (down, up, stdin):
            os.set_inheritable(fd, False)
        _close_others((0, 1, 2, down, up, stdin))
        try:
            with open("/proc/self/comm", "w") as name:
                name.write("longhaul-job")
        except OSError:
            pass
        _write(up, b"%d\n" % os.getpid())
        size = b""
        while not size.endswith(b"\n"):
            more = os.read(down, 1)
            if not more:
                os._exit(0)
            size += more
        blob = b""
        while len(blob) < int(size):
            more = os.read(down, int(size) - len(blob))
            if not more:
                os._exit(0)
            blob += more
        code, modules, job = marshal.loads(blob)
        del blob, more
        boot = make_boot(code)
        sys.meta_path.insert(0, boot.Importer(modules))
        boot.load(PREFIX + "_supervisor").run(job, down, up, stdin)
    finally:
        os._exit(1)


def _close_others(keep):
    try:
        open_now = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        open_now = range(3, 1024)
    for fd in open_now:
        if fd not in keep:
            try:
                os.close(fd)
            except OSError:
                pass


def run(nonce, verb):
    """The only effect of the direct way's program: fork the supervisor's process, then carry out the request."""
    supervisor = Supervisor()
    boot = make_boot(globals()["BOOT_SOURCE"])
    boot.BLOB = globals()["BLOB"]
    boot.run(nonce, verb, supervisor=supervisor, payload=globals()["PAYLOAD"])
