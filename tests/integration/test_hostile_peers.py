# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever comes in at both ports: refused or cut off, no growth of memory, others unharmed."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable

import pytest
from lab.bench import Bench
from lab.deadline import wait_until
from lab.hardship import MIB
from lab.hecad import Hecad

MAX_GROWTH_KIB = 48 * 1024  # glibc's arenas for the threads that served the rubbish
RNG = random.Random(20)


def random_bytes() -> bytes:
    return RNG.randbytes(RNG.choice([1, 7, 64, 4096, 65536]))


def http2_preface() -> bytes:
    """Right for gRPC, rubbish afterwards."""
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + random_bytes()


def huge_length() -> bytes:
    return b"\xff" * 64


def nothing() -> bytes:
    return b""


def throw(address: str, port: int, payload: bytes) -> None:
    """Sends, half-closes, and reads until the other end has had enough."""
    with socket.create_connection((address, port), timeout=5) as peer:
        try:
            peer.sendall(payload)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
        except (ConnectionError, TimeoutError, OSError):
            pass


def governed_pair(bench: Bench) -> tuple[Hecad, Hecad, Callable[[], None]]:
    sponsor = bench.sponsor("256MiB")
    compute = bench.compute(sponsor)
    process = bench.native(mib=96, threads=4, rate=1000)
    process.wait_ready()
    compute.attach(process.pid, "p1", "32MiB")
    compute.wait_resident_below("p1", 32 * MIB)

    def unharmed() -> None:
        process.wait_ticks(2, 30)
        process.check()

    return sponsor, compute, unharmed


@pytest.mark.parametrize("port", ["control", "data"])
def test_rubbish_is_cut_off(bench: Bench, port: str, long_form: bool) -> None:
    sponsor, _, unharmed = governed_pair(bench)
    number = sponsor.control_port if port == "control" else sponsor.data_port
    for make in (random_bytes, http2_preface, huge_length, nothing):
        for _ in range(20):
            throw(sponsor.address, number, make())
        before = sponsor.resident_kib()
        for _ in range(3000 if long_form else 100):
            throw(sponsor.address, number, make())
        unharmed()
        assert sponsor.alive()
        assert sponsor.resident_kib() - before < MAX_GROWTH_KIB, make.__name__


@pytest.mark.parametrize("port", ["control", "data"])
def test_peers_that_say_nothing_and_do_not_read(bench: Bench, port: str) -> None:
    sponsor, compute, unharmed = governed_pair(bench)
    number = sponsor.control_port if port == "control" else sponsor.data_port
    before = sponsor.resident_kib()
    silent = [socket.create_connection((sponsor.address, number), timeout=5) for _ in range(50)]
    unharmed()
    assert sponsor.resident_kib() - before < MAX_GROWTH_KIB
    if port == "data":  # no hello: the data plane does not wait for ever
        silent[0].settimeout(30)
        wait_until(lambda: silent[0].recv(64) == b"", 40, "a silent data connection cut off")
    for peer in silent:
        peer.close()
    compute.detach("p1")
    unharmed()
