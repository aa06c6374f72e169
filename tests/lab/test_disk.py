# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disk reads that land in guest memory while that memory is being evicted: no wrong byte, and proof that the test
would see one."""

from __future__ import annotations

import time

import pytest

from lab.bench import Bench
from lab.deadline import LabError, wait_until
from lab.hardship import MIB
from lab.hecad import Hecad
from lab.qemu import Disk, Qemu

SEED = 11
POOL = {"mode": "disk", "mib": 300, "threads": 3, "seed": SEED, "read_kib": 256}


def reading_guest(bench: Bench, cache: str, aio: str = "threads", fail: str = "", local_mib: int = 192) -> Qemu:
    return governed_reader(bench, bench.compute(bench.sponsor("1GiB"), fail=fail), cache, aio, local_mib)


def governed_reader(bench: Bench, compute: Hecad, cache: str, aio: str, local_mib: int = 192) -> Qemu:
    """A guest with 300 MiB of read buffers at 192 MiB local, its disk slow enough that reads are long in flight."""
    path = bench.disk(mib=512, seed=SEED)
    guest = bench.qemu(mib=512, disk=Disk(path, cache, aio), workload=POOL)
    guest.guest.wait_ready()
    if cache == "none":
        try:
            bench.slow_disk(path, guest.pid, 40 * MIB)
        except OSError:
            pass  # no blkio controller here: the disk is as slow as it is
    compute.attach(guest.pid, "r1", f"{local_mib}MiB", qmp=guest.heca_qmp)
    compute.wait_resident_below("r1", local_mib * MIB)
    return guest


def read_on(guest: Qemu, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        guest.guest.wait_ticks(2, 60)
        guest.guest.check()


@pytest.mark.parametrize(("cache", "aio"), [("none", "threads"), ("none", "native"), ("writeback", "threads")])
def test_disk_reads_survive_eviction(bench: Bench, cache: str, aio: str, long_form: bool) -> None:
    guest = reading_guest(bench, cache, aio)
    read_on(guest, 600 if long_form else 25)
    assert guest.guest.verify() == 0
    guest.guest.check()


def test_after_a_take_over_the_rule_of_the_queues_is_in_force_again(bench: Bench) -> None:
    compute = bench.compute(bench.sponsor("1GiB"))
    guest = governed_reader(bench, compute, "none", "native")
    before = compute.region("r1")["io_rule"]
    assert "until the virtio queues were idle" in before
    compute.kill()
    compute.start()
    compute.wait_active("r1")
    wait_until(lambda: compute.region("r1")["io_rule"] == before, 30, f"rule '{before}'")
    read_on(guest, 10)
    assert guest.guest.verify() == 0
    guest.guest.check()


def test_without_the_io_guard_the_corruption_is_seen(bench: Bench) -> None:
    """The control: with the fail point skip-io-guard the very same test must find wrong bytes."""
    guest = reading_guest(bench, "none", fail="skip-io-guard=on")
    with pytest.raises(LabError, match="lines of damage"):
        read_on(guest, 120)
