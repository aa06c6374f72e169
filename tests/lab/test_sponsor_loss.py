# SPDX-License-Identifier: LGPL-2.1-or-later
"""The only sponsor of a VM's pages goes away: the VM waits and is stopped, and never sees zeros."""

from __future__ import annotations

from lab.bench import Bench
from lab.deadline import wait_until
from lab.hardship import MIB


def test_vm_is_stopped_and_goes_on_when_the_sponsor_returns(bench: Bench) -> None:
    sponsor = bench.sponsor("1GiB")
    compute = bench.compute(sponsor, loss_wait_seconds=3)
    guest = bench.qemu(mib=512, workload={"mib": 320, "rate": 4000})
    guest.guest.wait_ready()
    compute.attach(guest.pid, "r1", "128MiB", qmp=guest.heca_qmp)
    compute.wait_resident_below("r1", 128 * MIB)

    sponsor.kill()
    # QEMU says STOP only when every vCPU has stopped, and one of them waits for a page: hecad's own event tells.
    wait_until(lambda: any(event["kind"] == "vm-stopped" for event in compute.events()), 40, "event vm-stopped")
    guest.guest.check()

    sponsor.start()  # the same directories: its memory is still there
    guest.qmp.wait_event("RESUME", 60)
    guest.guest.wait_ticks(3, 60)
    assert guest.guest.verify() == 0
    guest.guest.check()
    compute.detach("r1")
    assert guest.guest.verify() == 0


def test_the_next_hecad_stops_and_continues_the_vm_too(bench: Bench) -> None:
    """After a take-over the monitor is connected anew."""
    sponsor = bench.sponsor("1GiB")
    compute = bench.compute(sponsor, loss_wait_seconds=3)
    guest = bench.qemu(mib=384, workload={"mib": 240, "rate": 4000})
    guest.guest.wait_ready()
    compute.attach(guest.pid, "r1", "96MiB", qmp=guest.heca_qmp)
    compute.wait_resident_below("r1", 96 * MIB)
    compute.kill()
    compute.start()
    compute.wait_active("r1")
    wait_until(lambda: "the VM's monitor is connected again" in compute.log.read_text(), 20, "monitor")

    sponsor.kill()
    wait_until(lambda: any(event["kind"] == "vm-stopped" for event in compute.events()), 40, "event vm-stopped")
    sponsor.start()
    guest.qmp.wait_event("RESUME", 60)
    guest.guest.wait_ticks(3, 60)
    compute.detach("r1")
    assert guest.guest.verify() == 0
    guest.guest.check()


def test_both_hecads_crash_together(bench: Bench) -> None:
    sponsor = bench.sponsor("1GiB")
    compute = bench.compute(sponsor)
    guest = bench.qemu(mib=384, workload={"mib": 240, "rate": 4000})
    guest.guest.wait_ready()
    compute.attach(guest.pid, "r1", "96MiB", qmp=guest.heca_qmp)
    compute.wait_resident_below("r1", 96 * MIB)
    for _ in range(2):
        compute.kill()
        sponsor.kill()
        sponsor.start()
        compute.start()
        compute.wait_active("r1", 30)
        guest.guest.wait_ticks(2, 60)
        guest.guest.check()
    compute.detach("r1")
    assert guest.guest.verify() == 0
    guest.guest.check()


def test_a_vm_whose_pages_are_lost_stands_still_and_goes_on_when_they_turn_up(bench: Bench) -> None:
    """Its sponsor comes back without its memory, which turns up later. Never zeros."""
    sponsor = bench.sponsor("1GiB")
    compute = bench.compute(sponsor, loss_wait_seconds=3)
    guest = bench.qemu(mib=384, workload={"mib": 240, "rate": 4000})
    guest.guest.wait_ready()
    compute.attach(guest.pid, "r1", "96MiB", qmp=guest.heca_qmp)
    compute.wait_resident_below("r1", 96 * MIB)
    slabs, aside = sponsor.memory / "slabs", sponsor.memory / "aside"
    sponsor.kill()
    slabs.rename(aside)
    sponsor.start()
    compute.wait_event("pages-lost")
    wait_until(lambda: any(event["kind"] == "vm-stopped" for event in compute.events()), 40, "event vm-stopped")
    assert compute.region("r1")["lost_bytes"] > 0
    before = guest.guest.ticks()
    guest.guest.check()

    sponsor.kill()
    slabs.rename(sponsor.memory / "empty")
    aside.rename(slabs)
    sponsor.start()
    compute.ctl("resolve", "r1", "--lost", "ask-again")
    guest.guest.wait_ticks(3, 60)
    assert len(guest.guest.ticks()) > len(before)
    assert guest.guest.verify() == 0
    guest.guest.check()
    compute.detach("r1")
    assert guest.guest.verify() == 0
