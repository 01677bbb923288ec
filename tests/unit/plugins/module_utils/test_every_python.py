# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine on every Python that is here, from 3.6 on: a start, a limit, a module, a name, a look, a cancel."""

from __future__ import annotations

import json
import subprocess

import pytest
from ansible_collections.longhaul.jobs.plugins.plugin_utils import _program
from ansible_collections.longhaul.jobs.tests.unit.plugins.module_utils.engine import Engine
from ansible_collections.longhaul.jobs.tools import pythons

FOUND = pythons.find()


@pytest.mark.parametrize("version", [pytest.param(version, id=f"{version[0]}.{version[1]}") for version in FOUND])
def test_a_jobs_life(engine: Engine, version: tuple[int, int]) -> None:
    engine.python = FOUND[version].path
    done = engine.start("echo hello; exit 2", hold=10)
    assert (done["stdout"], done["rc"], done["job"]["state"]) == ("hello", 2, "failed")
    assert engine.status(done) == done
    done = engine.start_module("", {"changed": True, "text": "é\n"}, hold=10)
    assert (done["changed"], done["text"], done["job"]["state"]) == (True, "é\n", "succeeded")
    over = engine.start("setsid sleep 60 & sleep 60", time_limit=0.3, grace=0.2, hold=10)
    assert (over["job"]["state"], over["job"]["survivors"], over["job"]["verified"]) == ("timed_out", [], True)
    job = engine.start("sleep 60", name="nightly")
    again = engine.start("sleep 60", name="nightly")
    assert (again["ansible_job_id"], again["job"]["attached"]) == (job["ansible_job_id"], True)
    engine.kill(job, "supervisor")
    assert engine.status(job)["job"]["state"] == "orphaned"
    assert engine.cancel(job)["job"]["state"] == "cancelled"
    assert engine.processes() == []
    assert engine.status(done, mode="cleanup")["changed"] is True


# The head of the direct way's program, then every module of the engine loaded from memory; a bad escape, say, is an error.
LOAD_ALL = """
import sys, warnings
warnings.simplefilter("error")
sys.modules[THIS] = sys.modules["__main__"]
sources = loads(SOURCES)
sys.meta_path.insert(0, Importer(sources))
for name in sorted(sources):
    load(name)
"""


@pytest.mark.parametrize("version", [pytest.param(version, id=f"{version[0]}.{version[1]}") for version in FOUND])
def test_every_module_compiles_and_loads(version: tuple[int, int]) -> None:
    engine = _program.ENGINE
    names = {path.relative_to(engine).with_suffix("").as_posix().replace("/", "."): path for path in engine.rglob("*.py")}
    boot = names.pop("_boot").read_text()
    sources = {_program.PREFIX + name: path.read_text() for name, path in names.items()}
    program = f"{boot}\nSOURCES = {json.dumps(json.dumps(sources))}\n{LOAD_ALL}"
    words = [FOUND[version].path, "-ISE", "-"]
    done = subprocess.run(words, input=program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
