# SPDX-License-Identifier: LGPL-2.1-or-later
"""The only sponsor of a VM's pages goes away: the VM waits and is stopped, and never sees zeros."""

from __future__ import annotations

from typing import Any

from lab.bench import Bench
from lab.deadline import wait_until
from lab.hardship import MIB
from lab.hecad import Hecad
from lab.qemu import Qemu


def governed(bench: Bench, mib: int = 384, **compute_options: Any) -> tuple[Hecad, Hecad, Qemu]:
    """A VM with a quarter of its memory here and the rest at one sponsor: the sponsor, its own hecad, and the VM."""
    sponsor = bench.sponsor("1GiB")
    compute = bench.compute(sponsor, **compute_options)
    vm = bench.qemu(mib=mib, workload={"mib": mib * 5 // 8, "rate": 4000})
    vm.guest.wait_ready()
    compute.attach(vm.pid, "r1", f"{mib // 4}MiB", qmp=vm.heca_qmp)
    compute.wait_resident_below("r1", mib // 4 * MIB)
    return sponsor, compute, vm


def test_vm_is_stopped_and_goes_on_when_the_sponsor_returns(bench: Bench) -> None:
    sponsor, compute, guest = governed(bench, mib=512, loss_wait_seconds=3)

    sponsor.kill()
    # QEMU says STOP only when every vCPU has stopped, and one of them waits for a page: hecad's own event tells.
    compute.wait_event("vm-stopped", 40)
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
    sponsor, compute, guest = governed(bench, loss_wait_seconds=3)
    compute.kill()
    compute.start()
    compute.wait_active("r1")
    wait_until(lambda: "the VM's monitor is connected again" in compute.log.read_text(), 20, "monitor")

    sponsor.kill()
    compute.wait_event("vm-stopped", 40)
    sponsor.start()
    guest.qmp.wait_event("RESUME", 60)
    guest.guest.wait_ticks(3, 60)
    compute.detach("r1")
    assert guest.guest.verify() == 0
    guest.guest.check()


def test_both_hecads_crash_together(bench: Bench) -> None:
    sponsor, compute, guest = governed(bench)
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
    sponsor, compute, guest = governed(bench, loss_wait_seconds=3)
    slabs, aside = sponsor.memory / "slabs", sponsor.memory / "aside"
    sponsor.kill()
    slabs.rename(aside)
    sponsor.start()
    compute.wait_event("pages-lost")
    compute.wait_event("vm-stopped", 40)
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
