# SPDX-License-Identifier: LGPL-2.1-or-later
"""Peers that mean no good, and the governed process that must not notice them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from lab.bench import Bench
from lab.hardship import MIB
from lab.hecad import Hecad
from lab.workload import NativeWorkload

# A port (HOST, PORT), or a unix socket.
Address = tuple[str, int] | Path


def connect(address: Address, seconds: float = 5) -> socket.socket:
    if not isinstance(address, Path):
        return socket.create_connection(address, timeout=seconds)
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(seconds)
    peer.connect(str(address))
    return peer


def throw(address: Address, payload: bytes) -> None:
    """Sends, half-closes, and reads until the other end has had enough."""
    with connect(address) as peer:
        try:
            peer.sendall(payload)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
        except (ConnectionError, TimeoutError, OSError):
            pass


def fill_without_reading(peer: socket.socket, piece: bytes, most: int) -> int:
    """Sends `piece` again and again until nobody takes it any more or `most` bytes are out; how many were."""
    peer.setblocking(False)
    sent = 0
    while sent < most:
        try:
            sent += peer.send(piece[sent % len(piece):])
        except OSError:  # full, or cut off
            break
    return sent


class Pair:
    """A sponsor, a hecad that borrows there, and a process that proves its memory meanwhile."""

    def __init__(self, bench: Bench) -> None:
        self.sponsor: Hecad = bench.sponsor("256MiB")
        self.compute: Hecad = bench.compute(self.sponsor)
        self.process: NativeWorkload = bench.native(mib=96, threads=4, rate=1000)
        self.process.wait_ready()
        self.compute.attach(self.process.pid, "p1", "32MiB")
        self.compute.wait_resident_below("p1", 32 * MIB)

    def unharmed(self) -> None:
        self.process.wait_ticks(2, 30)
        self.process.check()
        assert self.sponsor.alive() and self.compute.alive()

    def door(self, name: str) -> tuple[Address, Callable[[], int]]:
        """Where to knock, and how much memory the hecad behind it has (KiB)."""
        if name == "socket":
            return self.compute.socket, self.compute.resident_kib
        port = self.sponsor.control_port if name == "control" else self.sponsor.data_port
        return (self.sponsor.address, port), self.sponsor.resident_kib


DOORS = ["control", "data", "socket"]
