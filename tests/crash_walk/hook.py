# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The crash walk's hook: it stands in front of the engine's program and watches each step of it, and at one step strikes.

A step is a call by which the engine changes what others can see, or waits for them: files and locks in the async dir, forks, signals,
words between starter and supervisor. The functions are replaced in the interpreter that runs the engine, and forks inherit that, so
the engine itself knows nothing of it. Every step is noted in the trail; steps are told apart by role, label and how often the label
has come in that role.
"""

from __future__ import annotations

import _signal as signal
import builtins
import errno
import fcntl
import os
import resource
import time

TYPE_CHECKING = False  # the typing module would cost each program ten milliseconds
if TYPE_CHECKING:
    import typing as t
    from collections.abc import Callable

CHILDREN = {"starter": ("middle", "feeder"), "middle": ("supervisor",), "supervisor": ("payload",)}
SIGNALS = {9: "KILL", 15: "TERM", 18: "CONT"}


class Hook:
    """``role`` is who this process is in the protocol, ``strike`` the step to strike at and how: [role, label, nth, how]."""

    def __init__(self, role: str, spool: str, jid: str, trail: str, strike: list[object] | None) -> None:
        self.role = role
        self.spool = spool
        self.jid = jid
        self.trail = trail
        self.strike = strike or []
        self.names: dict[int, str] = {1: "reply"}
        self.counts: dict[str, int] = {}
        self.forks = 0
        self.last = ""
        self.open, self.write, self.close, self.kill, self.fork = os.open, os.write, os.close, os.kill, os.fork
        self.pwrite = os.pwrite
        self.born()

    def note(self, *words: object) -> None:
        fd = self.open(self.trail, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.write(fd, ("\t".join(map(str, words)) + "\n").encode())
        self.close(fd)

    def born(self) -> None:
        with open("/proc/self/stat") as stream:
            start = stream.read().rpartition(")")[2].split()[19]
        self.note("born", self.role, os.getpid(), start)

    def name(self, path: t.Any) -> str:
        """Of what is in the async dir: its name without what differs from run to run; of all else: nothing."""
        text = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
        if text == self.spool:
            return "."
        if not text.startswith(self.spool + "/"):
            return ""
        parts = text[len(self.spool) + 1 :].replace(self.jid, "JID").split("/")
        for mark in (".new-", ".trash-"):
            if parts[0].startswith(mark):
                parts[0] = mark[:-1]
        return "/".join(parts)

    def step(self, label: str, act: Callable[[], t.Any], kind: str = "acts", half: Callable[[], object] | None = None) -> t.Any:
        """Do ``act`` as one step. Of kind: acts; waits (again and again the same is one step); makes, writes (take space); execs."""
        if kind == "waits" and label == self.last:
            return act()
        self.last = label
        nth = self.counts[label] = self.counts.get(label, 0) + 1
        self.note("step", self.role, label, nth, kind)
        if self.strike[:3] != [self.role, label, nth]:
            return act()
        how = self.strike[3]
        self.note("struck", self.role, label, nth, how)
        if half and how in ("torn", "no space"):
            half()
        if how == "no space":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), label)
        if how == "late":
            while not os.path.exists(self.trail + ".go"):
                time.sleep(0.005)
            return act()
        if how == "after":
            done = act()
            if label == "fork" and not done:
                return done
        self.kill(os.getpid(), signal.SIGKILL)
        while True:
            time.sleep(1)

    def on_path(self, module: t.Any, function: str, kind: str = "acts") -> None:
        """Steps that are told by the path, or the two, that they begin with."""
        real = getattr(module, function)

        def instead(path: t.Any, *rest: t.Any, **named: t.Any) -> t.Any:
            label = self.name(path)
            if not label:
                return real(path, *rest, **named)
            if function == "rename":
                label += " -> " + self.name(rest[0])
            return self.step(f"{function} {label}", lambda: real(path, *rest, **named), kind)

        setattr(module, function, instead)

    def on_open(self, path: t.Any, flags: int, mode: int = 0o777) -> int:
        def act() -> int:
            fd = self.open(path, flags, mode)
            self.names[fd] = label
            return fd

        label = self.name(path)
        fd: int = self.step("create " + label, act, "makes") if label and flags & os.O_CREAT else act()
        return fd

    def on_write(self, fd: int, data: t.Any) -> int:
        name, count = self.names.get(fd, ""), len(data)

        def half() -> object:
            return self.write(fd, data[: count // 2])

        if name == "pipe":
            word = "".join(c for c in bytes(data[:16]).decode("ascii", "replace").strip() if c.isalpha()) if count < 16 else "much"
            word = "exec comes next" if data == b"!" else word
            written = self.step("send " + (word or "its pid"), lambda: self.write(fd, data))
        elif name:
            written = self.step("write " + name, lambda: self.write(fd, data), "replies" if name == "reply" else "writes", half)
        else:
            written = self.write(fd, data)
        return int(written)

    def on_pwrite(self, fd: int, data: bytes, at: int) -> int:
        name = self.names.get(fd, "")
        real = self.pwrite
        if not name:
            return real(fd, data, at)
        return int(self.step("write " + name, lambda: real(fd, data, at), "writes", lambda: real(fd, data[: len(data) // 2], at)))

    def on_fork(self) -> int:
        def act() -> int:
            pid = self.fork()
            if pid == 0:
                names = CHILDREN.get(self.role, ())
                self.role = names[self.forks] if self.forks < len(names) else self.role + "'s child"
                self.counts, self.forks, self.last = {}, 0, ""
                self.born()
            else:
                self.forks += 1
            return pid

        return int(self.step("fork", act))

    def on_kill(self, function: str) -> None:
        real = getattr(os, function)

        def instead(pid: int, number: int) -> None:
            if number:
                self.step("kill " + SIGNALS.get(number, str(number)), lambda: real(pid, number))
            else:
                real(pid, number)

        setattr(os, function, instead)

    def on_flock(self) -> None:
        real = fcntl.flock

        def instead(fd: t.Any, how: int) -> None:
            if how == fcntl.LOCK_SH | fcntl.LOCK_NB:
                real(fd, how)  # a reader's probe: it changes nothing
            else:
                self.step(f"lock {self.names.get(fd, '')}", lambda: real(fd, how), "waits")

        self.put(fcntl, flock=instead)

    def on_descriptor(self, function: str, kind: str) -> None:
        """Steps that are told by the name of an open file."""
        real = getattr(os, function)

        def instead(fd: int, *rest: t.Any) -> t.Any:
            name = self.names.get(fd, "")
            if not name or (function == "read" and name != "pipe"):
                return real(fd, *rest)
            return self.step(f"{function} {name}", lambda: real(fd, *rest), kind)

        setattr(os, function, instead)

    def on_plain(self, module: t.Any, function: str, label: str, kind: str = "acts") -> None:
        real = getattr(module, function)
        setattr(module, function, lambda *given: self.step(label, lambda: real(*given), kind))

    def keep_names(self) -> None:
        """Know what each descriptor is of."""
        pipe, dup2, close, real_open = os.pipe, os.dup2, os.close, builtins.open

        def on_pipe() -> tuple[int, int]:
            both = pipe()
            self.names.update(dict.fromkeys(both, "pipe"))
            return both

        def on_dup2(fd: int, to: int, *rest: t.Any) -> int:
            self.names[to] = self.names.get(fd, "")
            return dup2(fd, to, *rest)

        def on_close(fd: int) -> None:
            name = self.names.pop(fd, "")
            if name.endswith("/lock") and self.role == "payload":
                self.step("close " + name, lambda: close(fd))
            else:
                close(fd)

        def on_builtin_open(path: t.Any, *rest: t.Any, **named: t.Any) -> t.Any:
            stream = real_open(path, *rest, **named)
            self.names[stream.fileno()] = self.name(path)
            return stream

        self.put(os, pipe=on_pipe, dup2=on_dup2, close=on_close)
        self.put(builtins, open=on_builtin_open)

    @staticmethod
    def put(module: t.Any, **functions: t.Any) -> None:
        for name, function in functions.items():
            setattr(module, name, function)

    def switch_on(self) -> None:
        """Put the hook in the place of the functions."""
        for function, kind in (("mkdir", "makes"), ("rename", "makes"), ("unlink", "acts"), ("rmdir", "acts"), ("chmod", "acts")):
            self.on_path(os, function, kind)
        self.put(os, open=self.on_open, write=self.on_write, pwrite=self.on_pwrite, fork=self.on_fork)
        self.on_kill("kill")
        self.on_kill("killpg")
        self.on_flock()
        self.on_descriptor("fsync", "makes")
        self.on_descriptor("ftruncate", "acts")
        self.on_descriptor("read", "waits")
        self.on_plain(os, "setsid", "setsid")
        self.on_plain(os, "execve", "exec", "execs")
        self.on_plain(os, "wait4", "reap", "waits")
        self.on_plain(os, "waitpid", "reap", "waits")
        self.on_plain(signal, "sigwaitinfo", "wait for a signal", "waits")
        self.on_plain(signal, "sigtimedwait", "wait for a signal", "waits")
        self.on_plain(resource, "setrlimit", "mark")
        self.keep_names()
