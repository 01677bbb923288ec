# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users put behind `jobs` and `jid`."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import (
    NEVER_STARTED,
    Reference,
    by_anything,
    by_jid,
    is_jid,
    new_jid,
    registered,
)

JID = "j123456789012.3456"
JOB = {"schema": 1, "jid": JID, "name": "n", "host": "h", "async_dir": "/a"}
REFERENCE = Reference(JID, "n", "h", "/a")
RESULT = {"ansible_job_id": JID, "started": True, "job": JOB, "results": [{"a": 1}], "jobs": ["x"]}


def test_new_ids() -> None:
    ids = {new_jid() for _number in range(1000)}
    assert len(ids) == 1000
    assert all(is_jid(jid) and len(jid.split(".")[0]) == 13 and not Reference(jid).is_of_check_mode for jid in ids)
    check = new_jid(check_mode=True)
    assert check.startswith("j000000000000.")
    assert is_jid(check)
    assert Reference(check).is_of_check_mode


BAD_IDS = [
    "",
    "j1",
    "1.2",
    "../../x",
    "/etc/passwd",
    "j1.2\0",
    "j1.2\n",
    "j1.2/..",
    "j1234567890123.1",
    "jé.1",
    "j١.1",
    "j1.2.3",
    "x" * 4096,
    " j1.2",
]


@pytest.mark.parametrize("value", BAD_IDS)
def test_what_is_no_id(value: str) -> None:
    with pytest.raises(AnsibleActionFail, match=r"jid: got .*; it takes a job's id"):
        by_jid("jid", value)


def test_an_id() -> None:
    assert by_jid("jid", JID) == Reference(JID)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (JID, [Reference(JID)]),
        ("dist-upgrade", [Reference(name="dist-upgrade")]),
        (JOB, [REFERENCE]),
        (RESULT, [REFERENCE]),
        ([], []),
        ([JID, [RESULT]], [Reference(JID), REFERENCE]),
        ({"ansible_job_id": JID, "started": 1, "finished": 0}, [Reference(JID)]),
        ({"changed": True, "results": [RESULT, {"skipped": True, "changed": False}, {"failed": True, "msg": "no"}]}, None),
        ({"changed": False, "finished": True, "jobs": [RESULT]}, [REFERENCE]),
        ({"skipped": True, "changed": False}, []),
        (
            {"unreachable": True, "msg": "gone", "ansible_job_id": JID, "job": {"jid": JID, "host": "h", "name": None}},
            [Reference(JID, None, "h")],
        ),
        ({"unreachable": True}, [Reference(never_started="its start failed")]),
    ],
)
def test_what_is_taken(value: t.Any, found: list[Reference] | None) -> None:
    assert by_anything("jobs", value) == (found if found is not None else [REFERENCE, Reference(never_started="no")])


@pytest.mark.parametrize(
    "value", [None, 5, "a b", "../x", b"j1.2", {"a": 1}, {"ansible_job_id": "../x"}, {"jid": None}, [None], {"jid": 5}]
)
def test_what_is_not_taken(value: t.Any) -> None:
    with pytest.raises(AnsibleActionFail, match=r"jobs: got .*it takes a job's id or name, a registered result, or a list of these"):
        by_anything("jobs", value)


@pytest.mark.parametrize("path", ["relative", "/a\0b", "/" + "a" * 5000, 5, None])
def test_a_senseless_async_dir_is_forgotten(path: t.Any) -> None:
    assert by_anything("jobs", {**JOB, "async_dir": path}) == [Reference(JID, "n", "h")]


def test_a_start_that_never_was_stays_so_through_other_results() -> None:
    told = {
        "ansible_job_id": None,
        "failed": True,
        "msg": NEVER_STARTED + "bad name",
        "job": {"cause": "never_started", "state": "unknown"},
    }
    assert by_anything("jobs", {"jobs": [told, JID]}) == [Reference(never_started="bad name"), Reference(jid=JID)]


def test_what_a_play_has_registered() -> None:
    one = {"ansible_job_id": JID, "job": JOB | {"user": "deploy"}}
    other = {"ansible_job_id": "j1.1", "job": JOB}
    for variables in ({"r": one}, {"a": 1, "r": {"results": [other, {"skipped": True}, one]}}):
        assert registered(JID, variables) == Reference(JID, "n", "h", "/a", user="deploy")
    assert registered(JID, {"r": other, "s": {"results": "x", "ansible_job_id": JID}}) is None


@pytest.mark.parametrize("user", [5, "a b", "x" * 100, "a\nb", ""])
def test_a_senseless_user_is_none(user: object) -> None:
    assert by_anything("jobs", {"ansible_job_id": JID, "job": {"user": user}})[0].user is None


def test_what_the_engine_is_asked_with() -> None:
    assert Reference("j1.1", "n", "h", "/a", user="u").request == {"jid": "j1.1"}
    assert Reference(name="n").request == {"name": "n"}
    assert Reference("j1.1", async_dir="/a", unanswered=True).request == {"jid": "j1.1", "unanswered": True, "async_dir": "/a"}


def test_the_result_of_a_question_for_a_name_that_no_job_has() -> None:
    """Its verbs tell of it without an id; whoever asks with it asks for that name again."""
    result: dict[str, t.Any] = {
        "ansible_job_id": None,
        "started": False,
        "finished": True,
        "failed": True,
        "msg": "could not find a job named backup",
    }
    result["job"] = {"jid": None, "name": "backup", "host": "web1", "state": "unknown", "cause": None}
    assert by_anything("jobs", {"jobs": [result]}) == [Reference(name="backup", host="web1")]
