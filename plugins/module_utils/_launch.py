# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting a job: lay down its directory, take the request with one rename, hand over to the supervisor (PROTOCOL section 2).

Two commits decide whatever dies in between: the rename to <jid>.d (the request is taken) and started.json (the payload will
be exec'ed). A start is idempotent by its jid: a repeat meets what the first attempt has made.
"""

import errno
import marshal
import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _command, _commit, _disk, _kill, _process, _record, _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import PREFIX, Refused, dumps

F_SETPIPE_SZ = 1031
CANCEL_BYTES = 4 << 10
STARTED_BYTES = 512
RUNNING_BYTES = 8 << 10
DEAD = "the supervisor's process died at its start; nothing was started"
MEET_SECONDS = 20.0  # for a repeat: how long the first attempt's handshake may take before it is judged as it stands
# What runs in the supervisor; _boot is there already. A test compares it with the imports.
SUPERVISOR = ("_commit", "_disk", "_ended", "_kill", "_output", "_process", "_record", "_result", "_spool", "_supervisor")


class Launch:
    """One attempt to start one job."""

    def __init__(self, request, spool, here, supervisor, payload, cwd):
        """``supervisor`` is a _detach.Supervisor that waits for its code, ``payload`` the bytes of a module, ``cwd`` where the job is to
        run (bytes), None for where the supervisor is."""
        self.jid = request["jobs"][0]["jid"]
        self.attempt = request["attempt"]
        self.options = request["options"]
        self.spool = spool
        self.here = here
        self.supervisor = supervisor
        self.payload = payload
        self.cwd = cwd
        self.path = "%s/%s.d" % (spool, self.jid)
        self.new = "%s/.new-%s-%s" % (spool, self.jid, os.urandom(4).hex())
        self.command = self.options["payload"]["kind"] == "command"
        self.fed = False
        self.claim = self.fingerprint = self.holder = None  # with a name: the claim while it is held, what tells the work, who held it
        # Whatever is wrong with the request is found here, before anything is laid down.
        self.prepared = _command.prepare(self.options["payload"]) if self.command else None
        self.environment = self._environment()
        self.argv = self._argv()

    def start(self):
        """Start the job, or meet an earlier attempt, or the job that holds its name: the id of the job that answers.

        Raises Refused; OSError for the disk.
        """
        if os.path.isdir(self.path):
            return self._met()
        try:
            self.fed = self.feed()  # before the name is claimed: who feeds on must not hold that
            if self.options["name"]:
                from ansible_collections.longhaul.jobs.plugins.module_utils import _holder

                self.fingerprint = _holder.fingerprint(self.spool, self.options["work"], (self.prepared or {}).get("cwd") or self.cwd)
                self.claim = _holder.claim(self)
        except OSError as exc:
            raise self._refusal(exc) from exc
        try:
            return self._start()
        finally:
            if self.claim:
                self.claim.close()

    def _refusal(self, exc):
        if isinstance(exc, BrokenPipeError):
            return Refused(DEAD)
        ended = "; job %s, which held the name, was ended before" % self.holder.jid if self.holder and self.holder.replaced else ""
        return Refused("no job can be laid down in %s: %s; nothing was started%s" % (self.spool, exc.strerror, ended))

    def _start(self):
        if os.path.isdir(self.path):  # again, now that nobody else starts by the name
            return self._met()
        held_by = self.claim and self.claim.holder()
        if held_by not in (None, self.jid) and self._is_answered_by(held_by):
            self.supervisor.let_go()
            return held_by
        pid = int(self.supervisor.receive() or 0)
        if not pid:
            raise Refused(DEAD)
        record = self.record(pid)
        umask = os.umask(0o077)
        try:
            code = marshal.dumps((_boot_code(), _code(), self.job(record)))
            self.supervisor.send(b"%d\n" % len(code) + code)
            self.lay_down(record)
            self.supervisor.send(b"lock\n")
            if self.supervisor.receive() != "locked":
                raise Refused(DEAD)
            for path in ("/job.json", "/end.new", ""):
                _disk.fsync_path(self.new + path)
            if self.claim:
                self.claim.write(self.jid)  # before the rename: whoever finds this id and no directory finds the name free
            taken = self.take()
        except Exception as exc:
            self.supervisor.let_go()
            _disk.remove(self.new)
            if isinstance(exc, OSError):
                raise self._refusal(exc) from exc
            raise
        finally:
            os.umask(umask)
        told = ""
        if taken:
            try:  # the request is taken: what fails from here on does not undo that
                _disk.fsync_path(self.spool)
            except OSError:
                pass
            try:
                self.supervisor.send(b"go\n")
                told = self.supervisor.receive()
            except OSError:
                pass
        if not told:
            self.meet(self.jid)  # an earlier attempt was faster, or the supervisor is gone: what can be seen decides
        return self.jid

    def _met(self):
        self.supervisor.let_go()
        self.meet(self.jid)
        return self.jid

    def _is_answered_by(self, jid):
        """Whether the job that holds the name answers this start; else it has ended. Raises Refused."""
        from ansible_collections.longhaul.jobs.plugins.module_utils import _holder

        if self.options["if_running"] != "replace":
            self.meet(jid)
        self.holder = _holder.Holder(self, jid)
        return self.holder.answers()

    def take(self):
        """The rename that takes the request; False where an earlier attempt was faster."""
        try:
            os.rename(self.new, self.path)
            return True
        except OSError as exc:
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        try:
            self.supervisor.send(b"drop\n")
        except OSError:
            pass
        self.supervisor.let_go()
        _disk.remove(self.new)
        return False

    def meet(self, jid):
        """Wait until a job that another has started is past its handshake: an end, the payload exec'ed, or nobody left."""
        results_file = "%s/%s" % (self.spool, jid)
        path = results_file + ".d"
        until = time.monotonic() + MEET_SECONDS
        while time.monotonic() < until:
            if os.path.exists(results_file) or not os.path.isdir(path):
                return
            started = None
            try:
                started = _record.started(_spool.read_file(path + "/started.json"))
            except OSError:
                pass
            living = _process.alive(started)
            if living and _process.has_cookie(started["pid"], jid):
                return
            if _spool.probe(path + "/lock") != _spool.HELD and not living:
                return
            time.sleep(0.01)

    def record(self, supervisor_pid):
        """The job's record."""
        options = self.options
        record = _record.blank(self.jid, self.spool, self.here)
        record.update((key, options[key]) for key in ("name", "labels", "module", "no_log", "time_limit", "grace", "retain"))
        record.update(
            kind=options["payload"]["kind"],
            fingerprint=self.fingerprint,
            mark=_kill.new_mark(),
            supervisor=_process.identity(supervisor_pid),
        )
        return record

    def job(self, record):
        """What the supervisor needs besides the record; it goes through a pipe and is never on the disk."""
        job = {"new": self.new, "record": record, "environment": self.environment, "argv": self.argv}
        job.update(skip=None, cwd=self.cwd, strip=True, shown=None)
        if self.command:
            job.update((key, self.prepared[key]) for key in ("shown", "skip", "strip"))
            job["cwd"] = self.prepared["cwd"] or self.cwd
        job["feed"] = self.fed
        return job

    def _argv(self):
        """The payload's words, as bytes. Raises Refused."""
        payload = self.options["payload"]
        if self.command:
            words = ["/bin/sh", "-c", ":"] if self.prepared["skip"] is not None else self.prepared["argv"]
        else:
            words = payload["words"]
            if payload["style"] != "given":  # an interpreter's words as the shell would take them that core puts them before, unquoted
                words = [os.path.expandvars(os.path.expanduser(word)) for word in words]
            if payload["style"] == "file":
                words += [self.path + "/" + name for name in self._files()]
        if not words or not words[0]:
            raise Refused("there is nothing to execute; nothing was started")
        return [_bytes(word, "the command") for word in words]

    def _files(self):
        return ["module"] if self.options["payload"]["args"] is None else ["module", "args"]

    def _environment(self):
        """The payload's environment, as bytes. Raises Refused."""
        found = dict(os.environb)
        added = dict(self.options["environment"], LONGHAUL_JID=self.jid, LONGHAUL_PROGRESS=self.path + "/progress")
        for name, value in added.items():
            if not name or "=" in name:
                raise Refused("environment: %r is not a variable's name; nothing was started" % name)
            found[_bytes(name, "environment")] = _bytes(value, "environment")
        return found

    def feed(self):
        """Put what the payload reads into its standard input and close it; False for nothing, which means /dev/null.

        Filled here, before anybody reads, so that the supervisor never holds a module and never waits for a payload to read.
        """
        import fcntl

        if self.command:
            data = self.prepared["stdin"]
        else:
            data = self.payload if self.options["payload"]["style"] == "new" else None
        pipe, self.supervisor.stdin = self.supervisor.stdin, -1
        if data is None:
            os.close(pipe)
            return False
        try:
            fcntl.fcntl(pipe, F_SETPIPE_SZ, max(len(data), 4096))
        except OSError:
            pass
        os.set_blocking(pipe, False)
        written = 0
        try:
            while written < len(data):
                written += os.write(pipe, data[written:])
        except BlockingIOError:
            self.forked_feeder(pipe, data[written:])
        except BrokenPipeError:
            pass  # the supervisor's process has died, which will show
        os.close(pipe)
        return True

    def forked_feeder(self, pipe, data):
        """What does not fit into a pipe at all is written by a process of its own, which ends with the payload's reading."""
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                if os.fork():
                    os._exit(0)
                os.set_blocking(pipe, True)
                null = os.open(os.devnull, os.O_RDWR)
                for fd in (0, 1, 2, self.supervisor.down, self.supervisor.up):
                    os.dup2(null, fd)
                while data:
                    data = data[os.write(pipe, data) :]
            finally:
                os._exit(0)
        os.waitpid(pid, 0)

    def lay_down(self, record):
        """Make the directory with all that must exist before the request is taken. Raises OSError."""
        os.mkdir(self.new, 0o700)
        _disk.create(self.new + "/lock")
        _disk.create(self.new + "/verdict.lock")
        _disk.create(self.new + "/job.json", dumps(record).encode("ascii"))
        _disk.create(self.new + "/cancel", bytes(CANCEL_BYTES))
        _disk.create(self.new + "/end.new", bytes(_commit.RESERVE))
        _disk.create(self.new + "/started.new", bytes(STARTED_BYTES))
        _disk.create(self.new + "/running", bytes(RUNNING_BYTES))
        _disk.create(self.new + "/stderr")
        _disk.create(self.new + ("/stdout" if self.command else "/result.raw"))
        payload = self.options["payload"]
        if not self.command and payload["style"] == "file":
            contents = {"module": self.payload, "args": (payload["args"] or "").encode("utf-8", "surrogateescape")}
            for name in self._files():
                _disk.create(self.new + "/" + name, contents[name], mode=0o700 if name == "module" else 0o600)
        if payload.get("temporary"):  # what core has laid down for the module: goes with the job's end
            os.symlink(payload["temporary"], self.new + "/temporary")


def _bytes(text, what):
    """As the system takes it, whatever the locale. Raises Refused."""
    try:
        found = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        found = b"\0"
    if b"\0" in found:
        raise Refused("%s holds a character that no argument can hold (NUL, or half a surrogate pair); nothing was started" % what)
    return found


def _boot_code():
    """The code object of _boot, which the supervisor's process makes first of all."""
    import sys

    boot = sys.modules[PREFIX + "_boot"]
    return getattr(boot, "CODE", None) or boot.__spec__.loader.get_code(boot.__name__)


def _code():
    """{full name: code object} of what the supervisor runs, from whatever has loaded it here: memory, files or a zip."""
    import sys

    codes = {}
    for name in SUPERVISOR:
        name = PREFIX + name
        spec = getattr(sys.modules.get(name), "__spec__", None) or _find(name)
        codes[name] = spec.loader.get_code(name)
    return codes


def _find(name):
    import sys

    for finder in sys.meta_path:
        spec = finder.find_spec(name, getattr(sys.modules[PREFIX[:-1]], "__path__", None))
        if spec:
            return spec
    raise ImportError(name)
