# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever comes in at both ports and the socket: refused or cut off, no growth of memory, others unharmed."""

from __future__ import annotations

import random

import pytest
from lab.bench import Bench
from lab.deadline import wait_until
from lab.hostile import DOORS, Pair, connect, fill_without_reading, throw

MAX_GROWTH_KIB = 48 * 1024  # glibc's arenas for the threads that served the rubbish
RNG = random.Random(20)
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HTTP2_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
HTTP2_PING = bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + b"12345678"


def random_bytes() -> bytes:
    return RNG.randbytes(RNG.choice([1, 7, 64, 4096, 65536]))


def http2_preface() -> bytes:
    """Right for gRPC, rubbish afterwards."""
    return HTTP2_PREFACE + random_bytes()


def huge_length() -> bytes:
    return b"\xff" * 64


def nothing() -> bytes:
    return b""


@pytest.fixture(scope="module")
def pair(module_bench: Bench) -> Pair:
    return Pair(module_bench)


@pytest.mark.parametrize("door", DOORS)
def test_rubbish_is_cut_off(pair: Pair, door: str, long_form: bool) -> None:
    address, resident_kib = pair.door(door)
    for make in (random_bytes, http2_preface, huge_length, nothing):
        for _ in range(20):
            throw(address, make())
        before = resident_kib()
        for _ in range(3000 if long_form else 100):
            throw(address, make())
        pair.unharmed()
        assert resident_kib() - before < MAX_GROWTH_KIB, make.__name__


@pytest.mark.parametrize("door", DOORS)
def test_peers_that_say_nothing_and_do_not_read(pair: Pair, door: str) -> None:
    address, resident_kib = pair.door(door)
    before = resident_kib()
    silent = [connect(address) for _ in range(50)]
    pair.unharmed()
    assert resident_kib() - before < MAX_GROWTH_KIB
    if door == "data":  # no hello: the data plane does not wait for ever
        silent[0].settimeout(30)
        wait_until(lambda: silent[0].recv(64) == b"", 40, "a silent data connection cut off")
    pair.compute.limit("p1", "48MiB")
    pair.compute.limit("p1", "32MiB")
    for peer in silent:
        peer.close()
    pair.unharmed()


@pytest.mark.parametrize("door", ["control", "socket"])
def test_peers_that_ask_and_do_not_read_the_answers(pair: Pair, door: str, long_form: bool) -> None:
    """HTTP/2 whose every frame has to be acknowledged, by peers that never take an acknowledgement."""
    address, resident_kib = pair.door(door)
    before = resident_kib()
    for _ in range(20 if long_form else 2):
        peers = [connect(address) for _ in range(32)]
        sent = 0
        for peer in peers:
            peer.sendall(HTTP2_PREFACE + HTTP2_SETTINGS)
            sent += fill_without_reading(peer, HTTP2_PING * 1000, 16 << 20)
        assert sent > 1 << 20
        pair.unharmed()
        assert resident_kib() - before < MAX_GROWTH_KIB, f"after {sent >> 20} MiB of questions"
        for peer in peers:
            peer.close()
