# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Committing an end (PROTOCOL section 3, "End").

A job has ended when, and only when, its end has been renamed onto its job file. While the supervisor lives, it alone does so.
"""

import os

from ansible_collections.longhaul.jobs.plugins.module_utils import _disk, _output, _record
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import dumps, write_all

RESERVE = 64 << 10  # bytes of end.new laid down at the start, so that a full disk cannot hide an end
SHORT_TEXT = 4 << 10  # characters of a stream that a short end keeps, or fewer: as many as fit


def commit(path, document, command):
    """Make ``document`` the job's end: written in place, cut to length, flushed, renamed; then what may hold secrets goes.

    Where it does not fit on a full disk, its short form is committed. Returns the document that was. Raises OSError.
    """
    fd = os.open(path + "/end.new", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            _fill(fd, document)
        except OSError as exc:
            if exc.errno not in _disk.NO_SPACE:
                raise
            document = short(document, command)
            _fill(fd, document)
    finally:
        os.close(fd)
    publish(path)
    return document


def _fill(fd, document):
    data = dumps(document).encode("ascii")
    os.lseek(fd, 0, os.SEEK_SET)
    write_all(fd, data)
    os.ftruncate(fd, len(data))
    os.fsync(fd)


def adopt(path, length):
    """Make the end that stands whole in end.new, and ends after so many bytes, the job's. Raises OSError."""
    with open(path + "/end.new", "r+b") as stream:
        stream.truncate(length)
        os.fsync(stream.fileno())
    publish(path)


def publish(path):
    """The one rename: end.new, whole and flushed, becomes the job file; then what the payload needed goes. Raises OSError."""
    os.rename(path + "/end.new", path[: -len(".d")])
    try:
        _disk.fsync_path(os.path.dirname(path))
    finally:
        discard(path)


def discard(path):
    """Take away what the payload alone has needed, of a job that has ended or never was. Never raises."""
    for name in ("result.raw", "module", "args"):
        try:
            os.unlink(path + "/" + name)
        except OSError:
            pass
    try:  # with core's keyword: the folder of the module's file
        remove_folder(os.readlink(path + "/temporary"))
        os.unlink(path + "/temporary")
    except OSError:
        pass


def remove_folder(path):
    """Remove a folder that another user may have, as far as that can be done: it may change while it is removed. Never raises."""
    import shutil  # its rmtree follows no link that is put there meanwhile

    shutil.rmtree(path, ignore_errors=True)


def short(document, command):
    """The form of an end that fits the reserve whatever the job printed; marked as cut.

    A command keeps its own cause and state; a module's result that is gone makes the job failed, cause no_space.
    """
    length = SHORT_TEXT
    while True:
        kept = _short(document, command, length)
        if len(dumps(kept)) <= RESERVE or not length:
            return kept
        length //= 2


def _short(document, command, length):
    job = dict(document["job"])
    job.pop("result", None)
    labels = sorted((job["labels"] or {}).items())[: length // 64]
    job.update(labels={key: value[:64] for key, value in labels}, survivors=job["survivors"][: length // 128])
    if job["reason"]:
        job["reason"] = job["reason"][:1024]
    kept = {key: document[key] for key in _record.CORE_KEYS if key in document}
    kept["job"] = job
    for key in ("failed", "changed", "rc", "delta", "start", "end", "msg"):
        if isinstance(document.get(key), (str, int, bool)):
            kept[key] = document[key][:1024] if isinstance(document[key], str) else document[key]
    if not command and document["started"]:
        job.update(state="failed", cause="no_space")
        kept.update(failed=True, changed=True, msg="the module's result could not be written: no space left on the device")
        return kept
    for key in ("stdout", "stderr"):
        if key in document:
            kept[key] = _output.shorten(document[key], length, length) + _output.NO_SPACE
    return kept
