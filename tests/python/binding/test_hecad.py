# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real hecad that governs a real process, from Python; the process verifies its memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

import heca
import pytest
from lab.bench import Bench
from lab.deadline import wait_until
from lab.workload import NativeWorkload
from test_waits import Spinner

MIB = 1 << 20


@pytest.fixture
def workload(bench: Bench) -> NativeWorkload:
    process = bench.native(mib=96, threads=4, rate=2000)
    process.wait_ready()
    return process


@pytest.fixture
def client(bench: Bench) -> Iterator[heca.Client]:
    compute = bench.compute(bench.sponsor("256MiB"))
    with heca.Client(compute.socket) as client:
        wait_until(lambda: client.nodes()[1].health == "alive", 20, "the sponsor is known")
        yield client


def test_attach_limit_detach(client: heca.Client, workload: NativeWorkload) -> None:
    with client.events(follow=True) as stream, Spinner() as spinner:
        turns = spinner.turns
        operation = client.attach(pid=workload.pid, region="p1", local="24MiB")
        progress = list(operation)
        region = operation.result()
        assert region.state == "active" and region.pid == workload.pid
        assert region.limit_bytes == 24 * MIB and region.resident_bytes <= 24 * MIB
        assert region.blocks[0].size_bytes == region.size_bytes == 96 * MIB
        assert region.stores[0].sponsor == "sponsor" and region.stores[0].state == "good"
        assert progress and {one.phase for one in progress} & {"capture", "reserve", "write-back"}

        def happens(kind: str) -> heca.Event:
            return next(event for event in stream if event.kind == kind)

        assert happens("attached").region == "p1"
        workload.wait_ticks(2, 30)
        (stats,) = client.stats("p1")
        assert stats.evictions > 0 and stats.faults["sponsor"].count > 0
        assert stats.faults["sponsor"].p50_ns <= stats.faults["sponsor"].p99_ns
        assert client.limit("p1", "64MiB").result().limit_bytes == 64 * MIB
        assert happens("limit-changed").region == "p1"
        before = spinner.turns
        assert client.detach("p1").result() is None
        assert spinner.turns > before > turns
        assert happens("detached").region == "p1"
    assert client.regions() == []
    assert workload.verify() == 0
    workload.check()


def test_what_hecad_refuses(client: heca.Client, workload: NativeWorkload) -> None:
    with pytest.raises(heca.NotFound, match="no process"):
        client.attach(pid=2**22 - 1, local="24MiB").result()
    with pytest.raises(heca.Error, match="unknown|option") as caught:
        client.attach(pid=workload.pid, local="24MiB", options={"no-such": "1"}).result()
    assert caught.value.code in ("INVALID_ARGUMENT", "UNSUPPORTED")
    client.attach(pid=workload.pid, region="p1", mapping=heca.Mapping(path=str(workload.file))).result()
    with pytest.raises(heca.AlreadyExists):
        client.attach(pid=workload.pid, region="p2", local="24MiB").result()
    client.detach("p1").result()
    assert workload.verify() == 0


def test_a_cancelled_attach_leaves_the_process_well(client: heca.Client, workload: NativeWorkload) -> None:
    """It is undone, or it is there and shrinks to its limit: nothing in between."""
    operation = client.attach(pid=workload.pid, region="p1", local="8MiB")
    next(operation)
    operation.cancel()
    with pytest.raises(heca.Aborted):
        operation.result()

    def settled() -> bool:
        return all(region.state == "active" for region in client.regions())

    wait_until(settled, 30, "attached or not")
    time.sleep(0.2)
    if client.regions():
        client.detach("p1").result()
    assert workload.verify() == 0
    workload.check()
