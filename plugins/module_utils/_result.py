# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A payload's own result: core's keys for a command, what a module printed, and what is said where neither is left."""

import time

from ansible_collections.longhaul.jobs.plugins.module_utils import _disk, _output, _spool
from ansible_collections.longhaul.jobs.plugins.module_utils._boot import loads

RAW_MAX = 64 << 20  # bytes of a module's result that are still read


def streams(path, strip):
    """({"stdout", "stderr"} as a result shows them, {"stdout_bytes", "stderr_bytes"}, [warnings]) of a command's output files."""
    texts, sizes, warnings = {}, {}, []
    for name in ("stdout", "stderr"):
        seen = _output.excerpt(path + "/" + name)
        texts[name] = seen.text.rstrip("\r\n") if strip else seen.text
        sizes[name + "_bytes"] = seen.size
        if seen.odd:
            warnings.append("%s is not UTF-8 throughout: the result shows a mark for such bytes, the job's log keeps them" % name)
    if _disk.full(path):
        texts["stdout"] += _output.NO_SPACE
        warnings.append("the file system of the async dir is full: output may be missing")
    return texts, sizes, warnings


def command(shown, rc, began, ended):
    """The result of a command but for its streams, with the keys of core 2.21's modules/command.py. Times in seconds."""
    return {
        "changed": True,
        "cmd": shown,
        "delta": _delta(ended - began),
        "end": _local_time(ended),
        "msg": "" if rc == 0 else "non-zero return code",
        "rc": rc,
        "start": _local_time(began),
    }


def printed(data):
    """(result, junk): the JSON object that a module printed, and whether anything stands behind it, or None.

    By core's rule (core 2.21: module_utils/json_utils.py): from the first line that opens an object to the last that closes
    one, all of it one JSON value. Login scripts and interpreters print before and behind; half a result is none.
    """
    text = (data or b"").decode("utf-8", "replace")
    begin, end = 0, len(text)
    while not text.startswith("{", begin):
        line = text.find("\n", begin)
        if text[begin : line if line >= 0 else end].lstrip().startswith("{"):
            begin = text.index("{", begin)
        elif line < 0:
            return None
        else:
            begin = line + 1
    while end > begin:
        line = text.rfind("\n", begin, end) + 1 or begin
        if text[line:end].rstrip().endswith("}"):
            break
        end = line - 1
    try:
        result = loads(text[begin:end])
    except ValueError:
        return None
    return (result, bool(text[end:].strip())) if isinstance(result, dict) else None


def module(path, rc=None):
    """(state, cause, result) of a module from what it printed into result.raw; ``rc`` is its process's, None where not known.

    The cause is None where it is that of the process.

    A module that left no JSON has failed; its standard output is not shown, since it may hold secrets.
    """
    if _spool.size(path + "/result.raw") > RAW_MAX:
        return "failed", None, {"changed": True, "msg": "the module's result is larger than %d MiB and was dropped" % (RAW_MAX >> 20)}
    try:
        found = printed(_spool.read_file(path + "/result.raw", RAW_MAX))
    except OSError:
        found = None
    stderr = _output.excerpt(path + "/stderr").text
    if found is None and _disk.full(path):
        return "failed", "no_space", {"changed": True, "msg": "the module's result could not be written: no space left on the device"}
    if found is None:
        known = "" if rc is None else " (rc %d)" % rc
        return "failed", None, {"changed": True, "module_stderr": stderr, "msg": "the module left no result in JSON" + known}
    result, junk = found
    result, was_cut = _output.cut(result)
    warnings = result.get("warnings", [])
    warnings = list(warnings) if isinstance(warnings, list) else [warnings]
    if junk:
        warnings.append("the module printed something behind its JSON result")
    if was_cut:
        warnings.append("the module's result was larger than %d MiB and was cut" % (_output.RESULT_MAX >> 20))
    if junk or was_cut:
        result["warnings"] = warnings
    if stderr:
        result["stderr"] = stderr
    return ("failed" if _has_failed(result) else "succeeded"), None, result


def _has_failed(result):
    """By core's rule (core 2.21: executor/task_executor.py): what it says, else a return code that is not 0."""
    return bool(result["failed"]) if "failed" in result else result.get("rc") not in (None, 0, "0")


def _local_time(seconds):
    """As str(datetime.now()), which would cost the supervisor the datetime module."""
    return "%s.%06d" % (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)), int(seconds % 1 * 1000000))


def _delta(seconds):
    """As str(timedelta)."""
    seconds = max(0.0, seconds)
    days, rest = divmod(int(seconds), 86400)
    text = "%d:%02d:%02d.%06d" % (rest // 3600, rest // 60 % 60, rest % 60, int(seconds % 1 * 1000000))
    return "%d day%s, %s" % (days, "" if days == 1 else "s", text) if days else text
