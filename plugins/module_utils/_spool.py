# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The async dir: where it is, which ids it knows, who may use it, its locks and its durable writes (PROTOCOL section 1)."""

import errno
import fcntl
import os
import stat

from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused, write_all

FALLBACK = "/var/tmp/.longhaul-%d"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
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
    return os.path.normpath(async_dir) if async_dir.startswith("/") else ""


def _why_not(path):
    """Why the directory at ``path`` cannot be trusted with jobs, in words, or None. Raises OSError where there is none."""
    link, found = os.lstat(path), os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        return "is not a directory"
    for owner in (link.st_uid, found.st_uid):
        if owner != os.geteuid():
            return "belongs to another user (uid %d)" % owner
    if found.st_mode & 0o022:
        return "is writable for others (mode %04o)" % stat.S_IMODE(found.st_mode)
    return None


def for_questions(async_dirs):
    """The async dirs of these that exist and are ours, in the order given; ([paths], [reasons against the others])."""
    good, bad = [], []
    for path in filter(None, map(expand, async_dirs)):
        try:
            why = _why_not(path)
        except OSError as exc:
            why = None if exc.errno in (errno.ENOENT, errno.ENOTDIR) else "cannot be read (%s)" % exc.strerror
            if why is None:
                continue
        if why:
            bad.append("%s %s" % (path, why))
        else:
            good.append(path)
    return good, bad


def for_start(async_dirs):
    """The first of these async dirs that can be written, made if need be, mode 0700. Raises Refused."""
    reasons = []
    for asked in async_dirs:
        path = expand(asked)
        if not path:
            reasons.append("%s is not an absolute path and not in a known home" % asked)
            continue
        try:
            _make(path)
            why = _why_not(path)
            if why:
                raise Refused("the async dir %s %s; nothing was started" % (path, why))
            os.chmod(path, 0o700)
            if os.access(path, os.R_OK | os.W_OK | os.X_OK):
                return path
            reasons.append("%s cannot be written" % path)
        except OSError as exc:
            reasons.append("%s: %s" % (path, exc.strerror))
    raise Refused("no async dir can be used (%s); nothing was started" % "; ".join(reasons))


def _make(path):
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for path in reversed(missing):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass


def read_file(path, limit=None):
    """The bytes of a plain file of ours, at most ``limit`` of them, or None where there is none. Raises OSError."""
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
        while left > 0:
            part = os.read(fd, min(left, 1 << 20))
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def fsync_path(path):
    """Flush a file or a directory to the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def create(path, data=b"", sync=False, mode=0o600):
    """Make a new file with these bytes. Raises OSError (EEXIST too)."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        write_all(fd, data)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def replace(path, data):
    """Put a file with these bytes in one step in the place of ``path``; not flushed. Raises OSError."""
    new = "%s.%d" % (path, os.getpid())
    create(new, data)
    os.rename(new, path)


def remove_tree(path):
    """Remove a directory of files; what is gone already is no fault. Raises OSError."""
    try:
        for name in os.listdir(path):
            os.unlink(path + "/" + name)
        os.rmdir(path)
    except FileNotFoundError:
        pass


def lock(path, wait=True):
    """Lock an existing file exclusively: its descriptor, or None (not there; with ``wait`` False also: held). Raises OSError.

    Closing the descriptor lets go of it; nothing ever unlocks explicitly, which would free it under a forked child too.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(fd)
        if exc.errno in (errno.EAGAIN, errno.EACCES) and not wait:
            return None
        raise
    return fd


def probe(path):
    """HELD, FREE, MISSING or DENIED. Shared and never waiting: an exclusive probe makes other readers see a life."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as exc:
        return MISSING if exc.errno in (errno.ENOENT, errno.ENOTDIR) else DENIED
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return FREE
    except OSError as exc:
        return HELD if exc.errno in (errno.EAGAIN, errno.EACCES) else DENIED
    finally:
        os.close(fd)


def file_system(path):
    """Type of the file system of ``path`` as the kernel names it (ext4, tmpfs, nfs4); empty where that cannot be seen."""
    try:
        device = os.stat(path).st_dev
        wanted = "%d:%d" % (os.major(device), os.minor(device))
        with open("/proc/self/mountinfo") as mounts:
            for line in mounts:
                fields = line.split()
                if fields[2] == wanted:
                    return fields[fields.index("-") + 1]
    except (OSError, ValueError, IndexError):
        pass
    return ""


def volatile(path):
    """Whether a reboot empties the file system of ``path``."""
    return file_system(path) in ("tmpfs", "ramfs")


def local(path):
    """Whether the file system of ``path`` is for certain on a disk, or in the memory, of this machine alone."""
    return file_system(path) in ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "tmpfs", "ramfs")


def full(path):
    """Whether no block is left for this user on the file system of ``path``."""
    try:
        return os.statvfs(path).f_bavail == 0
    except OSError:
        return False
