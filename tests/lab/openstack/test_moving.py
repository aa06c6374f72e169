# SPDX-License-Identifier: LGPL-2.1-or-later
"""Live migrations that fail, and many that do not: Nova's state, placement and the hosts are right after each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab.deadline import wait_until
from lab.openstack.cloud import Cloud
from lab.openstack.governed import (
    every_host_offers_memory,
    hecad_of,
    is_aggregated,
    is_counted,
    keeps_all_when_suspended,
    number_of,
    other_host,
    served,
)
from lab.openstack.moves import stays
from lab.openstack.server import Server

MIGRATIONS = 20


@pytest.fixture(scope="module")
def whole_server(cloud: Cloud) -> Iterator[Server]:
    with served(cloud, "mover") as server:
        server.wait_boots()
        yield server


@pytest.fixture
def server(whole_server: Server) -> Iterator[Server]:
    """Each test finds a cloud that is whole, and one that fails is alone with it."""
    yield whole_server
    hosts = whole_server.cloud.hosts
    for number, hecad in enumerate(hosts.hecads):
        if not hecad.alive() or hecad.fail:
            hosts.restart_hecad(number)
    every_host_offers_memory(whole_server.cloud)
    whole_server.wait("ACTIVE", 120)
    whole_server.find()


def test_without_hecad_at_the_destination_it_stays(server: Server) -> None:
    number = number_of(server, "destination")
    server.cloud.hosts.hecads[number].terminate()
    stays(server, server.live_migrate(server.cloud.hosts.hosts[number].name))


@pytest.mark.parametrize(("side", "point"), [("destination", "crash-at-open"), ("source", "crash-at-switch-over")])
def test_a_hecad_that_crashes_at_the_switch_costs_nothing(server: Server, side: str, point: str) -> None:
    """While the VM stands still. Whether it stays or goes on there is libvirt's to say, which has not asked hecad."""
    hosts = server.cloud.hosts
    destination = other_host(server)
    number = number_of(server, side)
    hosts.restart_hecad(number, fail=f"{point}=crash")
    hecad_of(server).wait_active(server.name, 60)
    every_host_offers_memory(server.cloud)

    def restart() -> None:
        hosts.hecads[number].wait_exit(180)
        hosts.hecads[number].fail = ""
        hosts.hecads[number].start()

    record = server.live_migrate(destination, meanwhile=restart)
    if record["status"] != "completed":
        stays(server, record)
    else:
        is_aggregated(server)
        is_counted(server, 120)


def test_suspended_after_a_migration_that_failed_it_keeps_all_of_its_memory(server: Server) -> None:
    test_without_hecad_at_the_destination_it_stays(server)
    keeps_all_when_suspended(server)


class Footprint:
    """What twenty migrations must not make larger."""

    def __init__(self, cloud: Cloud) -> None:
        self.files = {host.name: sorted(host.run("find", str(host.memory), "/run/heca", "/dev/shm", "/var/lib/nova", "-not",
                                                 "-type", "d").split()) for host in cloud.hosts.hosts}
        self.fds = {hecad.name: len(os.listdir(f"/proc/{hecad.pid}/fd")) for hecad in cloud.hosts.hecads}
        self.kib = {hecad.name: hecad.resident_kib() for hecad in cloud.hosts.hecads}
        self.compute_fds = {compute.host.name: compute.open_files() for compute in cloud.computes}
        self.ports = {host.name: host.run("ss", "-Hltn").count("\n") for host in cloud.hosts.hosts}


@pytest.mark.timeout(1800)
def test_twenty_migrations_leave_no_growth(server: Server) -> None:
    cloud = server.cloud
    for number in range(MIGRATIONS + 2):
        if number == 2:  # the first two have warmed everything up
            before = Footprint(cloud)
        destination = other_host(server)
        record = server.live_migrate(destination)
        assert record["status"] == "completed", record
        assert server.host.name == destination
        server.runs_whole()
    is_aggregated(server)
    is_counted(server)
    after = Footprint(cloud)
    counts = {name: len(files) for name, files in before.files.items()}
    wait_until(lambda: {name: len(files) for name, files in Footprint(cloud).files.items()} == counts, 60,
               f"as many files as before, {before.files}, not {after.files}", poll=1)
    assert after.ports == before.ports
    for name in before.fds:
        assert after.fds[name] <= before.fds[name] + 8, "file descriptors of hecad"
        assert after.compute_fds[name] <= before.compute_fds[name] + 8, "file descriptors of nova-compute"
        assert after.kib[name] <= before.kib[name] + 8192, "memory of hecad"
