# SPDX-License-Identifier: LGPL-2.1-or-later
"""A region's own choice of transport, on a host without an RDMA device; with one: tests/lab/rdma."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from lab.bench import Bench
from lab.hardship import MIB, Account, come_home
from lab.hecad import CommandFailed, Hecad
from lab.workload import NativeWorkload


def target(bench: Bench) -> NativeWorkload:
    process = bench.native(mib=64, threads=4, rate=1000)
    process.wait_ready()
    return process


def attach(compute: Hecad, process: NativeWorkload, way: str) -> None:
    compute.attach(process.pid, "p1", "32MiB", extra=["--transport", way])


def refused(compute: Hecad, process: NativeWorkload, way: str, says: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        attach(compute, process, way)
    assert re.search(says, caught.value.text), caught.value.text
    assert compute.regions() == []
    process.check()


def used(compute: Hecad) -> list[str]:
    return [store["transport"] for store in compute.region("p1")["stores"]]


def test_a_choice_that_the_node_or_the_host_excludes_is_refused(bench: Bench) -> None:
    sponsor = bench.sponsor("256MiB")
    plain, picky = bench.compute(sponsor), bench.compute(sponsor, name="picky", transport="tcp")
    process = target(bench)
    refused(picky, process, "rdma", "transport rdma was asked for, and this hecad's is tcp: leave it out, or set transport")
    refused(plain, process, "rdma", "this host has no RDMA device .*: say transport auto or tcp")
    assert sponsor.leases() == []
    for way in ("tcp", "auto"):
        attach(plain, process, way)
        assert used(plain) == ["tcp"]
        plain.detach("p1")
    assert process.verify() == 0


def record_of(compute: Hecad) -> Path:
    return compute.memory / "run/regions/p1/region.json"


def test_it_is_kept_over_a_restart_and_an_older_record_reads_as_auto(bench: Bench) -> None:
    compute = bench.compute(bench.sponsor("256MiB"), transport="tcp")
    process = target(bench)
    attach(compute, process, "tcp")
    compute.wait_resident_below("p1", 32 * MIB)

    def restarted_with(choice: str | None) -> None:
        compute.kill()
        record = json.loads(record_of(compute).read_text())
        del record["transport"]
        record_of(compute).write_text(json.dumps(record | ({"transport": choice} if choice else {})))
        compute.start()

    assert json.loads(record_of(compute).read_text())["transport"] == "tcp"
    restarted_with("rdma")  # as if hecad.toml had said auto before
    alarm = compute.wait_event("alarm")
    assert "its pages cannot travel: " in alarm["text"] and "transport rdma was asked for" in alarm["text"]
    assert used(compute) == [""], "nothing travels by a way that was not asked for"
    restarted_with(None)
    compute.wait_active("p1")
    process.wait_ticks(2, 60)
    assert used(compute) == ["tcp"]
    assert json.loads(record_of(compute).read_text())["transport"] == "auto"
    assert come_home(compute, {"p1": process}, Account()).errors == 0
