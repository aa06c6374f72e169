# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests that verify themselves while their memory lives mostly on another hecad. Short forms; HECA_LONG=1 for long."""

from __future__ import annotations

from lab.bench import Bench
from lab.hardship import MIB, Account, Plan, come_home, crash_and_return, live_through
from lab.hecad import Hecad
from lab.qemu import Qemu


def govern(compute: Hecad, guest: Qemu, region: str, local_mib: int) -> None:
    """Attaches, and waits until the guest really is as small as it should be."""
    guest.guest.wait_ready()
    before = guest.resident_bytes()
    compute.attach(guest.pid, region, f"{local_mib}MiB", qmp=guest.heca_qmp)
    compute.wait_resident_below(region, local_mib * MIB)
    assert guest.resident_bytes() < before
    assert guest.resident_bytes() <= (local_mib + 32) * MIB
    guest.guest.wait_ticks(1, 30)
    guest.guest.check()


def assert_unharmed(account: Account) -> None:
    assert account.errors == 0


def test_hard_life_of_one_guest(bench: Bench, long_form: bool) -> None:
    """1 GiB guest, 800 MiB verified, 256 MiB here: limits, crashes, a cut link, detach, and on alone."""
    link = bench.link()
    sponsor = bench.sponsor("1536MiB", link=link)
    compute = bench.compute(sponsor)
    guest = bench.qemu(mib=1024, sandbox=True, user="libvirt-qemu", workload={"mib": 800, "rate": 6000})
    govern(compute, guest, "r1", 256)
    account = live_through(Plan.long() if long_form else Plan(kills=3), compute, {"r1": guest.guest}, link)
    assert_unharmed(come_home(compute, {"r1": guest.guest}, account))


def test_two_guests_at_once(bench: Bench, long_form: bool) -> None:
    compute = bench.compute(bench.sponsor("1536MiB"))
    guests = {f"r{n}": bench.qemu(f"guest{n}", mib=512, workload={"mib": 320, "rate": 3000, "seed": n})
              for n in (1, 2)}
    for region, guest in guests.items():
        govern(compute, guest, region, 128)
    workloads = {region: guest.guest for region, guest in guests.items()}
    plan = Plan.long() if long_form else Plan(limits=[96, 192, 128], kills=1)
    assert_unharmed(come_home(compute, workloads, live_through(plan, compute, workloads, None)))


def test_two_node_guest_with_balloon(bench: Bench, long_form: bool) -> None:
    """Two RAM blocks in one region; what the balloon discards comes back as zero and never as old bytes."""
    compute = bench.compute(bench.sponsor("1536MiB"))
    guest = bench.qemu(mib=768, nodes=2, balloon=True, free_page_reporting=True,
                       workload={"mib": 320, "rate": 4000})
    govern(compute, guest, "r1", 160)
    assert len(compute.region("r1")["blocks"]) >= 2
    account = Account()
    for _ in range(10 if long_form else 2):
        guest.inflate_to(520)
        guest.guest.wait_ticks(1, 30)
        guest.inflate_to(768)
        guest.guest.wait_ticks(1, 30)
        crash_and_return(compute, ["r1"], account)
        guest.guest.check()
    plan = Plan.long() if long_form else Plan(limits=[96, 256], kills=0)
    assert_unharmed(come_home(compute, {"r1": guest.guest}, live_through(plan, compute, {"r1": guest.guest}, None)))


def test_guest_in_huge_pages(bench: Bench, long_form: bool) -> None:
    pages = bench.huge_pages(640)
    compute = bench.compute(bench.sponsor("1GiB"))
    guest = bench.qemu(mib=512, ram_dir=pages.path, workload={"mib": 320, "rate": 200})
    govern(compute, guest, "r1", 256)
    plan = Plan(limits=[128, 384, 192, 256], kills=20 if long_form else 1, settle_seconds=120)
    assert_unharmed(come_home(compute, {"r1": guest.guest}, live_through(plan, compute, {"r1": guest.guest}, None)))


def test_guest_down_to_32_mib_and_back(bench: Bench) -> None:
    compute = bench.compute(bench.sponsor("1GiB"))
    guest = bench.qemu(mib=256, cpus=1, workload={"mib": 128, "threads": 1, "rate": 500})
    govern(compute, guest, "r1", 32)
    compute.limit("r1", "256MiB")
    assert_unharmed(come_home(compute, {"r1": guest.guest}, Account()))


def test_guest_with_a_hot_plugged_dimm(bench: Bench) -> None:
    """The guest verifies more than it was started with, so it uses the DIMM, which is a block of its region."""
    compute = bench.compute(bench.sponsor("1GiB"))
    guest = bench.qemu(mib=256, dimms=1, workload={"mib": 300, "rate": 3000},
                       kernel_options=["memhp_default_state=online", "init.wait_mib=380"])
    guest.guest.wait_for("INIT WAITING", 60)
    dimm = guest.plug_dimm(256)
    govern(compute, guest, "r1", 128)
    assert [block["size_bytes"] for block in compute.region("r1")["blocks"]] == [256 * MIB, 256 * MIB]
    assert dimm.stat().st_blocks * 512 < 128 * MIB, "pages of the DIMM are away too"
    account = live_through(Plan(limits=[96, 192], kills=1), compute, {"r1": guest.guest}, None)
    assert_unharmed(come_home(compute, {"r1": guest.guest}, account))
    assert dimm.stat().st_blocks * 512 > 128 * MIB
