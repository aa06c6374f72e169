# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mode noop: the driver is there and no hecad is. Servers that ask for heca are servers like any other, all of them here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.deadline import wait_until
from lab.openstack.client import ClientFailed
from lab.openstack.cloud import Cloud
from lab.openstack.governed import RAM_MIB, WORKLOAD, every_host_offers_memory, nothing_is_left
from lab.openstack.server import Server


def restart_computes(cloud: Cloud, mode: str) -> None:
    for compute in cloud.computes:
        compute.kill()
        compute.start(mode)
    cloud.wait_computes()


def offers_none(cloud: Cloud) -> bool:
    remote = [cloud.inventory(host.name)["CUSTOM_HECA_REMOTE_MB"] for host in cloud.hosts.hosts]
    return all(inventory["reserved"] == inventory["total"] for inventory in remote)


@pytest.fixture(scope="module")
def noop(cloud: Cloud) -> Iterator[Cloud]:
    for hecad in cloud.hosts.hecads:
        hecad.terminate()
    restart_computes(cloud, "noop")
    cloud.client.run("flavor", "create", "--ram", str(RAM_MIB), "--disk", "0", "--vcpus", "2", "noop")
    yield cloud
    cloud.client.run("flavor", "delete", "noop")
    for hecad in cloud.hosts.hecads:
        hecad.start()
    restart_computes(cloud, "hecad")
    every_host_offers_memory(cloud)
    nothing_is_left(cloud)


def test_no_remote_memory_is_offered(noop: Cloud) -> None:
    wait_until(lambda: offers_none(noop), 60, "all remote memory is reserved", poll=1)


def test_specs_are_still_checked(noop: Cloud) -> None:
    with pytest.raises(ClientFailed, match="ratio"):
        noop.client.run("flavor", "set", "--property", "heca:ratio=three", "noop")


def test_a_server_has_all_of_its_memory_here_and_goes_through_its_life(noop: Cloud) -> None:
    noop.client.run("flavor", "set", "--property", "heca:ratio=1:3", "noop")
    server = Server(noop, "noop", "noop", noop.images.add("noop", WORKLOAD))
    try:
        server.wait_boots()
        server.runs_whole()
        assert "heca" not in server.host.virsh("dumpxml", server.name)
        assert noop.usages(server.host.name)["MEMORY_MB"] == RAM_MIB
        server.run("suspend")
        server.wait("SUSPENDED", 240)
        server.run("resume")
        server.wait("ACTIVE", 240)
        server.find()
        server.runs_whole()
        server.run("reboot", "--hard")
        server.wait("ACTIVE", 240)
        server.find()
        server.guest.wait_ready(240)
        server.runs_whole()
    finally:
        server.close()
