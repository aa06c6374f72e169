# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plain `virsh migrate` of a domain whose metadata ask for heca: QEMU sends device state, hecad the memory.

One guest goes through all of it. It writes and verifies three fifths of its RAM all the time, its QEMU is unprivileged,
and a third host lends it memory, which both of the others reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lab.bench import Bench
from lab.deadline import wait_until
from lab.ignore_shared import ignore_shared
from lab.journey import Journey
from lab.libvirt_host import VirshFailed
from lab.moving_guest import Migration
from lab.tick_watch import TickWatch

NAMESPACE = "https://hecatonchire.org/xmlns/1"
METADATA = f"<heca:memory xmlns:heca='{NAMESPACE}' ratio='1:3' migration='post-copy'/>"
MIB = 256
WORKLOAD: dict[str, int] = {"mib": 154, "threads": 2, "rate": 20000, "seed": 11, "disk_threads": 1, "pool_mib": 16}
LOCAL = MIB << 18  # 1:3
SLACK = 16 << 20

MODES = ["post-copy", "hybrid", "pre-copy"]


class Led(Journey):
    """By libvirt."""

    def __init__(self, bench: Bench) -> None:
        hosts = bench.hosts(hook=True, donate="0", lender="512MiB")
        assert hosts.ready_s < 30
        super().__init__(hosts, hosts.guest("shop", MIB, WORKLOAD, metadata=METADATA, disk=bench.disk(mib=256, seed=11)))
        self.guest.guest.wait_ready(240)
        self.at_start = self.hecad(0).regions()
        self.lease = self.lease_here()
        assert self.guest.domain.user() != 0, "QEMU is unprivileged"
        assert Path("/proc/sys/vm/unprivileged_userfaultfd").read_text().strip() == "0"

    def ask_for(self, mode: str) -> None:
        self.host(self.here).virsh("metadata", "shop", NAMESPACE, "--key", "heca", "--live", "--config", "--set",
                                   f"<memory ratio='1:3' migration='{mode}'/>")

    def is_aggregated(self) -> bool:
        return self.hecad(self.here).regions() != []

    def lease_here(self) -> int:
        return int(self.hecad(self.here).region("shop")["stores"][0]["lease"])

    def aggregate(self, on: bool) -> None:
        if on and not self.is_aggregated():
            self.hecad(self.here).ctl("attach", "--domain", "shop", "--ratio", "1:3")
            self.lease = self.lease_here()
        elif not on and self.is_aggregated():
            self.hecad(self.here).detach("shop")

    def migrate(self) -> Migration:
        there = self.host(self.there)
        migration = self.guest.migrate(there)
        assert self.guest.host is there
        return migration

    def what_left(self) -> str:
        """What heca at the former host says of the last one."""
        return str([event["text"] for event in self.hecad(self.there).events() if "has left, its" in event["text"]][-1])

    def stays_aggregated(self) -> None:
        """Here, by the lease that it came with, and the former host has nothing of it."""
        self.guest.guest.wait_ticks(3, 60)
        assert self.guest.guest.verify() == 0
        self.guest.guest.check()
        assert self.hosts.sponsor
        former = self.hecad(self.there)
        wait_until(lambda: former.regions() == [] and former.leases() == [], 60, "the former host has nothing of it")
        region = self.hecad(self.here).region("shop")
        assert int(region["limit_bytes"]) == LOCAL
        assert int(region["lost_bytes"]) == 0
        self.hecad(self.here).wait_resident_below("shop", LOCAL + SLACK)
        assert [int(lease["id"]) for lease in self.hosts.sponsor.leases()] == [self.lease]
        wait_until(lambda: not ignore_shared(self.guest.host, "shop"), 10, "x-ignore-shared is off")


@pytest.fixture(scope="module")
def whole_journey(module_bench: Bench) -> Led:
    return Led(module_bench)


@pytest.fixture
def journey(whole_journey: Led) -> Iterator[Led]:
    yield whole_journey
    whole_journey.mend()


def test_virsh_start_gives_a_vm_its_ratio(journey: Led) -> None:
    region, = journey.at_start
    assert int(region["limit_bytes"]) == LOCAL
    assert int(region["resident_bytes"]) <= LOCAL + SLACK
    assert region["stores"][0]["sponsor"] == "sponsor"


@pytest.mark.parametrize("mode", MODES)
def test_a_vm_moves_there_and_back_and_verifies_itself(journey: Led, mode: str, long_form: bool) -> None:
    """Half of the times with its memory aggregated, a quarter with its disk under load."""
    journey.ask_for(mode)
    times = 50 if long_form else 4
    early = 0
    for number in range(times):
        aggregated = number < times // 2
        loaded = number % 4 == 1
        journey.aggregate(aggregated)
        journey.guest.guest.load_disk(loaded)
        migration = journey.migrate()
        print(f"{mode}, {'aggregated' if aggregated else 'all here'}{', disk' if loaded else ''}: {migration}")
        if aggregated:
            journey.stays_aggregated()
        else:
            journey.runs_whole()
        said = journey.what_left()
        print(said)
        assert "its memory too" in said
        assert (mode != "post-copy") == ("of it ahead in" in said)
        early += "before the first was over" in said
        # In pre-copy the VM waits for what it wrote last: on a busy machine longer than is foreseen, without harm.
        assert mode == "pre-copy" or migration.downtime_s < 1
    assert early <= times // 4, "libvirt's stream is not held back: that may happen on a busy host (docs/limits.md), not always"


@pytest.mark.parametrize("aggregated", [True, False], ids=["aggregated", "all-here"])
@pytest.mark.parametrize(("which", "point"), [("here", "crash-at-switch-over"), ("there", "crash-at-open")],
                         ids=["source", "destination"])
def test_a_hecad_dies_at_the_switch_over(journey: Led, which: str, point: str, aggregated: bool) -> None:
    """libvirt lets QEMU go on without a word of hecad's, and nobody has told the destination: the source's next hecad does;
    the destination's ends the QEMU, and libvirt lets the VM go on where it was."""
    journey.ask_for("post-copy")
    journey.aggregate(aggregated)
    number: int = getattr(journey, which)
    journey.hosts.restart_hecad(number, fail=f"{point}=crash")
    if aggregated:
        journey.hecad(journey.here).wait_active("shop", 60)
    dying = journey.hecad(number)
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(journey.migrate)
        dying.wait_exit(60)
        dying.fail = ""
        dying.start()
        with suppress(VirshFailed):  # it may stay where it was, which is as good
            moving.result(300)
    journey.hosts.wait_peers()
    if aggregated:
        journey.stays_aggregated()
    else:
        journey.runs_whole()


def test_a_source_hecad_dies_before_it_holds_the_stream_back(journey: Led) -> None:
    """libvirt leads QEMU to the switch-over, where the VM stands still until the next hecad has called it off: at once, by the
    monitor that its region has. The QEMU that waited there has to be killed, and leaves nothing for the next one to meet."""
    journey.ask_for("pre-copy")
    journey.aggregate(True)
    source, there = journey.hecad(journey.here), journey.host(journey.there)
    journey.hosts.restart_hecad(journey.here, fail="crash-in-pre-copy=crash")
    source.wait_active("shop", 60)
    with ThreadPoolExecutor(1) as pool, closing(TickWatch(journey.guest.console)) as watch:
        moving = pool.submit(journey.migrate)
        source.wait_exit(60)
        source.fail = ""
        source.start()
        with pytest.raises(VirshFailed):
            moving.result(300)
        journey.guest.guest.wait_ticks(5, 60)
    print(f"longest silence {watch.longest_gap_s():.2f} s")
    assert watch.longest_gap_s() < 4, "it waited for QEMU's monitor, which its region has"
    journey.hosts.wait_peers()
    journey.stays_aggregated()
    wait_until(lambda: not (there.domain_home("shop") / "heca.qmp").exists(), 10, "hecad's socket there is removed")


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_disk_reads_go_on_while_the_vm_moves(bench: Bench, mode: str) -> None:
    """Direct I/O writes into most of the memory behind the page tables, while it is copied."""
    hosts = bench.hosts(hook=True)
    journey = Journey(hosts, hosts.guest(
        "shop", MIB, {"mode": "disk", "mib": 128, "threads": 3, "seed": 11, "read_kib": 256},
        metadata=f"<heca:memory xmlns:heca='{NAMESPACE}' migration='{mode}'/>", disk=bench.disk(mib=256, seed=11)))
    journey.guest.guest.wait_ready(240)
    for _ in range(12):
        journey.guest.guest.wait_ticks(3, 60)
        journey.guest.migrate(journey.host(journey.there))
        journey.runs_whole()


def test_a_saved_vm_has_its_memory_after_a_migration(journey: Led) -> None:
    journey.aggregate(False)
    journey.migrate()
    journey.runs_whole()
    host = journey.host(journey.here)
    image = "/var/lib/libvirt/shop.save"
    host.virsh("save", "shop", image, seconds=120)
    assert int(host.run("stat", "-c", "%s", image)) > WORKLOAD["mib"] << 20, "the image has RAM in it"
    host.virsh("restore", image, seconds=120)
    journey.guest.renew()
    journey.aggregate(False)
    journey.runs_whole()


@pytest.mark.parametrize(("away", "said"), [("here", "shop"), ("there", "hecad")], ids=["source", "destination"])
def test_without_hecad_on_one_side_the_migration_fails_and_the_vm_runs_on(journey: Led, away: str, said: str) -> None:
    journey.aggregate(False)
    source = journey.host(journey.here)
    number: int = getattr(journey, away)
    journey.hecad(number).terminate()
    with pytest.raises(VirshFailed, match=said):
        journey.migrate()
    assert journey.guest.host is source
    journey.guest.guest.wait_ticks(3, 60)
    assert journey.guest.guest.verify() == 0
    assert not ignore_shared(source, "shop")
