# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S8, S9: a link that is down for a while, and a host that is gone for good, while `until` waits for its job."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.longhaul.jobs.tests.scenarios.bed import Bed
from ansible_collections.longhaul.jobs.tests.scenarios.faults.core_fails import CORE, OURS, TABLE
from ansible_collections.longhaul.jobs.tests.scenarios.faults.outages import OUTAGE, outage
from ansible_collections.longhaul.jobs.tests.scenarios.support import Run, Stage

BED_HOSTS = 3


def _people(stage: Stage, bed: Bed, ours: dict[str, tuple[str, str]], patience: str) -> None:
    """Ours, by their names: (host, transport), and core by the name of each host; each with a master connection and a job of its own."""
    gate = f"/var/tmp/{stage.folder.name}"
    for name, (host, transport) in {**{f"core-{host}": (host, "core") for host in bed.hosts}, **ours}.items():
        own: dict[str, t.Any] = {"gate": gate, "ansible_control_path_dir": str(stage.folder / f"cp-{transport}")}
        if name in ours:
            # a look by the module way takes a second where two processors have much to do
            own.update(patience=patience, longhaul_transport=transport, longhaul_look_timeout=6 if transport == "module" else 3)
        stage.add_bed_host(bed, host, name=name, **own)


def _begin(stage: Stage) -> tuple[Run, Run]:
    """Our run and core's, in which each job has been asked for once."""
    core = stage.begin(CORE, "--forks", "4", hosts="core-*", PYTHONUNBUFFERED="1", ANSIBLE_PIPELINING="1")
    ours = stage.begin(OURS, "--forks", "4", hosts="all:!core-*", PYTHONUNBUFFERED="1")
    for run in (ours, core):
        _until_asked(run, [name for name in stage.hosts if name.startswith("core-") == (run is core)])
    return ours, core


def _until_asked(run: Run, names: list[str]) -> None:
    run.wait_for(lambda: all(run.of("Wait", name) for name in names))


def _has_missed(run: Run, names: t.Iterable[str]) -> bool:
    """Whether of each of these a look was missed, and that was said."""
    looks = run.of("Wait")
    assert all("job" in look["result"] for look in looks), looks
    missed = {look["host"] for look in looks if not look["result"]["job"]["reachable"]}
    return missed.issuperset(names) and all(f"{name} was not reached: " in run.output for name in names)


def test_a_link_that_is_down_for_a_while_is_waited_for(stage: Stage, bed: Bed) -> None:
    """S8: refused, silent, or with sshd and its sessions standing still: the wait goes on and ends with the job's result."""
    names = {"refused": ("h1", "direct"), "silent": ("h2", "direct"), "frozen": ("h3", "direct"), "silent-module": ("h2", "module")}
    _people(stage, bed, names, "1m")
    ours, core = _begin(stage)
    with outage(bed, "freeze"):
        cut = time.monotonic()
        ours.wait_for(lambda: time.monotonic() > cut + OUTAGE and _has_missed(ours, names))
        assert core.last("Wait", "core-h1")["kind"] == "unreachable"
    for host in bed.hosts:
        bed.execute(host, "touch", f"/var/tmp/{stage.folder.name}")
    ours.finish()
    for name in names:
        result = ours.result("Wait", name)
        assert (result["finished"], result["rc"], result["stdout_lines"]) == (True, 0, ["begun", "let go"]), name
        assert (result["job"]["state"], result["job"]["reachable"]) == ("succeeded", True)
    core.finish(rc=4)
    TABLE["the link is refused for 6 s, in until"] = "UNREACHABLE at once, the host is out of the play"
    for host, way in (("h2", "all packets are dropped"), ("h3", "sshd is frozen")):
        assert core.result("Wait", f"core-{host}")["rc"] == 0
        TABLE[f"the link is silent for 6 s, in until ({way})"] = "one look hangs as long, without a word; then it goes on"


def test_a_host_that_is_gone_for_good_is_unreachable(stage: Stage, bed: Bed) -> None:
    """S9: it refuses, is silent, or is off: said after the first missed look, given up after unreachable_timeout."""
    names = {"refused": ("h1", "direct"), "silent": ("h2", "direct"), "off": ("h3", "direct")}
    _people(stage, bed, names, "6s")
    ours, core = _begin(stage)
    with outage(bed, "poweroff"):
        cut = time.monotonic()
        ours.wait_for(lambda: _has_missed(ours, names))
        ours.finish(rc=4, seconds=40)
        took = time.monotonic() - cut
        kinds = [core.last("Wait", f"core-{host}")["kind"] for host in bed.hosts]
        is_waiting = core.process.poll() is None
        core.stop()
    for name in names:
        result = ours.result("Wait", name)
        assert ours.last("Wait", name)["kind"] == "unreachable"
        assert result["ansible_job_id"] == ours.result("Start", name)["ansible_job_id"]
        assert (result["job"]["host"], result["job"]["reachable"]) == (name, False)
    assert took >= 6
    assert (kinds, is_waiting) == (["unreachable", "retry", "retry"], True)
    assert "WARNING" not in core.output
    TABLE["the host is gone for good, and refuses"] = "UNREACHABLE at once"
    TABLE["the host is gone for good, and silent (dropped, off)"] = f"hangs without a word; stopped after {took:.0f} s"


# After core has made its folder, and while the file at `broken` is there, nothing gets through.
BROKEN = """#!/bin/sh
if test -e {broken}; then
    case "$0 $*" in *mkdir*|*echo*|*-O\\ *) ;; *) {fault} ;; esac
fi
exec {program} "$@"
"""
FAULTS = {"h1": "exec sleep 1000", "h2": "exit 255"}


def test_a_look_that_is_cut_while_core_puts_the_module_there_is_missed(stage: Stage, bed: Bed) -> None:
    """S8, by the module way: silent, or refused, from the middle of a look on; core's own cleaning up afterwards harms nothing."""
    broken, gate = stage.folder / "broken", f"/var/tmp/{stage.folder.name}"
    for host, fault in FAULTS.items():
        own: dict[str, t.Any] = {"gate": gate, "longhaul_transport": "module", "longhaul_look_timeout": 5}
        for program in ("ssh", "sftp", "scp"):
            path = stage.folder / f"{host}-{program}"
            path.write_text(BROKEN.format(broken=broken, program=program, fault=fault))
            path.chmod(0o755)
            own[f"ansible_{program}_executable"] = str(path)
        stage.add_bed_host(bed, host, **own)
    run = stage.begin(OURS, PYTHONUNBUFFERED="1")
    _until_asked(run, list(FAULTS))
    broken.touch()
    run.wait_for(lambda: _has_missed(run, FAULTS), 60)
    broken.unlink()
    for host in FAULTS:
        bed.execute(host, "touch", gate)
    run.finish()
    for host in FAULTS:
        assert run.result("Wait", host)["stdout_lines"] == ["begun", "let go"]
