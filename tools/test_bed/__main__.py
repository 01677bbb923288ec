# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts for tests: Linux namespaces with an sshd, a disk and users of their own, which can be cut off, frozen, filled and rebooted.

Each has its own network, processes, mounts, hostname, boot id, uptime and machine id; its files are this machine's, and what it
writes is its own and survives a reboot. /small is a small disk. Needs root, and no more than the distribution's packages.

Users: root; free (sudo), asked (sudo with its password), plain (no sudo), roofless (its home cannot be made), service (its home
is root's). The key opens all of them; passwords are in the inventory.

`up` prints the bed's folder, where inventory.ini, ssh_config, known_hosts and key are. All others are `VERB --bed FOLDER ...`, or
have it from LONGHAUL_BED in the environment.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import disks
import links
import making
import running
from beds import Bed, Host, all_beds
from machine import MARK, Failed, Missing, check
from relay import relay

# verb: what it does, to one host or more
ON_HOSTS = {
    "refuse": (links.refuse, "connections are refused at once, open ones reset"),
    "accept": (links.accept, "take refuse back"),
    "drop": (links.drop, "all packets vanish, both ways"),
    "undrop": (links.undrop, "take drop back"),
    "freeze": (running.freeze, "stop sshd and its sessions (SIGSTOP), not what they have started"),
    "thaw": (running.thaw, "take freeze back"),
    "freeze-host": (lambda hosts: running.freeze(hosts, ""), "stop every process of the host"),
    "thaw-host": (lambda hosts: running.thaw(hosts, ""), "take freeze-host back"),
    "poweroff": (running.power_off, "as if the plug were pulled"),
    "boot": (running.boot, "switch on again"),
    "restart-container": (running.restart_container, "a new pid namespace, with the same boot id and uptime"),
}
# verb: what it does, to one host and a path inside it
ON_PATHS = {
    "empty": (disks.empty, "take fill back"),
    "read-only": (disks.read_only, "what is below PATH cannot be written (mounted over; until the host is off)"),
    "read-write": (disks.read_write, "take read-only back"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="test_bed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    of_bed = argparse.ArgumentParser(add_help=False)
    of_bed.add_argument("--bed", default=os.environ.get("LONGHAUL_BED"), help="its folder")
    up = verbs.add_parser("up", help="make a bed")
    up.add_argument("count", metavar="HOSTS", type=int, help=f"how many, at most {making.MOST}: h1, h2, …")
    up.add_argument(
        "--owner", type=int, default=0, metavar="PID", help="the bed may go when this process has gone: the next `up` removes it"
    )
    up.add_argument("--share", action="append", default=[], metavar="PATH", help="a folder that all hosts share; may be given again")
    verbs.add_parser("down", parents=[of_bed], help="remove all that was made for a bed, also after a crash")
    verbs.add_parser("status", parents=[of_bed], help="its hosts; without a bed, the beds of this machine")
    for verb, (_work, text) in ON_HOSTS.items():
        verbs.add_parser(verb, parents=[of_bed], help=text).add_argument("hosts", nargs="+", metavar="HOST")
    reboot = verbs.add_parser("reboot", parents=[of_bed], help="poweroff and boot: a new boot id")
    reboot.add_argument("--off", type=float, default=0.0, metavar="SECONDS", help="for so long")
    reboot.add_argument("hosts", nargs="+", metavar="HOST")
    for verb, (_on_path, text) in ON_PATHS.items():
        of_path = verbs.add_parser(verb, parents=[of_bed], help=text)
        of_path.add_argument("host", metavar="HOST")
        of_path.add_argument("path", metavar="PATH")
    fill = verbs.add_parser("fill", parents=[of_bed], help="take all blocks or inodes that are free on the small file system of PATH")
    fill.add_argument("host", metavar="HOST")
    fill.add_argument("path", metavar="PATH")
    fill.add_argument("what", choices=["blocks", "inodes"])
    delay = verbs.add_parser("delay", parents=[of_bed], help="let packets wait, each way; `delay HOST off` takes it back")
    delay.add_argument("host", metavar="HOST")
    delay.add_argument("ms", metavar="MS|off")
    delay.add_argument("jitter", type=float, nargs="?", default=0.0, metavar="JITTER", help="ms, more or less")
    delay.add_argument("loss", type=float, nargs="?", default=0.0, metavar="LOSS", help="per cent")
    share = verbs.add_parser("share", parents=[of_bed], help="one folder at PATH for these hosts, also after reboots")
    share.add_argument("path", metavar="PATH")
    share.add_argument("hosts", nargs="+", metavar="HOST")
    execute = verbs.add_parser("exec", parents=[of_bed], help="run a command inside, as root")
    execute.add_argument("host", metavar="HOST")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD")
    return parser


def _bed(given: str | None) -> Bed:
    if not given:
        raise Failed("which bed? Give --bed FOLDER, or LONGHAUL_BED in the environment")
    try:
        return Bed(Path(os.path.abspath(given)))
    except ValueError as exc:
        raise Failed(str(exc)) from None


def _host(bed: Bed, name: str) -> Host:
    hosts = {host.name: host for host in bed.hosts}
    if name not in hosts:
        raise Failed(f"{bed.folder} has no host {name!r}: it has {', '.join(hosts) or 'none'}")
    return hosts[name]


def _up(count: int, shares: list[str], owner: int) -> None:
    began = time.monotonic()
    if not 1 <= count <= making.MOST:
        raise Failed(f"a bed has 1 to {making.MOST} hosts, not {count}")
    bed = making.claim()
    print(bed.folder, flush=True)
    making.fill_bed(bed, count, shares, owner)
    sys.stderr.write(f"{count} hosts in {time.monotonic() - began:.2f} s\n")


def _status(given: str | None) -> None:
    if given:
        bed = _bed(given)
        print("\n".join(map(making.describe, bed.hosts)))
        return
    for bed in all_beds():
        owner = bed.owner()
        keeper = f"kept by process {owner['pid']}" if owner.get("pid") else "until it is taken down"
        print(f"{bed.folder} {len(bed.hosts)} hosts, {keeper if bed.is_owned() else 'kept by nobody'}")


def carry_out(given: argparse.Namespace) -> int:
    """Carry out one verb; the exit status."""
    verb = given.verb
    if verb == "up":
        _up(given.count, given.share, given.owner)
        return 0
    if verb == "status":
        _status(given.bed)
        return 0
    bed = _bed(given.bed)
    if verb == "down":
        making.remove(bed)
        return 0
    os.environ[MARK] = str(bed.folder)
    hosts = [_host(bed, name) for name in getattr(given, "hosts", [])]
    if verb in ON_HOSTS:
        ON_HOSTS[verb][0](hosts)
    elif verb == "reboot":
        running.reboot(hosts, given.off)
    elif verb == "share":
        disks.share(bed, given.path, hosts)
    elif verb in ON_PATHS:
        ON_PATHS[verb][0](_host(bed, given.host), given.path)
    elif verb == "fill":
        disks.fill(_host(bed, given.host), given.path, given.what)
    elif verb == "exec":
        return making.execute(_host(bed, given.host), given.command)
    elif given.ms == "off":
        links.undelay(_host(bed, given.host))
    else:
        links.delay(_host(bed, given.host), float(given.ms), given.jitter, given.loss)
    return 0


def main(words: list[str]) -> int:
    """The command line: 0, 1 where something failed, 2 where it was not understood, 3 where this machine cannot hold a bed."""
    if words[:1] in (["_supervise"], ["_relay"]):
        host = _host(Bed(Path(words[1])), words[2])
        (running.supervise if words[0] == "_supervise" else relay)(host)
        return 0
    given = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # so that what is half made is removed
    try:
        check()
        return carry_out(given)
    except Missing as exc:
        sys.stderr.write(f"{exc}\n")
        return 3
    except (Failed, OSError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
