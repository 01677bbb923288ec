# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations, names, labels: what is taken, and that a refusal names option, what it got and what it takes."""

from __future__ import annotations

import types

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _options


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), (1920, 1920), (1.5, 1.5), ("90s", 90), ("15m", 900), ("2h30m", 9000), ("1d", 86400), ("1d2h3m4s", 93784), (" 5 ", 5)],
)
def test_durations(text: object, seconds: float) -> None:
    assert _options.seconds("grace", text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1w", "5 s", "30m2h", "1e9", "nan", "inf", True, None, [], "٥", "1.5h", "s"])
def test_senseless_durations(text: object) -> None:
    with pytest.raises(AnsibleActionFail, match=r"grace: got .*; it takes seconds, or a duration such as 90s"):
        _options.seconds("grace", text)


def test_limits() -> None:
    assert _options.limit("time_limit", None) is None
    assert _options.limit("time_limit", "2h") == 7200.0
    for zero in ("0", "0s", "0.0"):
        with pytest.raises(AnsibleActionFail, match="time_limit: got '0.*above 0"):
            _options.limit("time_limit", zero)
    with pytest.raises(AnsibleActionFail, match="at least 1 seconds"):
        _options.seconds("x", "0", least=1.0)


@pytest.mark.parametrize("name", ["a", "dist-upgrade", "A.b_c-9", "x" * 64, "j", "1", "j1x.2"])
def test_names(name: str) -> None:
    assert _options.name("name", name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "x" * 65, "ä", "a\n", "j12.3", "12.3", "j123456789012.1"])
def test_no_names(name: str) -> None:
    with pytest.raises(AnsibleActionFail, match="name: got .*; it takes 1 to 64"):
        _options.name("name", name)


def test_labels() -> None:
    assert _options.labels("labels", {"a": 1, "b": "x", "c": 1.5}) == {"a": "1", "b": "x", "c": "1.5"}
    assert _options.labels("labels", None) == {}
    wrong: list[dict[object, object]] = [{"a": {}}, {"a": []}, {"a": None}, {"a": True}, {"a b": "x"}, {1: "x"}]
    for value in wrong:
        with pytest.raises(AnsibleActionFail, match="labels: got"):
            _options.labels("labels", value)


def test_async_dirs() -> None:
    assert _options.async_dir("async_dir", None) is None
    for good in ("/a", "~/a", "~user/a"):
        assert _options.async_dir("async_dir", good) == good
    for bad in ("", "a", "./a", "/a\0", "/" + "a" * 5000):
        with pytest.raises(AnsibleActionFail, match="async_dir: got"):
            _options.async_dir("async_dir", bad)


def test_what_is_shown_is_short_and_plain() -> None:
    assert _options.shown("a\x1b[1m\n") == "'a\\x1b[1m\\n'"
    assert len(_options.shown("x" * 4096)) < 90


def test_keywords() -> None:
    task = types.SimpleNamespace(async_val=0, poll=15)
    _options.refuse_keywords(task, "async_start", "use time_limit")
    for keyword in ({"async_val": 10, "poll": 0}, {"async_val": 0, "poll": 5}):
        with pytest.raises(AnsibleActionFail, match=r"(async|poll): got (10|5) at the task's level.*use time_limit"):
            _options.refuse_keywords(types.SimpleNamespace(**keyword), "async_start", "use time_limit")
