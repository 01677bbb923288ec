# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The detached process: holds the job's lock, runs the payload, enforces the limit, writes the end (PROTOCOL sections 2 and 3).

It lives as long as the job, so it imports little and sleeps in one system call; without a limit nothing ever wakes it.
"""

import _signal as signal
import errno
import fcntl
import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _commit, _disk, _ended, _kill, _process, _record, _result, _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import dumps, write_all

WAKE_SECONDS = 60.0  # with a limit: how late a suspended machine may notice it after it wakes
PR_SET_CHILD_SUBREAPER = 36
BEGAN = b"!"
ALIASES = ("SIGCLD", "SIGIOT", "SIGPOLL")
SIGNALS = {getattr(signal, name): name[3:] for name in dir(signal) if name.startswith("SIG") and name[3] != "_" and name not in ALIASES}


def run(job, down, up, stdin):
    """The handshake with the starter, then the job, then the end. Never returns.

    ``job`` is what the starter made of its request (_launch.Launch.job), ``down`` and ``up`` the pipes from and to it.
    """
    supervisor = _Supervisor(job)
    try:
        if supervisor.take(down, up):
            supervisor.start(up, stdin)
            os.close(down)
            os.close(up)
            supervisor.end()
    except Exception as exc:
        supervisor.complain()
        supervisor.end_without_result(exc)
    os._exit(0)


def _line(fd):
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(fd, 1)
        if not more:
            return ""
        line += more
    return line.decode("ascii").strip()


def _tell(fd, text):
    try:
        write_all(fd, text.encode("ascii") + b"\n")
    except OSError:
        pass  # the starter is gone, which changes nothing once the request is taken


def _become_subreaper():
    """Orphans of the payload become children of this process, which can then find and reap them; needs Linux and no ctypes."""
    try:
        import _ctypes

        call = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
        _ctypes.call_function(call, (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
    except (ImportError, AttributeError, OSError):
        pass


class _Supervisor:
    def __init__(self, job):
        self.job = job
        self.record = job["record"]
        self.path = self.record["results_file"] + ".d"
        self.command = self.record["kind"] == "command"
        self.started = self.status = self.usage = self.lock = None
        self.reaped_at = 0.0

    def take(self, down, up):
        """Lock the directory that the starter has laid down and learn whether the request is taken."""
        new = self.job["new"]
        self.umask = os.umask(0o077)
        if _line(down) != "lock":
            _disk.remove(new)
            return False
        try:
            directory = os.stat(new).st_ino
            self.lock = os.open(new + "/lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False  # swept: nothing has begun
        _tell(up, "locked")
        word = _line(down)
        if word == "go":
            return True
        if word == "":
            try:
                taken = os.stat(self.path).st_ino == directory
            except OSError:
                taken = False
            if taken:
                try:
                    _disk.fsync_path(self.record["async_dir"])
                except OSError:
                    pass  # the request is taken: behind the rename nothing undoes that
                return True
            _disk.remove(new)
        return False

    def complain(self):
        """A fault of ours, or a disk that refuses an end: what happened goes beside the job, whose state is judged without us."""
        import traceback

        try:
            _disk.create(self.path + "/supervisor.log", traceback.format_exc().encode("utf-8", "replace"))
        except OSError:
            pass

    def start(self, up, stdin):
        """Fork the payload, commit its exec, publish the running job file and tell the starter."""
        _become_subreaper()
        # Nested jobs: an outer job's cancel must see that this supervisor is another's (PROCESS-FACTS section 4).
        marked = _kill.set_mark(self.record["mark"])
        go, let_go = os.pipe()
        failure, tell_failure = os.pipe()
        try:
            pid = os.fork()
        except OSError as exc:
            self._never_started(exc.errno, "the payload's process could not be made", up)
        if pid == 0:
            os.close(self.lock)
            os.close(let_go)
            self._child(go, tell_failure, stdin)
        for fd in (go, tell_failure, stdin):
            os.close(fd)
        os.chdir("/")
        self.started = dict(_process.identity(pid), wall=time.time(), clock=_process.boot_clock(), marked=marked)
        _disk.fill(self.path + "/started.new", dumps(self.started).encode("ascii"))
        os.rename(self.path + "/started.new", self.path + "/started.json")
        _tell(let_go, "x")
        os.close(let_go)
        why = b""
        while True:
            more = os.read(failure, 4096)
            if not more:
                break
            why += more
        os.close(failure)
        began, why = why[:1] == BEGAN, why.lstrip(BEGAN)
        if why:
            number, name = why.decode("utf-8", "replace").split(" ", 1)
            self._never_started(int(number), "Error executing %s" % name, up)
        if not began:
            _disk.remove(self.path + "/started.json")
            self._never_started(errno.EINTR, "the payload's process was killed before it executed anything", up)
        self._publish()
        _tell(up, "started")

    def _child(self, go, tell_failure, stdin):
        """The payload's process up to its exec."""
        try:
            os.setsid()
            os.umask(self.umask)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            if not os.read(go, 1) and not os.path.exists(self.path + "/started.json"):
                os._exit(1)
            try:
                self._exec(stdin, tell_failure)
            except Exception as exc:
                os.unlink(self.path + "/started.json")
                name = getattr(exc, "filename", None) or self.job["argv"][0]
                write_all(tell_failure, b"%d %s" % (getattr(exc, "errno", None) or errno.EINVAL, os.fsencode(name)))
        finally:
            os._exit(1)

    def _exec(self, stdin, tell_failure):
        out = "stdout" if self.command else "result.raw"
        for fd, name in ((1, out), (2, "stderr")):
            os.dup2(os.open(self.path + "/" + name, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW), fd)
        if self.job["feed"]:
            os.dup2(stdin, 0)
        if self.job["cwd"]:
            os.chdir(self.job["cwd"])
        argv, environment = self.job["argv"], self.job["environment"]
        write_all(tell_failure, BEGAN)  # the last before the exec: without it the end of that pipe is a death, not an exec
        if b"/" in argv[0]:
            os.execve(argv[0], argv, environment)
        worst = errno.ENOENT
        for folder in environment.get(b"PATH", os.defpath.encode("ascii")).split(b":"):
            try:
                os.execve((folder or b".") + b"/" + argv[0], argv, environment)
            except OSError as exc:
                if exc.errno not in (errno.ENOENT, errno.ENOTDIR):
                    worst = exc.errno
        raise OSError(worst, os.strerror(worst), argv[0])

    def _never_started(self, number, what, up):
        """Commit that the payload was never exec'ed, and why. Does not return."""
        reason = "%s: %s" % (what, os.strerror(number))
        self._commit("lost", "never_started", {"rc": number, "msg": reason, "changed": False}, {"reason": reason})
        _tell(up, "failed")
        os._exit(0)

    def _publish(self):
        """Put the unfinished job file, whose space was laid down at the start, into its place."""
        document = _record.running(self.record, self.started)
        try:
            _disk.fill(self.path + "/running", dumps(document).encode("ascii"))
            os.rename(self.path + "/running", self.record["results_file"])
        except OSError:
            pass  # a full disk and labels larger than the space: the directory tells all readers but core's

    def reap(self):
        """Collect every child that has died; a subreaper gets strangers too."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.started["pid"]:
                self.status, self.usage, self.reaped_at = status, usage, time.time()

    def end(self):
        """Wait for the payload's end, the limit or a TERM, whichever is first; commit what came of it."""
        limit = self.record["time_limit"]
        deadline = None if limit is None else self.started["clock"] + limit
        wanted = (signal.SIGCHLD, signal.SIGTERM)
        told = None
        while True:
            self.reap()
            if self.status is not None:
                return self._own_end()
            if told is not None and told.si_signo == signal.SIGTERM:
                return self._terminated()
            if deadline is None:
                told = signal.sigwaitinfo(wanted)
                continue
            left = deadline - _process.boot_clock()
            if left <= 0:
                return self._ended_by_force("timed_out", "time_limit", signal.SIGTERM, self.record["grace"])
            told = signal.sigtimedwait(wanted, min(left, WAKE_SECONDS))

    def _terminated(self):
        try:
            cancel = _record.filled(_spool.read_file(self.path + "/cancel"))
        except OSError:
            cancel = None
        if cancel:
            known = {"reason": cancel.get("reason")}
            return self._ended_by_force("cancelled", "cancelled", cancel["signal"], cancel["grace"], known)
        return self._ended_by_force("failed", "supervisor_terminated", signal.SIGTERM, self.record["grace"])

    def _ended_by_force(self, state, cause, number, grace, known=None):
        tree = _kill.Tree(self.record["jid"], self.record["mark"], self.started, self.record["supervisor"])
        survivors, verified = tree.end(number, grace, self.reap)
        if self.status is None and not survivors:  # not reaped, so it lives, though it is not ours to see (hidepid)
            survivors, verified = (
                tree.describe({self.started["pid"]: None}) or [{"pid": self.started["pid"], "user": None, "command": None}],
                False,
            )
        known = dict(known or {}, survivors=survivors, verified=verified)
        result = {"changed": True}
        if self.status is not None:
            result["rc"] = self._rc()
        if self.command:
            texts, sizes, warnings = _result.streams(self.path, self.job["strip"])
            result.update(texts)
            known.update(sizes)
        self._commit(state, cause, result, known)

    def _own_end(self):
        rc, known = self._rc(), {}
        cause = "exited" if rc >= 0 else "signaled"
        if not self.command:
            state, why, result = _result.module(self.path, rc)
            cause = why or cause
            if state == "failed" and rc < 0 and "module_stderr" in result:
                result["msg"] = "the module was ended by signal %s and left no result" % SIGNALS.get(-rc, -rc)
        elif self.job["skip"] is not None:
            state, result = "succeeded", self.job["skip"]
        else:
            texts, known, warnings = _result.streams(self.path, self.job["strip"])
            result = dict(_result.command(self.job["shown"], rc, self.started["wall"], self.reaped_at), **texts)
            if warnings:
                result["warnings"] = warnings
            state = "succeeded" if rc == 0 else "failed"
        self._commit(state, cause, result, known)

    def end_without_result(self, fault):
        """The last resort: what came of the payload is known, but not to be put into a result."""
        if self.status is None:
            return
        try:
            end = _record.complete_end(_spool.read_file(self.path + "/end.new"))
            if end:  # it was made, and only its rename has failed
                return _commit.adopt(self.path, end[1])
            result = {"changed": True, "msg": "the job's result could not be made: %s" % type(fault).__name__}
            self._commit("failed", "exited" if self._rc() >= 0 else "signaled", dict(result, rc=self._rc()), {})
        except Exception:
            pass  # then the end is judged from what can be seen

    def _rc(self):
        """Exit code, or -N for signal N."""
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else -os.WTERMSIG(self.status)

    def _commit(self, state, cause, result, known):
        if self.status is not None:
            rc = self._rc()
            known.update(rc=rc, signal=SIGNALS.get(-rc) if rc < 0 else None)
            known.update(cpu_seconds=round(self.usage.ru_utime + self.usage.ru_stime, 3))
            known.update(peak_memory_bytes=self.usage.ru_maxrss * 1024)
        known.setdefault("stdout_bytes", _spool.size(self.path + "/stdout"))
        known.setdefault("stderr_bytes", _spool.size(self.path + "/stderr"))
        document = _ended.ended(self.record, self.started, state, cause, result, **known)
        _commit.commit(self.path, document, self.command)
