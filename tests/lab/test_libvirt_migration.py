# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plain `virsh migrate` of a domain whose metadata ask for heca: QEMU sends device state, hecad the memory."""

from __future__ import annotations

import pytest

from lab.bench import Bench
from lab.deadline import wait_until
from lab.hosts import Hosts
from lab.ignore_shared import ignore_shared
from lab.libvirt_host import VirshFailed
from lab.left_behind import nothing_left
from lab.moving_guest import MovingGuest

METADATA = "<heca:memory xmlns:heca='https://hecatonchire.org/xmlns/1' migration='post-copy'/>"
WORKLOAD = {"mib": 100, "threads": 2, "rate": 20000}
MIB = 256


def started(bench: Bench, metadata: str = METADATA) -> tuple[Hosts, MovingGuest]:
    hosts = bench.hosts(hook=True)
    guest = hosts.guest("shop", MIB, WORKLOAD, metadata=metadata)
    guest.guest.wait_ready(240)
    return hosts, guest


def test_virsh_migrate_there_and_back(bench: Bench, long_form: bool) -> None:
    hosts, guest = started(bench)
    for to in [1, 0] * (25 if long_form else 2):
        migration = guest.migrate(hosts.hosts[to])
        print(migration)
        assert guest.host is hosts.hosts[to]
        assert guest.guest.verify() == 0
        guest.guest.check()
        nothing_left(hosts, guest)
        source = hosts.hecads[1 - to]
        assert any("has left, its memory too" in event["text"] for event in source.events()), "heca did not take part"
        assert migration.downtime_s < 1


@pytest.mark.parametrize("mode", ["hybrid", "pre-copy"])
def test_virsh_migrate_of_a_domain_whose_memory_is_to_come_ahead(bench: Bench, mode: str,
                                                                         long_form: bool) -> None:
    hosts, guest = started(bench, METADATA.replace("post-copy", mode))
    for to in [1, 0] * (25 if long_form else 2):
        print(guest.migrate(hosts.hosts[to]))
        assert guest.guest.verify() == 0
        guest.guest.check()
        nothing_left(hosts, guest)
        left = [event["text"] for event in hosts.hecads[1 - to].events() if "has left" in event["text"]]
        assert "of it ahead in" in left[-1], left
        print(left[-1])


@pytest.mark.parametrize("mode", [pytest.param("post-copy", marks=pytest.mark.long),
                                  pytest.param("hybrid", marks=pytest.mark.long), "pre-copy"])
def test_disk_reads_go_on_while_the_vm_moves(bench: Bench, mode: str, long_form: bool) -> None:
    """Direct I/O writes into memory behind the page tables, while it is copied."""
    hosts = bench.hosts(hook=True)
    guest = hosts.guest("shop", MIB, {"mode": "disk", "mib": 128, "threads": 3, "seed": 11, "read_kib": 256},
                        metadata=METADATA.replace("post-copy", mode), disk=bench.disk(mib=256, seed=11))
    guest.guest.wait_ready(240)
    for to in [1, 0] * (6 if long_form else 1):
        guest.guest.wait_ticks(3, 60)
        guest.migrate(hosts.hosts[to])
        guest.guest.check()
        assert guest.guest.verify() == 0
        nothing_left(hosts, guest)


def test_a_saved_vm_has_its_memory_after_a_migration(bench: Bench) -> None:
    hosts, guest = started(bench)
    guest.migrate(hosts.hosts[1])
    nothing_left(hosts, guest)
    image = "/var/lib/libvirt/shop.save"
    hosts.hosts[1].virsh("save", guest.name, image, seconds=120)
    assert int(hosts.hosts[1].run("stat", "-c", "%s", image)) > 100 << 20, "the image has RAM in it"
    hosts.hosts[1].virsh("restore", image, seconds=120)
    guest.renew()
    guest.guest.wait_ticks(3, 60)
    assert guest.guest.verify() == 0
    guest.guest.check()


def test_virsh_start_gives_a_vm_its_ratio(bench: Bench) -> None:
    hosts = bench.hosts(hook=True)
    guest = hosts.guest("shop", MIB, WORKLOAD, metadata=METADATA.replace("migration=", "ratio='1:1' migration="))
    guest.guest.wait_ready(240)
    region = hosts.hecads[0].region("shop")
    assert int(region["limit_bytes"]) == MIB << 19
    assert int(region["resident_bytes"]) <= (MIB << 19) + (16 << 20)
    assert guest.guest.verify() == 0


@pytest.mark.parametrize("mode", ["post-copy", pytest.param("hybrid", marks=pytest.mark.long), "pre-copy"])
def test_virsh_migrate_of_a_governed_vm_there_and_back(bench: Bench, mode: str) -> None:
    hosts = bench.hosts(hook=True)
    metadata = METADATA.replace("migration=", "ratio='1:1' migration=").replace("post-copy", mode)
    guest = hosts.guest("shop", MIB, WORKLOAD, metadata=metadata)
    guest.guest.wait_ready(240)
    for to in (1, 0, 1):
        print(guest.migrate(hosts.hosts[to]))
        assert guest.host is hosts.hosts[to]
        assert guest.guest.verify() == 0
        guest.guest.check()
        there, former = hosts.hecads[to], hosts.hecads[1 - to]
        wait_until(lambda: former.regions() == [], 60, "the former host has nothing of it")
        region = there.region("shop")
        assert int(region["limit_bytes"]) == MIB << 19
        there.wait_resident_below("shop", (MIB << 19) + (16 << 20))
        wait_until(lambda: not ignore_shared(guest.host, guest.name), 10, "x-ignore-shared is off")


@pytest.mark.parametrize(("side", "said"), [(0, "shop"), (1, "hecad")], ids=["source", "destination"])
def test_without_hecad_on_one_side_the_migration_fails_and_the_vm_runs_on(bench: Bench, side: int, said: str) -> None:
    hosts, guest = started(bench)
    hosts.hecads[side].terminate()
    with pytest.raises(VirshFailed, match=said):
        guest.migrate(hosts.hosts[1])
    assert guest.host is hosts.hosts[0]
    guest.guest.wait_ticks(3, 60)
    assert guest.guest.verify() == 0
    assert not ignore_shared(guest.host, guest.name)
