# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input for every option of every module: one sentence that names the option, what it got and what it takes; nobody is asked."""

from __future__ import annotations

import importlib
import typing as t

import pytest
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _payload
from ansible_collections.longhaul.jobs.tests.unit.plugins.action.test_actions import Play
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import JID, core, told

__all__ = ["core", "told"]
pytestmark = pytest.mark.usefixtures("core", "told")
make = _payload.make

ALL = ("start", "status", "wait", "cancel", "info", "log", "prune")
# What each module is given besides what is bad; prune needs something to prune by.
GOOD: dict[str, dict[str, t.Any]] = {
    "start": {"cmd": "ls"},
    "info": {},
    "prune": {"keep_last": 5},
    **{module: {"jobs": JID} for module in ("status", "wait", "cancel", "log")},
}
LONG = "x" * 4097
A_DURATION = "it takes seconds, or a duration such as 90s, 15m, 2h30m or 1d"
A_LIMIT = "it takes a duration above 0, and is left out where there is no limit"
A_NAME = "it takes 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit and not of a job id's form"
A_PATH = "it takes an absolute path, or one that begins with ~"
JOBS = "it takes a job's id or name, a registered result, or a list of these"
FILTERS = "states, names, labels, modules, older_than, newer_than"
STATES = "it takes running, orphaned, succeeded, failed, timed_out, cancelled, lost, foreign"

# (modules, option, what it is given, what the refusal shows of that, what the option takes)
Row = tuple[str | tuple[str, ...], str, t.Any, str, str]
DURATIONS: list[tuple[str, str, float | None]] = [
    ("start", "time_limit", None),
    ("start", "grace", 0),
    ("start", "poll", 0),
    ("start", "unreachable_timeout", 0),
    ("start", "retain", 0),
    ("status", "unreachable_timeout", 0),
    ("wait", "timeout", None),
    ("wait", "poll_interval", 1),
    ("wait", "poll_interval_max", 1),
    ("wait", "long_poll", 0),
    ("wait", "look_timeout", 1),
    ("wait", "unreachable_timeout", 0),
    ("cancel", "grace", 0),
]


def durations() -> t.Iterator[Row]:
    """Rows of the options that are durations; of limits the least is None, for 0 is one no more."""
    for module, option, least in DURATIONS:
        for bad in ("", "x", "-1", "1h 30m", "30m1h", "1.5h", "1e3", "nan", [5], {"a": 1}, True):
            yield module, option, bad, f"got '{bad}'" if isinstance(bad, str) else "got ", A_DURATION
        if least is None:
            yield module, option, 0, "got '0'", A_LIMIT
            yield module, option, "0s", "got '0s'", A_LIMIT
        elif least:
            yield module, option, "0.5", "got '0.5'", f"it takes at least {least} seconds"


CHOICES = [
    ("start", "if_running", "attach, fail, replace"),
    ("start", "if_finished", "restart, reuse"),
    ("status", "mode", "cleanup, status"),
    ("wait", "return_when", "all_finished, first_finished, first_failed"),
    ("wait", "timeout_from", "now, start"),
    ("wait", "on_timeout", "leave_running, cancel"),
    ("log", "stream", "stdout, stderr"),
]
SWITCHES = [("start", "close_connection"), ("wait", "follow"), ("wait", "close_connection"), ("prune", "include_core")]
OF_JOBS = ("wait", "cancel", "info", "log")

ROWS: list[Row] = [
    # Which module, or which command.
    ("start", "cmd", ["ls"], "got ['ls']", "it takes a shell line, as a string"),
    ("start", "cmd", 5, "got 5", "it takes a shell line, as a string"),
    ("start", "task", "ping", "got 'ping'", "it takes a dict of one module's name and its arguments"),
    ("start", "task", {}, "got 0 keys (none)", "it takes a dict of one module's name and its arguments, and nothing else"),
    ("start", "task", {"ping": {}, "setup": {}}, "got 2 keys (ping, setup)", "it takes a dict of one module's name and its arguments"),
    ("start", "task", {5: {}}, "got 5 for a module's name", "it takes a dict of one module's name and its arguments"),
    ("start", "task", {"ping": [1]}, "got [1] for the arguments of ping", "it takes a dict there"),
    # Who a job is.
    *(("start", "name", bad, f"got {bad!a}", A_NAME) for bad in ("", "two words", "-x", "x/y", JID, JID[1:], "ö", "x\n")),
    ("start", "name", "x" * 65, "got '" + "x" * 59, A_NAME),
    ("start", "name", ["x"], "got ", A_NAME),
    ("start", "labels", {"two words": 1}, "got the key 'two words'", "it takes keys of the form of a job's name"),
    ("start", "labels", {"a": [1]}, "got [1] for a", "it takes strings and numbers"),
    ("start", "labels", {"a": True}, "got True for a", "it takes strings and numbers"),
    ("start", "labels", "x", "", "dict"),  # in core's words
    ("start", "if_running", "fail", "got 'fail' without a name", "it takes effect with name only"),
    ("start", "if_finished", "reuse", "got 'reuse' without a name", "it takes effect with name only"),
    ("start", "reuse_for", "1d", "got '1d' without a name", "it takes effect with name only"),
    # Where jobs are.
    *((ALL, "async_dir", bad, f"got {bad!r}", A_PATH) for bad in ("", "x", "./x", "../x")),
    (ALL, "async_dir", "/x\0y", "got '/x\\x00y'", A_PATH),
    (ALL, "async_dir", "/" + LONG, "got '/xxx", A_PATH),
    # Which jobs.
    *(
        ("status", "jid", bad, f"got {bad!r}", "it takes a job's id (ansible_job_id), such as")
        for bad in ("", "x", "../../x", "j1", JID + "\n")
    ),
    ("status", "jid", "j1." + "2" * 4096, "got 'j1.222", "it takes a job's id"),
    *(
        ((*OF_JOBS, "status"), "jobs", bad, "got ", JOBS)
        for bad in ("two words", "../../x", "/x", JID + "\n", "x\0", LONG, 5, True, {"a": 1})
    ),
    ((*OF_JOBS, "status"), "jobs", [JID, "two words"], "got 'two words'", JOBS),
    ((*OF_JOBS, "status"), "jobs", {"ansible_job_id": "../x"}, "got '../x' for a job's id", JOBS),
    ((*OF_JOBS, "status"), "jobs", {"results": [{"jid": 5}]}, "got 5 for a job's id", JOBS),
    ("cancel", "jobs", [], "got []", "it takes at least one job"),
    *(((*OF_JOBS, "prune"), "filters", bad, "got ", f"it takes a dict of {FILTERS}") for bad in ("running", ["running"], 5)),
    ((*OF_JOBS, "prune"), "filters", {"state": "running"}, "got the unknown key 'state'", f"it takes {FILTERS}"),
    (("wait", "cancel", "log", "prune"), "filters", {}, "got none", f"it takes at least one of {FILTERS}"),
    (("wait", "cancel", "log", "prune"), "filters", {"states": None}, "got none", f"it takes at least one of {FILTERS}"),
    ((*OF_JOBS, "prune"), "filters", {"states": "done"}, "filters.states: got 'done'", STATES),
    ((*OF_JOBS, "prune"), "filters", {"states": ["running", "unknown"]}, "filters.states: got 'unknown'", STATES),
    ((*OF_JOBS, "prune"), "filters", {"states": []}, "filters.states: got []", "it takes one or a list of strings"),
    *(
        ((*OF_JOBS, "prune"), "filters", {key: bad}, f"filters.{key}: got ", takes)
        for key in ("names", "modules")
        for bad, takes in (
            ([], "it takes one or a list of strings"),
            ([5], "it takes one or a list of strings"),
            ("", "it takes names, in which * ? and [] stand for others"),
            ("a b", "it takes names, in which * ? and [] stand for others"),
            ("x" * 201, "it takes names, in which * ? and [] stand for others"),
        )
    ),
    ((*OF_JOBS, "prune"), "filters", {"labels": "a=b"}, "filters.labels: got 'a=b'", "it takes a dict of labels and their values"),
    ((*OF_JOBS, "prune"), "filters", {"labels": {}}, "filters.labels: got {}", "it takes a dict of labels and their values"),
    ((*OF_JOBS, "prune"), "filters", {"labels": {"a": None}}, "filters.labels: got None for a", "it takes strings and numbers"),
    ((*OF_JOBS, "prune"), "filters", {"older_than": "x"}, "filters.older_than: got 'x'", A_DURATION),
    ((*OF_JOBS, "prune"), "filters", {"newer_than": -1}, "filters.newer_than: got -1", A_DURATION),
    # How.
    *durations(),
    *((module, option, "x", "got: x", f"must be one of: {choices}") for module, option, choices in CHOICES),
    *((module, option, "x", "'x'", "not a valid boolean") for module, option in SWITCHES),
    *(
        ("cancel", "signal", bad, f"got {bad!r}", "it takes a signal's name or number, such as TERM")
        for bad in ("", "x", "0", "-9", "999", "SIGX")
    ),
    *(("prune", "keep_last", bad, f"got {str(bad)!r}", "it takes a number of jobs, from 0 on") for bad in (-1, "", "x", 1.5, [1])),
    ("log", "offset", -1, "got -1", "it takes a number from 0 on"),
    *(("log", "lines", bad, f"got {bad}", "it takes a number from 1 on") for bad in (0, -5)),
    *(("log", option, bad, "", "int") for option in ("offset", "lines") for bad in ("", "x", 1.5)),  # in core's words
    *(("log", "grep", bad, f"got {bad!r}", "it takes a regular expression of Python's") for bad in ("(", "[", "*")),
    ("log", "dest", "", "got ''", "it takes a file or a folder on the controller"),
    *(("prune", "max_bytes", bad, f"got {bad!r}", "it takes a number of bytes or a size such as 500K") for bad in ("", "x", "-1", "5X")),
    *(("log", "max_bytes", bad, f"got {bad!r}", "it takes at least 4 bytes, as a number or a size") for bad in ("", "x", "-1", "5X", "3")),
]
# What takes any text.
FREE = {("cancel", "reason")}


def module_of(name: str) -> t.Any:
    return importlib.import_module(f"ansible_collections.longhaul.jobs.plugins.action.async_{name}")


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    one = Play(monkeypatch)
    monkeypatch.setattr(_payload, "make", make)  # what is bad for it is bad before anything is built
    return one


def refusal(play: Play, module: str, args: dict[str, t.Any]) -> str:
    """What a task with these arguments is refused with; nobody was asked."""
    result = play.run(module_of(module), args)
    assert result == {"failed": True, "changed": False, "msg": result["msg"]}
    assert play.engine.asked == []
    assert "\n" not in result["msg"]
    assert len(result["msg"]) < 500
    return str(result["msg"])


EACH = [
    pytest.param(module, *row[1:], id=f"{module}-{row[1]}-{number}")
    for number, row in enumerate(ROWS)
    for module in ([row[0]] if isinstance(row[0], str) else row[0])
]


@pytest.mark.parametrize(("module", "option", "bad", "got", "takes"), EACH)
def test_bad_input(play: Play, module: str, option: str, bad: t.Any, got: str, takes: str) -> None:
    good = {} if option in ("cmd", "task", "jid", "jobs", "filters") else GOOD[module]
    message = refusal(play, module, {**good, option: bad})
    assert option in message
    assert got in message
    assert takes in message


@pytest.mark.parametrize("module", ALL)
def test_no_option_is_left_out(module: str) -> None:
    tried = {row[1] for row in ROWS if module == row[0] or module in row[0]}
    assert {option for option in module_of(module).OPTIONS if (module, option) not in FREE} == tried


@pytest.mark.parametrize("module", ALL)
def test_an_option_that_there_is_not(play: Play, module: str) -> None:
    takes = ", ".join(module_of(module).OPTIONS)
    for unknown in ("nope", "_longhaul", "_async_dir"):
        message = refusal(play, module, {**GOOD[module], unknown: 1})
        assert message == f"longhaul.jobs.async_{module}: got the unknown argument '{unknown}'; it takes {takes}"


@pytest.mark.parametrize(
    ("module", "args", "sentence"),
    [
        ("start", {}, "one of the following is required: task, cmd"),
        ("start", {"cmd": "ls", "task": {"ping": {}}}, "parameters are mutually exclusive: task|cmd"),
        ("start", {"cmd": "ls", "name": "n", "reuse_for": "1d"}, "reuse_for: got '1d'; it takes effect with if_finished: reuse only"),
        ("start", {"cmd": "ls", "name": "n", "if_finished": "reuse", "reuse_for": 0}, f"reuse_for: got '0'; {A_LIMIT}"),
        ("status", {}, "one of the following is required: jid, jobs"),
        ("status", {"jid": JID, "jobs": []}, "parameters are mutually exclusive: jid|jobs"),
        *((module, {}, "one of the following is required: jobs, filters") for module in ("wait", "cancel", "log")),
        *((m, {"jobs": [JID], "filters": {"names": "x"}}, "parameters are mutually exclusive: jobs|filters") for m in OF_JOBS),
        ("wait", {"jobs": JID, "close_connection": True, "long_poll": 5}, "long_poll: got '5'; beside close_connection"),
        ("prune", {}, "longhaul.jobs.async_prune: got none of filters, keep_last and max_bytes; it takes at least one of them"),
        ("prune", {"include_core": True}, "got none of filters, keep_last and max_bytes; it takes at least one of them"),
    ],
)
def test_options_that_do_not_go_together(play: Play, module: str, args: dict[str, t.Any], sentence: str) -> None:
    assert sentence in refusal(play, module, args)


@pytest.mark.parametrize("module", ALL)
@pytest.mark.parametrize("keyword", [{"async_val": 60, "poll": 0}, {"poll": 5}])
def test_core_s_keywords(play: Play, module: str, keyword: dict[str, int]) -> None:
    result = play.run(module_of(module), GOOD[module], **keyword)
    (name,) = {"async" if "async_val" in keyword else "poll"}
    value = keyword.get("async_val", keyword["poll"])
    assert result["failed"] is True
    assert result["msg"].startswith(f"{name}: got {value} at the task's level; longhaul.jobs.async_{module} does not take this keyword: ")
    assert play.engine.asked == []
