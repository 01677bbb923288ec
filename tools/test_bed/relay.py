# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay that delays: a process between two taps, the host's eth0 and the machine's end of its link. Not every kernel has netem."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import time

from beds import Host

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 2, 0x1000
_CLONE_NEWNET = 0x40000000


def _tap(name: str) -> int:
    """A tap in the network namespace of this process; its descriptor."""
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return handle


def _enter(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns", path)
    os.close(handle)


def relay(host: Host) -> None:
    """Pass packets on, for ever, as the host's relay.json says, which is read 20 times a second."""
    outer = _tap(host.tap)
    _enter(str(host.net))
    inner = _tap("eth0")
    pid = host.relay.with_suffix(".new")
    pid.write_text(str(os.getpid()))
    os.replace(pid, host.relay)
    waiting: list[tuple[float, int, int, bytes]] = []  # when, count, to which, what
    settings = {"ms": 0.0, "jitter": 0.0, "loss": 0.0}
    poll = select.epoll()
    for handle in (inner, outer):
        poll.register(handle, select.EPOLLIN)
    look_again = 0.0
    count = 0
    while True:
        now = time.monotonic()
        if now >= look_again:
            settings = json.loads((host.folder / "relay.json").read_text())
            look_again = now + 0.05
        while waiting and waiting[0][0] <= now:
            _when, _count, target, packet = heapq.heappop(waiting)
            with contextlib.suppress(OSError):  # the other end is down
                os.write(target, packet)
        for handle, _event in poll.poll(max(0.0, min(look_again, waiting[0][0] if waiting else look_again) - now)):
            for packet in _packets(handle):
                if random.random() * 100 >= settings["loss"]:
                    count += 1
                    wait = settings["ms"] + random.uniform(-1, 1) * settings["jitter"]
                    heapq.heappush(waiting, (time.monotonic() + max(0.0, wait) / 1000, count, outer if handle == inner else inner, packet))


def _packets(handle: int) -> list[bytes]:
    """Those that have come, a few at most."""
    found: list[bytes] = []
    with contextlib.suppress(OSError):
        while len(found) < 64:
            found.append(os.read(handle, 65536))
    return found
