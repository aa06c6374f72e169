# SPDX-License-Identifier: LGPL-2.1-or-later
"""Peers that know the data plane and have a lease, and break off, lie about their version, or do not take answers."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import pytest
from lab.bench import Bench
from lab.data_plane import PAGE, READ, REPLY, WRITE, Borrower, Reply, receive, request
from lab.deadline import wait_until
from lab.hostile import Pair, fill_without_reading

UNSUPPORTED = 12  # heca/status.h
# What the sponsor may grow by. A connection costs it 20 KiB, and none of its pages is copied for an answer.
MAX_GROWTH_KIB = 8 * 1024


def cut_off(peer: socket.socket) -> bytes:
    """Everything that the other end says before it hangs up, which it must within the socket's timeout."""
    said = b""
    while True:
        try:
            more = peer.recv(65536)
        except ConnectionError:
            return said
        if not more:
            return said
        said += more


@pytest.fixture(scope="module")
def pair(module_bench: Bench) -> Pair:
    return Pair(module_bench)


@pytest.fixture
def borrower(bench: Bench, pair: Pair) -> Borrower:
    return bench.keep(Borrower(pair.sponsor, slots=4096))


def test_other_versions_are_told_ours(pair: Pair, borrower: Borrower) -> None:
    for versions in [(9, 9), (2, 65535)]:
        with borrower.connect() as peer:
            peer.sendall(borrower.hello("bulk", b"?" * 16, versions))
            reply = Reply.parse(receive(peer, REPLY.size))
            assert (reply.code, reply.version) == (UNSUPPORTED, 0)
            assert (reply.oldest, reply.newest) == (1, 1)
            assert f"versions {versions[0]} to {versions[1]}, this hecad 1 to 1" in reply.text
            assert cut_off(peer) == b""
    for impossible in [(0, 0), (0, 1), (9, 1)]:  # no version that anybody speaks: not our protocol
        with borrower.connect() as peer:
            peer.sendall(borrower.hello("bulk", b"?" * 16, impossible))
            assert cut_off(peer) == b""
    with borrower.connect() as peer:  # newer, and still speaks ours
        peer.sendall(borrower.hello("bulk", versions=(1, 9)))
        assert Reply.parse(receive(peer, REPLY.size)).version == 1
    pair.unharmed()


def test_a_hello_that_ends_at_any_byte(pair: Pair, borrower: Borrower) -> None:
    hello = borrower.hello("bulk")
    before = pair.sponsor.resident_kib()
    for size in range(len(hello)):
        with borrower.connect() as peer:
            peer.sendall(hello[:size])
            peer.shutdown(socket.SHUT_WR)
            assert cut_off(peer) == b"", size
    with borrower.connect() as peer:  # and the token is still good
        peer.sendall(hello)
        assert Reply.parse(receive(peer, REPLY.size)).code == 0
    pair.unharmed()
    assert pair.sponsor.resident_kib() - before < MAX_GROWTH_KIB


def broken_off(borrower: Borrower, role: str, message: bytes, sizes: Iterable[int]) -> None:
    for size in sizes:
        with borrower.admitted(role) as peer:
            peer.sendall(message[:size])
            peer.shutdown(socket.SHUT_WR)
            assert cut_off(peer) == b"", f"{role}, {size} of {len(message)} bytes"


def test_a_request_that_ends_at_any_byte(pair: Pair, borrower: Borrower, long_form: bool) -> None:
    """After a good hello. What was not written whole was not written, and is an error to read, not zeros."""
    borrower.write([1], b"w")
    read, write = request(READ, [1]), request(WRITE, [2]) + b"x" * PAGE
    before = pair.sponsor.resident_kib()
    broken_off(borrower, "urgent", read, range(len(read)))
    head = len(write) - PAGE
    broken_off(borrower, "bulk", write, range(len(write)) if long_form
               else [*range(head + 1), *range(head + 1, len(write), 512), len(write) - 1])
    assert borrower.read(2) is None
    assert borrower.read(1) == b"w" * PAGE
    borrower.write([2], b"y")
    assert borrower.read(2) == b"y" * PAGE
    pair.unharmed()
    assert pair.sponsor.resident_kib() - before < MAX_GROWTH_KIB


def test_peers_that_ask_for_much_and_stop_reading(pair: Pair, borrower: Borrower, long_form: bool) -> None:
    slots = list(range(1, 65))
    borrower.write(slots, b"w")
    many = request(READ, slots) * 256
    rounds = 10 if long_form else 1
    before = pair.sponsor.resident_kib()
    for _ in range(rounds):
        peers = [borrower.admitted(role) for role in ("urgent", "bulk") * 4]
        asked = sum(fill_without_reading(peer, many, 64 << 20) for peer in peers)
        answers = asked // len(request(READ, slots)) * len(slots) * PAGE
        assert answers > 256 << 20, "too little was asked for to show growth"
        pair.unharmed()
        assert pair.sponsor.resident_kib() - before < MAX_GROWTH_KIB, f"{answers >> 20} MiB were asked for"

        def served() -> int:
            nodes = pair.sponsor.ctl("nodes")["nodes"]
            return sum(connection["lease"] == borrower.lease for connection in nodes[0]["connections"])

        wait_until(lambda: served() == 0, 20, "peers that do not read cut off", poll=0.2)
        for peer in peers:
            peer.close()
    assert borrower.read(1) == b"w" * PAGE
    pair.unharmed()
    assert pair.sponsor.resident_kib() - before < MAX_GROWTH_KIB
