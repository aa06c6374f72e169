# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server with a heca flavor, and where its memory is by the word of everybody who knows: hecad, placement, the client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from lab.deadline import wait_until
from lab.hecad import Hecad
from lab.ignore_shared import ignore_shared
from lab.namespace import Namespace
from lab.openstack.cloud import Cloud
from lab.openstack.compute import Compute
from lab.openstack.server import Server

MIB = 1 << 20
RAM_MIB = 256
LOCAL_MIB = 64  # 1:3
REMOTE_MIB = RAM_MIB - LOCAL_MIB
SLACK = 16 * MIB  # what eviction may be behind under load
# Verifies three fifths of its memory all the time: more than twice what stays on its host.
WORKLOAD = {"mib": 154, "threads": 2, "rate": 20000, "seed": 11}


def create_flavor(cloud: Cloud, name: str, ram_mib: int = RAM_MIB, *options: str) -> dict[str, Any]:
    """1:3, with two CPUs; what the client says of it."""
    flavor: dict[str, Any] = cloud.client.ask("heca", "flavor", "create", "--ram", str(ram_mib), "--ratio", "1:3", "--vcpus",
                                              "2", *options, name)
    return flavor


def here(server: Server) -> int:
    """Number of the host that it is on; the other one's is 1 less that."""
    return server.cloud.hosts.hosts.index(server.host)


def number_of(server: Server, side: str) -> int:
    """Of the host that is the source, or the destination, of its next migration."""
    return here(server) if side == "source" else 1 - here(server)


def hecad_of(server: Server) -> Hecad:
    return server.cloud.hosts.hecads[here(server)]


def compute_of(server: Server) -> Compute:
    return server.cloud.computes[here(server)]


def place_of(server: Server) -> Namespace:
    """Its host's, in the network of memory and migrations."""
    return server.cloud.hosts.places[here(server)]


def other_host(server: Server) -> str:
    return next(host.name for host in server.cloud.hosts.hosts if host is not server.host)


def is_aggregated(server: Server, limit: int = LOCAL_MIB * MIB, seconds: float = 120) -> None:
    """Its memory is within its limit here, the rest is at the sponsor by one lease, and no byte of it is wrong."""
    hecad, sponsor = hecad_of(server), server.cloud.hosts.sponsor
    assert sponsor
    hecad.wait_active(server.name, seconds)
    wait_until(lambda: int(hecad.region(server.name)["limit_bytes"]) == limit, seconds, f"limit of {server.title}", poll=0.2)
    server.runs_whole()
    region = hecad.region(server.name)
    assert int(region["lost_bytes"]) == 0 and region["trouble"] == ""
    assert int(region["away_bytes"]) > 0
    hecad.wait_resident_below(server.name, limit + SLACK, seconds)
    leases = [int(lease["id"]) for lease in sponsor.leases()]
    assert leases == [int(store["lease"]) for store in region["stores"]]
    # After a crash of hecad at the change-over the next one sees to it, once QEMU answers.
    wait_until(lambda: not ignore_shared(server.host, server.name), 20, "x-ignore-shared is off")


def _counts(cloud: Cloud, host: str, wanted: tuple[int, int]) -> bool:
    usages = cloud.usages(host)
    return (usages.get("MEMORY_MB", 0), usages.get("CUSTOM_HECA_REMOTE_MB", 0)) == wanted


def is_counted(server: Server, seconds: float = 60) -> None:
    """Placement has its two parts where it is, and nothing of it elsewhere."""
    cloud = server.cloud
    for host in cloud.hosts.hosts:
        there = host is server.host
        wanted = (LOCAL_MIB, REMOTE_MIB) if there else (0, 0)
        wait_until(partial(_counts, cloud, host.name, wanted), seconds,
                   f"placement counts {wanted} MiB, local and remote, on {host.name}", poll=0.5)


def runs_anew(server: Server) -> None:
    """Its guest has booted again, in another QEMU, and is spread like the one before."""
    server.find()
    server.guest.wait_ready(240)
    is_aggregated(server)
    is_counted(server, 120)


def keeps_all_when_suspended(server: Server) -> None:
    """libvirt saves it to a file and starts it from there: with all of its RAM, which x-ignore-shared would leave out."""
    server.run("suspend", seconds=300)
    server.wait("SUSPENDED", 300)
    hecad_of(server).wait_gone(server.name)
    image = server.host.home / f"var/lib/libvirt/qemu/save/{server.name}.save"
    assert image.stat().st_size > WORKLOAD["mib"] * MIB, "the image has RAM in it"
    server.run("resume")
    server.wait("ACTIVE", 300)
    server.find()
    is_aggregated(server)
    is_counted(server)


def _offers(cloud: Cloud, host: str) -> bool:
    remote = cloud.inventory(host).get("CUSTOM_HECA_REMOTE_MB", {"total": 0, "reserved": 0})
    return int(remote["total"]) - int(remote["reserved"]) >= REMOTE_MIB


def every_host_offers_memory(cloud: Cloud, seconds: float = 180) -> None:
    """A host whose hecad was away is no place for such servers until its nova-compute has reported again."""
    for host in cloud.hosts.hosts:
        wait_until(partial(_offers, cloud, host.name), seconds, f"placement has remote memory on {host.name}", poll=1)


def _governs_nothing(hecad: Hecad) -> bool:
    return hecad.regions() == []


def nothing_is_left(cloud: Cloud, seconds: float = 60) -> None:
    """Of any server: in placement, libvirt, hecad, Nova's directories and on tmpfs."""
    sponsor = cloud.hosts.sponsor
    assert sponsor
    wait_until(lambda: sponsor.leases() == [], seconds, "the sponsor has lent nothing", poll=0.2)
    for compute, hecad in zip(cloud.computes, cloud.hosts.hecads, strict=True):
        host = compute.host
        wait_until(partial(_governs_nothing, hecad), seconds, f"no region on {host.name}", poll=0.2)
        assert all(value == 0 for value in cloud.usages(host.name).values())
        assert host.virsh("list", "--all", "--name").split() == []
        assert compute.instances() == []
        assert host.memory_files() == [] and host.memory_used() < MIB
        assert host.run("find", "/run/heca/qmp", "-type", "s").split() == []


@contextmanager
def served(cloud: Cloud, name: str, *options: str) -> Iterator[Server]:
    """A server with a flavor of its own, both of that name; in the end nothing of them is left anywhere."""
    create_flavor(cloud, name, RAM_MIB, *options)
    server = Server(cloud, name, name, cloud.images.add(name, WORKLOAD))
    try:
        yield server
    finally:
        server.close()
        cloud.client.run("flavor", "delete", name)
    nothing_is_left(cloud)
