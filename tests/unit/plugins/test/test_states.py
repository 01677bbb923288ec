# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of jobs' states as a playbook uses them, by core's own templar; and core's own tests on our results."""

from __future__ import annotations

import importlib
import typing as t
from pathlib import Path

import pytest
from ansible import template
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _results
from ansible_collections.longhaul.jobs.plugins.plugin_utils._references import Reference, new_jid
from ansible_collections.longhaul.jobs.plugins.test import states
from ansible_collections.longhaul.jobs.tests.unit.plugins.plugin_utils.controller import JID, Far, entry

yaml: t.Any = importlib.import_module("yaml")  # without types
ENDED_BADLY = ("failed", "timed_out", "cancelled", "lost", "unknown", "foreign")


def templated(expression: str, **variables: t.Any) -> bool:
    """What an expression comes to in a playbook."""
    trusted = getattr(template, "trust_as_template", str)  # since core 2.19
    found = Templar(loader=DataLoader(), variables=variables).template(trusted("{{ %s }}" % expression))
    assert str(found) in ("True", "False")
    return str(found) == "True"


def result(state: str | None) -> dict[str, t.Any]:
    """A job's result in that state, as async_info would return it; None: of a look that was missed."""
    reference = Reference(jid=JID)
    if state is None:
        return _results.flat(_results.missed("web1", reference))
    return _results.flat(_results.told(t.cast("t.Any", Far()), reference, entry(state=state)))


@pytest.mark.parametrize("state", [*states.STATES, "failed", "foreign", None])
@pytest.mark.parametrize("test", states.STATES)
def test_each_test_is_true_of_its_own_state(test: str, state: str | None) -> None:
    assert templated(f"r is longhaul.jobs.{test}", r=result(state)) is (test == state)
    assert templated(f"r is not longhaul.jobs.{test}", r=result(state)) is (test != state)
    assert templated(f"r.job is longhaul.jobs.{test}", r=result(state)) is (test == state)


def several(*given: str | None) -> list[dict[str, t.Any]]:
    return [result(state) for state in given]


@pytest.mark.parametrize(
    ("value", "true"),
    [
        (several("lost", "lost"), True),
        (several("lost", "running"), False),
        (several("lost", None), False),
        ([several("lost"), {"jobs": several("lost")}, result("lost")["job"]], True),
        ({"jobs": several("lost", "lost"), "finished": True, "failed": True}, True),
        ({"jobs": several("lost", "succeeded"), "finished": True, "failed": True}, False),
        ({"results": [*several("lost"), {"skipped": True}, *several("lost")], "changed": True}, True),
        ({"results": [{"jobs": several("lost")}, {"jobs": several("lost", "unknown")}]}, False),
        # Nobody is in no state.
        ([], False),
        ({"jobs": [], "finished": True}, False),
        ({"results": [{"skipped": True}, {"skipped": True}]}, False),
        ({"skipped": True, "changed": False}, False),
        # A module's own keys hide nothing.
        ({**result("lost"), "state": "running", "results": [], "jobs": [], "skipped": True}, True),
    ],
)
def test_several_jobs(value: t.Any, true: bool) -> None:
    assert templated("r is longhaul.jobs.lost", r=value) is true
    assert templated("r is not longhaul.jobs.lost", r=value) is not true


def test_a_start_that_came_to_nothing_is_unknown() -> None:
    failed = {"failed": True, "changed": False, "msg": "no"}
    assert templated("r is longhaul.jobs.unknown", r=failed)
    assert templated("r is longhaul.jobs.unknown", r={"unreachable": True, "msg": "no"})
    assert templated("r is longhaul.jobs.unknown", r=_results.flat(_results.never_started("web1", Reference(never_started="no"))))
    assert not templated("r is longhaul.jobs.unknown", r={"results": [failed, result("running")]})


def test_a_job_of_check_mode_is_in_no_state() -> None:
    checked = _results.flat(_results.of_check_mode("web1", Reference(jid=new_jid(check_mode=True))))
    assert not any(templated(f"r is longhaul.jobs.{test}", r=checked) for test in states.STATES)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (JID, f"'{JID}'"),
        (5, "5"),
        (None, "None"),
        ({}, "[]"),
        ({"changed": False, "rc": 0}, "['changed', 'rc']"),
        ({"ansible_job_id": JID, "started": 1, "finished": 0}, "['ansible_job_id', 'finished', 'started']"),
        ([result("running"), "x"], "'x'"),
    ],
)
def test_what_is_no_job_s_result_is_refused_in_a_sentence(value: t.Any, got: str) -> None:
    with pytest.raises(AnsibleError) as refused:
        templated("r is longhaul.jobs.running", r=value)
    assert f"the test longhaul.jobs.running: got {got}; it takes the result of a job, as the modules of longhaul.jobs" in str(refused.value)


def test_core_s_own_tests_work_on_our_results() -> None:
    for state in ("running", "orphaned", "succeeded", *ENDED_BADLY):
        one = result(state)
        many = _results.listed([_results.JobResult(result(state))])
        for value in (one, many):
            assert templated("r is finished", r=value) is (state not in ("running", "orphaned"))
            assert templated("r is failed", r=value) is (state in ENDED_BADLY)
            assert templated("r is succeeded", r=value) is (state not in ENDED_BADLY)
            assert templated("r is changed", r=value) is False
        assert templated("r is started", r=one)


def test_each_test_is_documented() -> None:
    folder = Path(states.__file__).parent
    assert sorted(path.stem for path in folder.glob("*.yml")) == sorted(states.STATES)
    for state in states.STATES:
        documented = yaml.safe_load((folder / f"{state}.yml").read_text())
        assert documented["DOCUMENTATION"]["name"] == state
        assert f" longhaul.jobs.{state}" in documented["EXAMPLES"]
        yaml.safe_load(documented["EXAMPLES"])
