# SPDX-License-Identifier: LGPL-2.1-or-later
"""VMs of a real libvirtd, by the name of their domain: governed while libvirt goes on managing them, or refused."""

from __future__ import annotations

import pytest

from lab.bench import Bench
from lab.hardship import MIB, Account, crash_and_return
from lab.hecad import CommandFailed, Hecad
from lab.libvirt_domain import SHARED_FILE, LibvirtDomain
from lab.libvirt_host import LibvirtHost, VirshFailed
from lab.processes import userfaultfds

SMALL = {"mib": 64, "rate": 1000}


def assert_goes_on(domain: LibvirtDomain, ticks: int = 2) -> None:
    domain.guest.wait_ticks(ticks, 60)
    domain.guest.check()


def test_domain_is_attached_by_name_and_libvirt_goes_on(bench: Bench) -> None:
    switch = bench.switch()
    host = bench.libvirt_host(switch.join())
    compute = bench.compute(bench.sponsor("512MiB", link=switch.join()), link=host)
    shop = host.start_domain("shop", mib=384, workload={"mib": 256, "rate": 3000})
    shop.guest.wait_ready()
    assert shop.user() != 0, "QEMU runs unprivileged"

    compute.attach_domain("shop", "96MiB")
    compute.wait_resident_below("shop", 96 * MIB)
    assert host.memory_used() <= (96 + 32) * MIB
    assert_goes_on(shop)
    shop.virsh("suspend")
    assert shop.state() == "paused"
    shop.virsh("resume")
    assert shop.state() == "running"
    assert "State:          running" in shop.virsh("dominfo")
    assert_goes_on(shop)
    crash_and_return(compute, ["shop"], Account())
    assert_goes_on(shop)
    assert shop.guest.verify() == 0

    compute.detach("shop")
    assert host.memory_used() > 256 * MIB, "all of it is home"
    assert userfaultfds(shop.pid) == 0
    assert_goes_on(shop)
    assert shop.guest.verify() == 0
    shop.virsh("destroy")
    assert not shop.alive()
    assert compute.regions() == [] and host.memory_files() == []


def test_domain_that_is_destroyed_gives_its_memory_back(bench: Bench) -> None:
    """The second domain of the name is another VM, and is attached anew."""
    switch = bench.switch()
    host = bench.libvirt_host(switch.join())
    compute = bench.compute(bench.sponsor("256MiB", link=switch.join()), link=host)
    with pytest.raises(CommandFailed, match="no running domain 'shop'"):
        compute.attach_domain("shop", "64MiB")
    first = host.start_domain("shop", mib=192, workload=SMALL)
    first.guest.wait_ready()
    compute.attach_domain("shop", "64MiB")
    compute.wait_resident_below("shop", 64 * MIB)
    first.virsh("destroy")
    compute.wait_gone("shop")
    with pytest.raises(CommandFailed, match="no running domain 'shop'"):
        compute.attach_domain("shop", "64MiB")
    second = host.restart_domain(first)
    second.guest.wait_ready()
    compute.attach_domain("shop", "64MiB")
    compute.wait_resident_below("shop", 64 * MIB)
    compute.detach("shop")
    assert second.guest.verify() == 0


def refused(compute: Hecad, domain: LibvirtDomain) -> str:
    with pytest.raises(CommandFailed) as caught:
        compute.attach_domain(domain.name, "64MiB")
    assert_goes_on(domain, ticks=1)
    assert domain.guest.verify() == 0
    assert userfaultfds(domain.pid) == 0, "the guest is untouched"
    return caught.value.text


# name, content of <memoryBacking>, words of the refusal: what it is, and what to do
MISTAKES = [
    ("private-file", "<source type='file'/><access mode='private'/>", ["private RAM", "<access mode='shared'/>"]),
    ("anonymous", "", ["private RAM", "<source type='file'/>"]),
    ("memfd", "<source type='memfd'/><access mode='shared'/>", ["memfd", "<source type='file'/>"]),
    ("discard", f"{SHARED_FILE}<discard/>", ["discard-data", "remove discard-data=on (libvirt: <discard/>)"]),
]


def test_mistakes_of_a_domain_are_named_with_the_remedy(bench: Bench) -> None:
    switch = bench.switch()
    host: LibvirtHost = bench.libvirt_host(switch.join())
    compute = bench.compute(bench.sponsor("512MiB", link=switch.join()), link=host)
    domains = [host.start_domain(name, mib=160, cpus=1, workload={**SMALL, "threads": 1}, backing=backing)
               for name, backing, _ in MISTAKES]
    for domain, (name, _, words) in zip(domains, MISTAKES, strict=True):
        domain.guest.wait_ready()
        text = refused(compute, domain)
        for word in words:
            assert word in text, f"{name}: {text}"
    assert compute.regions() == []


def test_locked_memory_is_refused(bench: Bench) -> None:
    switch = bench.switch()
    host = bench.libvirt_host(switch.join())
    compute = bench.compute(bench.sponsor("512MiB", link=switch.join()), link=host)
    try:
        domain = host.start_domain("locked", mib=160, workload=SMALL, backing=f"{SHARED_FILE}<locked/>")
    except VirshFailed as failed:
        if "cannot limit locked memory" not in failed.text:
            raise
        pytest.skip("this machine lets nobody raise the limit of locked memory (CAP_SYS_RESOURCE)")
    domain.guest.wait_ready()
    text = refused(compute, domain)
    assert "locked memory" in text and "remove <locked/>" in text, text


def test_memory_backing_dir_on_a_disk_is_refused(bench: Bench) -> None:
    switch = bench.switch()
    host = bench.libvirt_host(switch.join(), memory="disk")
    compute = bench.compute(bench.sponsor("512MiB", link=switch.join()), link=host)
    domain = host.start_domain("on-disk", mib=160, workload=SMALL)
    domain.guest.wait_ready()
    text = refused(compute, domain)
    assert "tmpfs" in text and "memory_backing_dir" in text, text
