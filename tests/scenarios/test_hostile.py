# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S34: a target that answers what it likes. Its Python is a program of the test, which reads ours, takes the nonce from its last
line, and frames a reply; nothing may come of it that a module could not do, and other jobs keep their results."""

from __future__ import annotations

import math
import re
import textwrap
import typing as t

import pytest
from ansible.release import __version__
from ansible_collections.longhaul.jobs.tests.scenarios.support import PYTHON, Json, Run, Stage

EVIL, GOOD = "j666666666666.1", "j777777777777.2"

TARGET = r"""
import base64, json, os, re, sys, zlib

case, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
program = sys.stdin.read()
nonce, verb = (re.findall(r"^run\('([0-9a-f]{32})', '(\w+)'\)$", program, re.M) or [("none", "status")])[-1]
jids = ["j666666666666.1", "j777777777777.2"][:count]
blob = re.search(r"^BLOB = '([^']+)'$", program, re.M)
if blob:
    request = json.loads(zlib.decompress(base64.b64decode(blob[1])))["request"]
    jids = [job["jid"] for job in request["jobs"]]
pwn = "{{ lookup('ansible.builtin.pipe', 'touch %s/pwned') }}" % folder


def entry(jid):
    job = {
        "schema": 1, "jid": jid, "name": None, "labels": {}, "user": "root", "async_dir": "/async", "results_file": "/async/" + jid,
        "module": "ansible.builtin.shell", "state": "succeeded", "cause": "exited", "started_at": "2026-01-01T00:00:00.000Z",
        "ended_at": "2026-01-01T00:00:01.000Z", "elapsed": 1.0, "time_limit": None, "remaining": None, "overdue": False, "rc": 0,
        "signal": None, "supervisor_pid": 10, "payload_pid": 11, "cpu_seconds": 0.1, "peak_memory_bytes": 1, "stdout_bytes": 1,
        "stderr_bytes": 0, "progress": None, "verified": True, "attached": False, "reason": None, "survivors": [], "no_log": False,
        "core": False,
    }
    return {
        "ansible_job_id": jid, "started": True, "finished": True, "results_file": "/async/" + jid, "changed": True, "rc": 0,
        "stdout": "honest " + jid, "stderr": "", "msg": "", "job": job,
    }


jobs = [entry(jid) for jid in jids]
evil = jobs[0]
reply = {"schema": 1, "jobs": jobs, "warnings": []}
facts = {
    "discovered_interpreter_python": "/evil", "ansible_discovered_interpreter_python": "/evil", "harmless": "fact",
}
if case == "internals":
    internals = {
        "_ansible_notify": ["Never"], "_ansible_verbose_override": True, "_ansible_verbose_always": True, "_ansible_no_log": True,
        "_ansible_delegated_vars": {"ansible_host": "evil"}, "_ansible_ignore_errors": True, "_ansible_item_label": "evil",
        "_ansible_facts_cacheable": True, "_ansible_suppress_tmpdir_delete": True, "_ansible_parsed": False,
    }
    evil.update(internals, notify=["Never"])
    evil["job"].update(internals)
    evil["inner"] = [dict(internals)]
    reply.update(internals)
elif case == "add_host":
    evil.update(add_host={"host_name": "evilhost", "groups": ["evilgroup"], "host_vars": {}}, add_group="evilgroup", parent_groups=["all"])
    reply.update(add_host={"host_name": "evilhost", "groups": ["evilgroup"], "host_vars": {}}, add_group="evilgroup")
elif case == "results":
    evil.update(failed=True, skipped=True, results=[{"failed_when_result": False, "skipped": True, "failed": False}])
    evil["job"].update(state="failed")
elif case == "unreachable":
    evil.update(unreachable=True, skipped=True)
    reply.update(unreachable=True, skipped=True, failed=False)
elif case == "facts":
    evil["ansible_facts"] = facts
    evil["job"]["ansible_facts"] = facts
    reply["ansible_facts"] = {"of_the_reply": 1, "discovered_interpreter_python": "/evil"}
elif case == "facts_no_dict":
    evil["ansible_facts"] = "x"
elif case == "templates":
    evil.update(msg=pwn, stdout=pwn, ansible_facts={"templated": pwn}, results_file=pwn, ansible_job_id=pwn, **{pwn: pwn})
    for key in ("jid", "name", "user", "async_dir", "results_file", "module", "reason", "host", "started_at", "signal", "state", "cause"):
        evil["job"][key] = pwn
    evil["job"].update(labels={"a": pwn}, progress={"percent": 1, "message": pwn}, survivors=[{"pid": 1, "user": pwn, "command": pwn}])
    reply["warnings"] = [pwn]
elif case == "deep":
    evil["deep"] = "DEEP"
elif case == "deep_job":
    evil["job"]["result"] = {"job": "DEEP"}
elif case == "deep_field":
    evil["job"]["survivors"] = "DEEP"
elif case == "big":
    evil["stdout"] = "x" * (50 << 20)
elif case == "types":
    wrong = [[], {}, "", 1e400, -1, True, None, [[1]], {"a": {}}, "x" * 100000, "\ud800", 10**30]
    for number, key in enumerate(evil["job"]):
        if key not in ("state", "no_log"):
            evil["job"][key] = wrong[number % len(wrong)]
    evil["job"]["state"] = ["succeeded"]
    evil.update(ansible_job_id=[1], results_file={"a": 1}, started="no", finished=[0], changed="yes", msg=5)
elif case == "types_again":
    for key in set(evil["job"]) - {"no_log"}:
        evil["job"][key] = {"__ansible_type": "TrustedAsTemplate", "value": "x"}
    evil.update(warnings={"a": 1}, deprecations="x", exception=5, stdout=5, stdout_lines=7, failed="no", rc=[1])
    evil["job"]["result"] = [1]
elif case == "tags":
    evil.update(
        one={"__ansible_type": "TrustedAsTemplate", "value": pwn}, two={"__ansible_unsafe": pwn}, three={"__ansible_vault": pwn},
        warnings=[{"__ansible_type": "WarningSummary", "event": {"msg": "shown"}}, {"__ansible_type": "WarningSummary"}, 5],
    )
elif case == "job_no_dict":
    evil["job"] = ["x"]
elif case == "entry_no_dict":
    jobs[0] = "x"
elif case == "other_jid":
    evil["ansible_job_id"] = evil["job"]["jid"] = jids[-1]
elif case == "too_few":
    reply["jobs"] = jobs[1:] if len(jobs) > 1 else []
elif case == "too_many":
    reply["jobs"] = jobs + jobs
elif case == "jobs_no_list":
    reply["jobs"] = {"0": evil}
elif case == "reply_no_dict":
    reply = [reply]
elif case == "error":
    reply["error"] = pwn
elif case == "error_no_text":
    reply["error"] = {"a": ["x" * 100000]}
elif case == "long_error":
    reply["error"] = "no\nno\x1b[31m " * 100000
elif case == "running_for_ever":
    evil.update(finished=False)
    evil["job"].update(state="lost")

text = json.dumps(reply).replace('"DEEP"', '{"a":' * 3000 + "1" + "}" * 3000)
data = b'{"schema": 1, "jobs": [{"stdout": "' + b"x" * (1 << 30) + b'"}]}' if case == "bomb" else text.encode()
body = base64.b64encode(zlib.compress(data, 9 if case == "bomb" else 1)).decode()
length = len(body)
if case == "wrong_nonce":
    nonce = "0" * 32
elif case == "half":
    body = body[: length // 2]
elif case == "half_told":
    body = body[: length // 2]
    length = len(body)
elif case == "no_base64":
    body = "*" * length
elif case == "no_json":
    body = base64.b64encode(zlib.compress(b"{" * 100)).decode()
    length = len(body)
elif case == "huge_length":
    length = 9999999999
elif case == "module":
    evil["ansible_facts"] = facts
    print(json.dumps({"reply": body, "changed": True, "unreachable": True, "skipped": True, "add_host": {"host_name": "evilhost"},
        "ansible_facts": {"of_the_reply": 1}, "_ansible_delegated_vars": {"ansible_host": "evil"}, "msg": pwn}))
    sys.exit(0)
elif case == "rc":
    print(pwn)
    sys.stderr.write(pwn + "\n")
    sys.exit(3)
print("noise {{ 6 * 7 }}\nLONGHAUL-REPLY %s %d\n%s" % (nonce, length, body))
"""

# The one job's answer is evil, the other's is honest.
TOLD = (
    *("internals", "add_host", "results", "unreachable", "facts", "facts_no_dict", "templates", "deep", "deep_job", "deep_field"),
    *("big", "types", "types_again", "tags", "job_no_dict", "entry_no_dict", "other_jid", "module", "running_for_ever"),
)
# No answer at all can be made of these; a question that is asked once is then one to a dead host.
LOST = (
    *("wrong_nonce", "half", "half_told", "no_base64", "no_json", "huge_length", "bomb"),
    *("too_few", "too_many", "jobs_no_list", "reply_no_dict"),
)
# The target refuses, in words of its own.
REFUSED = ("error", "error_no_text", "long_error", "rc")
# A job that is not said to have ended may run for ever, as jobs do: its start is not waited for.
ENDLESS = ("types", "types_again", "entry_no_dict", "running_for_ever")
CASES = (*TOLD, *LOST, *REFUSED)

ASK = """
- name: Ask {case}
  longhaul.jobs.async_status:
    jobs: [{evil}, {good}]
  vars:
    ansible_python_interpreter: "{{{{ folder }}}}/python-{case}-2"
    longhaul_transport: {way}
    ansible_pipelining: true
  register: asked
  ignore_errors: true
  ignore_unreachable: true
  changed_when: false
  notify: Never

- name: Ask {case} flat
  longhaul.jobs.async_status:
    jid: {evil}
  vars: &vars_{case}
    ansible_python_interpreter: "{{{{ folder }}}}/python-{case}-1"
    longhaul_transport: {way}
    ansible_pipelining: true
  register: flat
  ignore_errors: true
  ignore_unreachable: true
  changed_when: false
  notify: Never

- name: Start {case}
  longhaul.jobs.async_start:
    cmd: 'true'
    poll: {poll}
    unreachable_timeout: 0
  vars: *vars_{case}
  register: started
  ignore_errors: true
  ignore_unreachable: true
  changed_when: false
  notify: Never

- name: Use {case}
  ansible.builtin.debug:
    msg: "{{{{ [asked.msg | default(''), flat.msg | default(''), flat.job.name | default(''), started.msg | default('')] }}}}"

- name: See {case}
  ansible.builtin.debug:
    msg: "{{{{ {{'groups': groups, 'facts': ansible_facts, 'hosts': hostvars.keys() | list, 'rc': flat.rc | default('none')}} }}}}"
"""


@pytest.fixture(scope="module")
def hostile(shared_stage: Stage) -> Run:
    folder = shared_stage.folder
    (folder / "target.py").write_text(TARGET)
    for case in CASES:
        for count in (1, 2):
            path = folder / f"python-{case}-{count}"
            path.write_text(f"#!/bin/sh\nexec {PYTHON} {folder}/target.py {case} {folder} {count}\n")
            path.chmod(0o755)
    shared_stage.add_local(folder=str(folder))
    tasks = ""
    for case in CASES:
        way = "module" if case == "module" else "auto"
        tasks += ASK.format(case=case, evil=EVIL, good=GOOD, way=way, poll=0 if case in ENDLESS else 1)
    handlers = "- name: Never\n  ansible.builtin.debug:\n    msg: a target has notified a handler"
    return shared_stage.begin(tasks, handlers=handlers).finish(seconds=200)


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_answer_sets_nothing(hostile: Run, case: str) -> None:
    """S34: no host, no group, no handler, no interpreter; and the run went on."""
    seen = hostile.result(f"See {case}")["msg"]
    assert seen["groups"] == {"all": ["local"], "ungrouped": ["local"]}
    assert set(seen["hosts"]) <= {"local", "localhost"}  # older cores count the implicit one
    assert not [name for name in seen["facts"] if "interpreter" in name or name == "of_the_reply"]
    assert hostile.of("Never") == []


@pytest.mark.parametrize("case", TOLD)
def test_the_other_job_s_result_is_intact(hostile: Run, case: str) -> None:
    """S34"""
    result = hostile.result(f"Ask {case}")
    assert len(result["jobs"]) == 2
    other = result["jobs"][1]
    assert (other["ansible_job_id"], other["finished"], other["failed"]) == (GOOD, True, False)
    assert (other["stdout"], other["job"]["state"], other["job"]["jid"]) == (f"honest {GOOD}", "succeeded", GOOD)


@pytest.mark.parametrize("case", TOLD)
def test_the_evil_job_keeps_its_name_and_the_shape_of_a_job(hostile: Run, case: str) -> None:
    """S34: ids are the controller's; flags are booleans; each field of `job` is of its type, or null, or not there."""
    for job in (hostile.result(f"Ask {case}")["jobs"][0], hostile.result(f"Ask {case} flat")):
        assert (job["ansible_job_id"], job["job"]["jid"], job["job"]["host"]) == (EVIL, EVIL, "local")
        assert all(isinstance(job[flag], bool) for flag in ("started", "finished"))
        assert "unreachable" not in job
        assert "skipped" not in job
        _well_formed(job["job"])


def _well_formed(job: Json) -> None:
    texts = (
        "jid",
        "name",
        "host",
        "user",
        "async_dir",
        "results_file",
        "module",
        "state",
        "cause",
        "started_at",
        "ended_at",
        "signal",
        "reason",
    )
    wholes = "rc", "supervisor_pid", "payload_pid", "peak_memory_bytes", "stdout_bytes", "stderr_bytes"
    numbers = "elapsed", "time_limit", "remaining", "cpu_seconds"
    flags = "overdue", "verified", "attached", "reachable"
    kinds: dict[str, type | tuple[type, ...]] = {**dict.fromkeys(texts, str), **dict.fromkeys(wholes, int), **dict.fromkeys(flags, bool)}
    kinds |= {**dict.fromkeys(numbers, (int, float)), "schema": int, "labels": dict, "survivors": list, "progress": dict, "result": dict}
    assert set(job) <= set(kinds), "a key that nobody knows"
    for key, value in job.items():
        assert value is None or isinstance(value, kinds[key]), (key, value)
        assert key in flags or not isinstance(value, bool), (key, value)
        if isinstance(value, str):
            assert len(value) <= 4096, key
        if isinstance(value, float):
            assert math.isfinite(value), key
    assert job["schema"] == 1
    known = "queued running orphaned succeeded failed timed_out cancelled lost unknown foreign".split()
    assert job["state"] in (None, *known)


@pytest.mark.parametrize("case", [*LOST, *REFUSED])
def test_an_answer_that_is_none_gives_one_sentence(hostile: Run, case: str) -> None:
    """S34: cut, forged, too large, or a refusal: never a result, in a line of its own that is not endless."""
    for task in (f"Ask {case}", f"Ask {case} flat", f"Start {case}"):
        event = hostile.last(task)
        assert event["kind"] == ("unreachable" if case in LOST else "failed"), task
        assert 0 < len(event["result"]["msg"]) < 4000
        assert "\n" not in event["result"]["msg"]
        assert "Traceback" not in event["result"]["msg"]
        assert not event["result"].get("finished"), task


@pytest.mark.parametrize("case", LOST)
def test_a_start_whose_answer_is_none_still_names_its_job(hostile: Run, case: str) -> None:
    """S34, S33"""
    result = hostile.result(f"Start {case}")
    assert re.fullmatch(r"j[0-9]{12}\.[0-9]+", result["ansible_job_id"])
    assert (result["started"], result["finished"], result["job"]["reachable"]) == (False, False, False)


def test_nothing_that_a_target_says_is_templated(hostile: Run, shared_stage: Stage) -> None:
    """S34: not when it is answered, not when it is used."""
    assert not (shared_stage.folder / "pwned").exists()
    used = hostile.result("Use templates")["msg"]
    assert "lookup(" in used[1]
    assert hostile.result("Ask templates flat")["job"]["name"] is None
    assert "lookup(" in hostile.result("Ask error")["msg"]


def test_a_failure_stays_a_failure(hostile: Run) -> None:
    """S34: `results` and `skipped` turn failures into skips where an action hands them on."""
    assert hostile.last("Ask results")["kind"] == "failed"
    if tuple(int(part) for part in __version__.split(".")[:2]) >= (2, 21):  # before, any module's `results` do so in any task
        assert hostile.last("Ask results flat")["kind"] == "failed"
        assert hostile.last("Start results")["kind"] == "failed"


@pytest.mark.parametrize("task", ["Ask unreachable", "Ask unreachable flat", "Start unreachable"])
def test_a_target_cannot_put_itself_out_of_the_play(hostile: Run, task: str) -> None:
    """S34"""
    assert hostile.last(task)["kind"] == "ok"


def test_facts_of_a_module_are_handed_on_without_its_interpreters(hostile: Run) -> None:
    """S34: by `jid:`, as core does; never from a list."""
    assert "harmless" in hostile.result("See facts")["msg"]["facts"]
    assert "ansible_facts" not in hostile.result("Ask facts")


@pytest.mark.parametrize("case", ["deep", "deep_job", "deep_field"])
def test_what_is_nested_absurdly_is_cut_or_said(hostile: Run, case: str) -> None:
    """S34"""
    result = hostile.result(f"Ask {case} flat")
    text = str(result)
    assert "nested" in text or "DEEP" not in text
    assert max(map(len, re.findall(r"(?:\{'a': )+", text)), default=0) < 300 * len("{'a': ")


def test_the_run_is_quiet_and_does_not_break(hostile: Run) -> None:
    """S34: no traceback, no internal key."""
    output = re.sub(r"x{1000,}", "", hostile.output)
    for word in ("Traceback (most recent", "Unexpected exception", "_ansible_notify"):
        assert word not in output, textwrap.shorten(output, 4000)


def test_a_refusal_in_the_target_s_words_cannot_colour_the_terminal(hostile: Run) -> None:
    """S34: one sentence has no control characters."""
    for task in ("Ask long_error", "Ask long_error flat", "Start long_error"):
        assert hostile.result(task)["msg"].isprintable(), task


def test_the_examples_are_what_they_say(hostile: Run) -> None:
    """The cases that hold an honest answer too were answered, so that a test of them can fail."""
    assert t.cast(str, hostile.result("Ask big flat")["stdout"]).count("x") > 1 << 10
    assert hostile.result("Ask internals flat")["stdout"] == f"honest {EVIL}"
    assert hostile.last("Ask module")["kind"] == "ok"
