# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab of two libvirt hosts: it comes up, moves a guest as libvirt and QEMU do by themselves, and leaves nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.bench import Bench
from lab.deadline import LabError, wait_until
from lab.footprint import Footprint
from lab.hardship import MIB
from lab.hosts import Hosts
from lab.ignore_shared import ignore_shared, set_ignore_shared
from lab.libvirt_host import LibvirtHost, VirshFailed
from lab.migration_clock import DESTINATION, SOURCE
from lab.moving_guest import MIGRATE, Migration, MovingGuest
from lab.processes import spawn

# Slow enough that QEMU's pre-copy ends without slowing the guest down.
CALM = {"mib": 48, "threads": 1, "rate": 200}
GUEST_MIB = 160
BOOT_SECONDS = 240


def calm_guest(hosts: Hosts, on: int = 0) -> MovingGuest:
    guest = hosts.guest("shop", GUEST_MIB, CALM, on=on, cpus=1)
    guest.guest.wait_ready(BOOT_SECONDS)
    return guest


def test_hosts_are_up_soon_and_strangers_to_each_other(bench: Bench) -> None:
    hosts = bench.hosts(lender="64MiB")
    print(f"two hosts and a sponsor up in {hosts.ready_s:.2f} s")
    assert hosts.ready_s < 30
    footprint = Footprint(hosts)
    left = "\n".join(footprint.left())
    for kind in ("process", "namespace", "file"):
        assert re.search(f"^{kind} ", left, re.MULTILINE), f"the footprint tells of each kind:\n{left}"
    one, two = hosts.hosts
    assert [one.run("hostname").strip(), two.run("hostname").strip()] == ["host1", "host2"]
    assert set(one.namespaces().values()).isdisjoint(two.namespaces().values())
    uuids = set(re.findall("<uuid>.*</uuid>", "".join(host.virsh("capabilities") for host in hosts.hosts)))
    assert len(uuids) == 2
    for directory in ("/dev/shm", "/run/heca", "/run/libvirt", "/var/lib/libvirt", str(one.memory)):
        one.run("touch", f"{directory}/of-host1")
        assert not two.outside(Path(directory) / "of-host1").exists(), directory
    assert "Id" in one.run("virsh", "-c", two.uri, "list"), "each reaches the other's libvirtd by name"
    assert Path("/proc/sys/vm/unprivileged_userfaultfd").read_text().strip() == "0", "as distributions set it"
    hosts.close()
    assert footprint.left() == []


def test_what_was_begun_is_taken_down_when_the_body_or_the_setup_fails(bench: Bench) -> None:
    taken: list[Footprint] = []
    with pytest.raises(ZeroDivisionError), Hosts(bench.logs) as hosts:
        one, two = hosts.hosts
        guest = hosts.guest("shop", GUEST_MIB, CALM, cpus=1)
        # 1 MiB/s: it does not end before the test does. Nobody but libvirtd knows of the QEMU on the other host.
        command = ["/usr/bin/virsh", *MIGRATE, "--bandwidth", "1", "shop", two.uri]
        migration = spawn(one.inside(command))
        wait_until(lambda: two.processes_named("qemu"), 120, "a QEMU on the other host")
        taken.append(Footprint(hosts))
        left = taken[0].left()
        for host, pid in [(one, guest.domain.pid), (two, two.processes_named("qemu")[0])]:
            assert f"process {pid} in {host.namespaces()['net']}" in left
        raise ZeroDivisionError
    migration.wait(30)
    assert taken[0].left() == []

    class Broken(Hosts):
        def _start_hecads(self, donate: str, options: object) -> None:
            super()._start_hecads(donate, {})
            taken.append(Footprint(self))
            raise LabError("on purpose")

    with pytest.raises(LabError, match="on purpose"):
        Broken(bench.logs)
    assert len(taken) == 2 and taken[1].files and taken[1].left() == []


def assert_moved(guest: MovingGuest, move: Migration, source: LibvirtHost, destination: LibvirtHost) -> None:
    """What libvirt says on both sides, and that the source keeps nothing."""
    assert guest.where() is destination
    assert destination.virsh("list", "--name", "--persistent").split() == ["shop"]
    assert source.virsh("list", "--all", "--name").split() == []
    assert source.memory_files() == [] and source.memory_used() == 0
    assert source.processes_named("qemu") == [] and len(destination.processes_named("qemu")) == 1
    xml = destination.virsh("dumpxml", "shop")
    assert "<source type='file'/>" in xml and "<access mode='shared'/>" in xml and f"{GUEST_MIB * 1024}</memory>" in xml
    assert "heca.qmp" in xml, "hecad's monitor is there too"
    job = destination.virsh("domjobinfo", "shop", "--completed")
    assert "Completed" in job and "Memory processed" in job
    assert {(moment.side, moment.status) for moment in move.moments if moment.event == "MIGRATION"} >= {
        (SOURCE, "setup"), (SOURCE, "active"), (SOURCE, "completed"), (DESTINATION, "completed")}
    assert 0 < move.downtime_s < move.virsh_s
    assert move.silence_s > 0, "its ticks were heard"


def test_guest_goes_there_and_back_by_libvirts_own_migration(bench: Bench) -> None:
    hosts = bench.hosts()
    one, two = hosts.hosts
    guest = calm_guest(hosts)
    for source, destination in [(one, two), (two, one)]:
        move = guest.migrate(destination)
        print(f"{source.name} to {destination.name}: {move}")
        assert_moved(guest, move, source, destination)
        ticks = [tick.number for tick in guest.guest.ticks()]
        # The emulated serial port repeats a byte now and then: that line is no tick.
        assert all(0 < after - before <= 3 for before, after in zip(ticks, ticks[1:], strict=False)), ticks
        assert guest.guest.verify() == 0
        guest.guest.check()


def test_a_migration_that_fails_leaves_the_guest_where_it_is(bench: Bench) -> None:
    hosts = bench.hosts()
    one, two = hosts.hosts
    guest = calm_guest(hosts)
    two.virsh("define", str(guest.domain.home / "domain.xml"))  # of that name, but another one
    with pytest.raises(VirshFailed, match="already exists"):
        guest.migrate(two)
    assert guest.where() is one and two.processes_named("qemu") == []
    guest.guest.wait_ticks(2, 60)
    guest.guest.check()


def test_with_ignore_shared_left_on_a_saved_vm_has_no_memory(bench: Bench) -> None:
    """The reason why whoever sets it has to clear it, however the migration ends."""
    hosts = bench.hosts()
    host = hosts.hosts[0]
    guest = calm_guest(hosts)
    assert not ignore_shared(host, "shop")
    image = host.home / "saved"
    host.virsh("save", "shop", str(image))
    assert image.stat().st_size > CALM["mib"] * MIB, "with RAM"
    host.virsh("restore", str(image))
    guest.renew()
    guest.guest.wait_ticks(2, 60)
    assert guest.guest.verify() == 0 and not ignore_shared(host, "shop")

    set_ignore_shared(host, "shop", True)
    assert ignore_shared(host, "shop")
    image.unlink()
    host.virsh("save", "shop", str(image))  # virsh finds nothing wrong
    assert image.stat().st_size < 4 * MIB, "without RAM"
    assert not guest.domain.alive()
