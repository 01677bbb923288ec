# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts' links: made, refused, silent, slow."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

from beds import Bed, Host
from machine import must, run, send, wait_for
from running import daemon

# By address of the link: nothing passes, neither way, and nobody is told.
_SILENCE = """
table bridge TABLE {
    set silent { type ether_addr; }
    chain from_host { type filter hook input priority -200; ether saddr @silent drop; }
    chain to_host { type filter hook output priority -200; ether daddr @silent drop; }
    chain between { type filter hook forward priority -200; ether saddr @silent drop; ether daddr @silent drop; }
}
"""
# In the host: its ssh port answers with a reset, and sends nothing but resets.
_REFUSAL = """
table inet refused {
    chain input { type filter hook input priority 0; tcp dport 22 tcp flags & rst == 0 reject with tcp reset; }
    chain output { type filter hook output priority 0; tcp sport 22 tcp flags & rst == 0 reject with tcp reset; }
}
"""


def make_bridge(bed: Bed) -> None:
    """The bed's bridge and the table that can silence a host. Nothing for a host ever leaves by the machine's default route: that first."""
    must("ip", "route", "replace", "unreachable", bed.subnet, "metric", "4000")
    address = f"addr add {bed.gateway}/24 dev {bed.bridge}"
    must("ip", "-batch", "-", given=f"link add {bed.bridge} type bridge\nlink set {bed.bridge} up\n{address}\n")
    must("nft", "-f", "-", given=_SILENCE.replace("TABLE", bed.table))


def remove_bridge(bed: Bed) -> None:
    """All of the bed's links, its table and its route; none of them need be there."""
    for link in bed.links():
        run("ip", "link", "del", link, good=False)
    run("nft", "delete", "table", "bridge", bed.table, good=False)
    run("ip", "route", "del", "unreachable", bed.subnet, "metric", "4000", good=False)


def make_link(host: Host) -> None:
    """A network namespace and its link to the bridge."""
    host.net.touch()
    must("unshare", f"--net={host.net}", "true")
    within_net(host, "ip", "link", "set", "lo", "up")
    _make_veth(host)


def _make_veth(host: Host) -> None:
    words = f"link add {host.veth} type veth peer name eth0 address {host.mac} netns {host.net}"
    run("ip", "-batch", "-", given=f"{words}\nlink set {host.veth} master {host.bed.bridge} up\n")
    _set_address(host)


def _set_address(host: Host) -> None:
    within_net(host, "ip", "-batch", "-", given=f"link set eth0 address {host.mac} up\naddr add {host.address}/24 dev eth0\n")


def within_net(host: Host, *words: str, given: str = "", good: bool = True) -> str:
    """Run a program of the machine in the host's network namespace, which is there also while the host is off."""
    return run("nsenter", f"--net={host.net}", *words, given=given, good=good)


def refuse(hosts: list[Host]) -> None:
    """Connections are refused at once, and those that are open are reset."""
    for host in hosts:
        accept([host])
        within_net(host, "nft", "-f", "-", given=_REFUSAL)
        within_net(host, "ss", "--kill", "state", "connected", "sport", "=", "22", good=False)  # else reset by their next packet


def accept(hosts: list[Host]) -> None:
    """Take that back."""
    for host in hosts:
        within_net(host, "nft", "delete", "table", "inet", "refused", good=False)


def drop(hosts: list[Host]) -> None:
    """All packets vanish, both ways; the link looks up."""
    for host in hosts:
        run("nft", "add", "element", "bridge", host.bed.table, "silent", f"{{ {host.mac} }}")


def undrop(hosts: list[Host]) -> None:
    """Take that back."""
    for host in hosts:
        run("nft", "delete", "element", "bridge", host.bed.table, "silent", f"{{ {host.mac} }}", good=False)


def delay(host: Host, milliseconds: float, jitter: float, loss: float) -> None:
    """Let each packet wait so long, each way, give or take ``jitter``; lose ``loss`` percent of them."""
    settings = host.folder / "relay.json"
    settings.with_suffix(".new").write_text(json.dumps({"ms": milliseconds, "jitter": jitter, "loss": loss}))
    os.replace(settings.with_suffix(".new"), settings)
    if host.relay.exists():
        return
    run("ip", "link", "del", host.veth)
    daemon("_relay", host, host.folder / "relay.log")
    wait_for(host.relay.exists, f"the relay of {host.name}")
    _set_address(host)
    run("ip", "link", "set", host.tap, "master", host.bed.bridge, "up")


def undelay(host: Host) -> None:
    """Take that back."""
    if not host.relay.exists():
        return
    with contextlib.suppress(ValueError):
        send(signal.SIGKILL, [int(host.relay.read_text())])
    wait_for(lambda: not Path("/sys/class/net", host.tap).exists(), f"the end of {host.name}'s relay")
    wait_for(lambda: "eth0" not in within_net(host, "ip", "-o", "link"), f"the end of {host.name}'s relay")
    host.relay.unlink()
    _make_veth(host)
