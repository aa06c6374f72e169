# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ten thousand calls leave nothing behind."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import heca
import pytest
from conftest import Fake

CALLS = 10_000


def resident_kib() -> int:
    return next(
        int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon:")
    )


def grows_by(call: Callable[[], object], times: int) -> tuple[int, int]:
    """KiB and Python's memory blocks, after a tenth of the calls has warmed everything up."""

    def run(count: int) -> tuple[int, int]:
        for _ in range(count):
            call()
        gc.collect()
        return resident_kib(), sys.getallocatedblocks()

    before, after = run(times // 10), run(times)
    return after[0] - before[0], after[1] - before[1]


def test_questions_and_errors(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake().socket) as client:
        client.attach(pid=7, region="vm1").result()

        def ask() -> None:
            client.about()
            client.nodes()
            client.regions()
            client.stats()
            client.leases()
            with pytest.raises(heca.NotFound):
                client.region("nobody")
            with pytest.raises(heca.InvalidArgument):
                client.limit("vm1", "2XB")

        kib, blocks = grows_by(ask, CALLS // 5)
        assert kib < 1024 and blocks < 200


def test_operations_and_streams(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake().socket) as client:

        def work() -> None:
            client.attach(pid=7, region="vm1").result()
            list(client.limit("vm1", 1 << 20))
            list(client.events())
            client.detach("vm1").result()

        kib, blocks = grows_by(work, CALLS // 20)
        assert kib < 2048 and blocks < 200
    assert threading.active_count() < 10


def test_clients(fake: Callable[..., Fake]) -> None:
    """Each has a connection of its own."""
    hecad = fake()

    def use() -> None:
        with heca.Client(hecad.socket) as client:
            client.about()

    kib, blocks = grows_by(use, CALLS // 20)
    assert kib < 2048 and blocks < 200
    assert len(list(Path("/proc/self/fd").iterdir())) < 100
