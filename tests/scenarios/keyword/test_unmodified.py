# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks as people write them, with core's keyword, run on core's own engine and on ours: the same outcome, task by task.

Whatever key core gives in a result, ours gives too, with the same value; what differs by intent is named in
comparison.DIFFERS.
"""

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

import ansible.release
import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.keyword.comparison import TABLE, Comparison
from ansible_collections.longhaul.jobs.tests.scenarios.support import BIN, COLLECTIONS, Run, Server, Stage, other_cores

HERE = Path(__file__).absolute().parent
MODULES = COLLECTIONS / "ansible_collections" / "longhaul" / "jobs" / "plugins" / "modules"
PLAYBOOKS = sorted(path.stem for path in (HERE / "playbooks").glob("*.yml"))
CORES = {ansible.release.__version__.rpartition(".")[0]: BIN} | other_cores()


class Pair:
    """The runs of all playbooks by one version of core, on its own engine and on ours."""

    def __init__(self, core: str, stage: Stage, server: Server) -> None:
        self.stage = stage
        self.runs: dict[str, dict[str, Run]] = {}
        folder = stage.folder / "playbooks"
        shutil.copytree(HERE / "playbooks", folder)
        for module in (folder / "library").glob("*.py"):  # where it lies, a linter wants no such line
            module.write_text("#!/usr/bin/python\n" + module.read_text())
        script = (folder / "library" / "style_json").read_bytes().replace(b"WANT_JSON", b"an executable")
        (folder / "library" / "style_binary").write_bytes(script + b"exit 0\n\0\n")
        if CORES[core] == BIN:
            stage.add_ssh(server)
        else:
            stage.add_local()
        engines: dict[str, dict[str, str]] = {"core": {}, "ours": {"ANSIBLE_LIBRARY": str(MODULES)}}
        for name in PLAYBOOKS:
            self.runs[name] = {}
            for engine, environment in engines.items():
                spool = stage.folder / f"{name}-{engine}"
                stage.spools.append(spool)
                for host in stage.hosts.values():
                    host.update(ansible_async_dir=str(spool), keyword_folder=f"/var/tmp/{stage.folder.name}-{engine}")
                run = stage.begin(
                    (folder / f"{name}.yml").read_text(), programs=CORES[core], folder=folder, ANSIBLE_PIPELINING="1", **environment
                )
                self.runs[name][engine] = run
            for run in self.runs[name].values():
                run.finish(rc=None)


@pytest.fixture(scope="module", params=sorted(CORES))
def pair(request: pytest.FixtureRequest, server: Server) -> t.Iterator[tuple[str, Pair]]:
    """A version of core and its runs; no process and no file is left."""
    from ansible_collections.longhaul.jobs.tests.scenarios.conftest import _stage

    for stage in _stage():
        yield request.param, Pair(request.param, stage, server)


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_the_outcome_is_the_same(name: str, pair: tuple[str, Pair]) -> None:
    core, runs = pair
    theirs, ours = (runs.runs[name][engine] for engine in ("core", "ours"))
    TABLE.setdefault(name, {})[core] = "FAILED"
    assert (theirs.rc, ours.rc) == (0, 0), f"{theirs.output[-3000:]}\n{ours.output[-3000:]}"
    ended = [_ended(run) for run in (theirs, ours)]
    assert [(task, host, kind) for task, host, kind, _result in ended[0]] == [(task, host, kind) for task, host, kind, _result in ended[1]]
    compared = Comparison(name)
    for (task, host, _kind, result), (_task, _host, _same, other) in zip(*ended, strict=True):
        compared.values(result, other, task, f"{task} ({host}): ")
    assert not compared.differences, "\n".join(compared.differences)
    TABLE[name][core] = f"same ({len(ended[0])}, {compared.count})"


def _ended(run: Run) -> list[tuple[str, str, str, t.Any]]:
    """Task, host, kind and result of what ended, by host and in order."""
    found = [(event["task"], event["host"], event["kind"], event["result"]) for event in run.events if event["kind"] != "retry"]
    return sorted(found, key=lambda event: event[1])
