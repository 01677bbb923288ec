# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The async dir: where it is, which ids it knows, who may use it, how it is read and how its locks are probed (PROTOCOL 1)."""

import errno
import fcntl
import os
import stat

FALLBACK = "/var/tmp/.longhaul-%d"
HELD, FREE, MISSING, DENIED = "held", "free", "missing", "denied"
_DIGITS = frozenset("0123456789")


def valid_jid(text):
    """Whether ``text`` is a job id: j, 1 to 12 digits, a dot, 1 to 20 digits. Nothing else ever becomes part of a path."""
    if not isinstance(text, str) or not text.startswith("j") or text.count(".") != 1:
        return False
    first, second = text[1:].split(".")
    return 1 <= len(first) <= 12 and 1 <= len(second) <= 20 and _DIGITS.issuperset(first + second)


def expand(async_dir):
    """The absolute path of an async dir as asked for; None stands for the fallback.

    ``~`` comes from the password database, not from $HOME: two tasks of one user must meet in one directory.
    """
    if async_dir is None:
        return FALLBACK % os.geteuid()
    if async_dir.startswith("~"):
        import pwd

        user, slash, rest = async_dir[1:].partition("/")
        try:
            home = (pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())).pw_dir
        except KeyError:
            return ""
        async_dir = home.rstrip("/") + slash + rest
    return native(os.path.normpath(async_dir)) if async_dir.startswith("/") else ""


def native(path):
    """A path as this interpreter opens it: an old one in the C locale knows no other names than it would have decoded itself."""
    return os.fsdecode(path.encode("utf-8", "surrogateescape"))


def why_not(path, write=True):
    """Why the directory at ``path`` cannot be trusted with jobs, in words, or None. Raises OSError where there is none.

    One that a login has left writable for its group is made ours alone, if we may ``write``.
    """
    link, found = os.lstat(path), os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        return "is not a directory"
    for owner, good in ((link.st_uid, (0, os.geteuid())), (found.st_uid, (os.geteuid(),))):
        if owner not in good:
            return "belongs to another user (uid %d)" % owner
    # Core makes it with the login's umask, which may let the user's own group write; more than that is nobody's habit.
    if found.st_mode & 0o002 or (found.st_mode & 0o020 and not shut(path, write)):
        return "is writable for others (mode %04o)" % stat.S_IMODE(found.st_mode)
    return None


def shut(path, write=True):
    """Make an async dir ours alone, unless it has other things than jobs in it; whether it is, or would be. Raises OSError."""
    if os.stat(path).st_mode & 0o077:
        if not all(_of_a_job(name) for name in os.listdir(path)):
            return False
        if write:
            os.chmod(path, 0o700)
    return True


def _of_a_job(name):
    if name in ("names", ".key") or name.startswith((".new-", ".trash-")):
        return True
    return any(valid_jid(name[: len(name) - len(end)]) for end in ("", ".d", ".tmp") if name.endswith(end))


def for_questions(async_dirs, write=True):
    """The async dirs of these that exist and are ours, in the order given; ([paths], [reasons against the others])."""
    good, bad = [], []
    for path in filter(None, map(expand, async_dirs)):
        try:
            why = why_not(path, write)
        except OSError as exc:
            why = None if exc.errno in (errno.ENOENT, errno.ENOTDIR) else "cannot be read (%s)" % exc.strerror
            if why is None:
                continue
        if why:
            bad.append("the async dir %s %s" % (path, why))
        else:
            good.append(path)
    return good, bad


def find(dirs, jid):
    """The first of these async dirs that knows the job, or None."""
    for spool in dirs:
        if os.path.lexists(spool + "/" + jid) or os.path.isdir("%s/%s.d" % (spool, jid)):
            return spool
    return None


def read_file(path, limit=None, tail=False):
    """The bytes of a plain file of ours, or None where there is none. Raises OSError.

    At most ``limit`` of them: the first, or with ``tail`` the last.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "not a plain file of this user", path)
        parts, left = [], found.st_size + 1 if limit is None else limit
        if tail and found.st_size > limit:
            os.lseek(fd, -limit, os.SEEK_END)
        while left > 0:
            asked = min(left, 1 << 20)
            parts.append(os.read(fd, asked))
            if len(parts[-1]) < asked:
                break
            left -= asked
        return b"".join(parts)
    finally:
        os.close(fd)


def probe(path):
    """HELD, FREE, MISSING or DENIED. Shared and never waiting: an exclusive probe makes other readers see a life."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as exc:
        return MISSING if exc.errno in (errno.ENOENT, errno.ENOTDIR) else DENIED
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return DENIED
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return FREE
    except OSError as exc:
        return HELD if exc.errno in (errno.EAGAIN, errno.EACCES) else DENIED
    finally:
        os.close(fd)


def size(path):
    """Bytes of a file; 0 where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
