# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written to the async dir: durable files, exclusive locks, the directory itself, and what kind of disk it is on."""

import errno
import fcntl
import os
import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused, write_all

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def for_start(async_dirs):
    """The first of these async dirs that can be written, made if need be, mode 0700. Raises Refused."""
    reasons = []
    for asked in async_dirs:
        path = _spool.expand(asked)
        if not path:
            reasons.append("%s is not an absolute path and not in a known home" % asked)
            continue
        try:
            _make(path)
            why = _spool.why_not(path)
            if why:
                raise Refused("the async dir %s %s" % (path, why))
            _spool.shut(path)
            if os.access(path, os.R_OK | os.W_OK | os.X_OK):
                return path
            reasons.append("%s cannot be written" % path)
        except OSError as exc:
            reasons.append("%s: %s" % (path, exc.strerror))
    raise Refused("no async dir can be used (%s)" % "; ".join(reasons))


def _make(path):
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for number, path in enumerate(reversed(missing), 1):
        try:
            os.mkdir(path, 0o700 if number == len(missing) else 0o755)
        except FileExistsError:
            pass


def fsync_path(path):
    """Flush a file or a directory to the disk, where its file system knows how to. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
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


def fill(path, data):
    """Put these bytes into a file that was laid down with room for them, and cut it to their length. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        write_all(fd, data)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def remove(path):
    """Remove a file, or a directory with all that is in it; what is gone already is no fault. Raises OSError."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            for name in os.listdir(path):
                remove(path + "/" + name)
            os.rmdir(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        pass


def lock(path, seconds):
    """Lock an existing file exclusively: its descriptor, or None where there is none. Raises OSError (EAGAIN: held for so long).

    Closing the descriptor lets go of it; nothing ever unlocks explicitly, which would free it under a forked child too.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.EACCES) or time.monotonic() > until:
                os.close(fd)
                raise
        time.sleep(0.005)


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
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_blocks > 0 and (found.f_bavail if os.geteuid() else found.f_bfree) == 0
