# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names: a claim is a file of that name that holds the id of the newest job of it, on this host (PROTOCOL 1 and 2, step 3)."""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import Refused

LOCK_SECONDS = 20.0  # for which another may be waited for who starts by the name


def path(spool, here, name):
    """Where the claim of that name is. Names are per host: a home may be shared. Raises Refused."""
    if not isinstance(name, str) or "/" in name or name.startswith("."):
        raise Refused("%r is not a job's name" % (name,))
    return "%s/names/%s/%s" % (spool, here.host["machine_id"] or here.host["hostname"], name)


def holder(spool, here, name):
    """The id that the claim holds, or None. Raises OSError."""
    return _jid_in(_spool.read_file(path(spool, here, name), 64) or b"")


def _jid_in(data):
    line = data.split(b"\n")[0].decode("ascii", "replace")
    return line if _spool.valid_jid(line) else None


def lock_in_place(path, seconds):
    """Lock a file exclusively that then still is the file at that path, since who removes it does so under its lock.

    Its descriptor, or None where there is none. Raises OSError, EAGAIN where another holds it for so long.
    """
    from ansible_collections.longhaul.jobs.plugins.module_utils import _disk

    while True:
        fd = _disk.lock(path, seconds)
        if fd is None:
            return None
        try:
            held, now = os.fstat(fd), os.lstat(path)
            if (held.st_dev, held.st_ino) == (now.st_dev, now.st_ino):
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)


class Claim:
    """The claim of a name, locked: nobody else starts by that name on this host until it is closed."""

    def __init__(self, spool, here, name, seconds=LOCK_SECONDS):
        """Made if need be. Raises Refused; OSError, EAGAIN where another holds it for so many seconds."""
        import stat

        from ansible_collections.longhaul.jobs.plugins.module_utils import _disk

        name = path(spool, here, name)
        for folder in (spool + "/names", os.path.dirname(name)):
            try:
                os.mkdir(folder, 0o700)
            except FileExistsError:
                pass
        self.fd = None
        while self.fd is None:  # again where a removal was faster
            try:
                _disk.create(name)
            except FileExistsError:
                pass
            self.fd = lock_in_place(name, seconds)
        found = os.fstat(self.fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            self.close()
            raise Refused("%s is not a plain file of this user; nothing was started" % name)

    def holder(self):
        """The id that it holds, or None."""
        return _jid_in(os.pread(self.fd, 64, 0))

    def write(self, jid):
        """Let it hold that id, durably. Raises OSError."""
        data = jid.encode("ascii") + b"\n"
        os.pwrite(self.fd, data, 0)
        os.ftruncate(self.fd, len(data))
        os.fsync(self.fd)

    def close(self):
        """Let go of it."""
        os.close(self.fd)


def forget(spool, here, name, jid):
    """Take the claim away that a removed job has left. One that is locked stays: it names nothing, which is free. Never raises."""
    try:
        name = path(spool, here, name)
        fd = lock_in_place(name, 0.0)
        if fd is None:
            return
        try:
            if _jid_in(os.pread(fd, 64, 0)) == jid:
                os.unlink(name)
        finally:
            os.close(fd)
    except (OSError, Refused):
        pass
