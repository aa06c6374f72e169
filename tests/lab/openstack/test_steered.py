# SPDX-License-Identifier: LGPL-2.1-or-later
"""Live migrations over a slow link, which take long enough to be watched, forced, called off, cut and abandoned."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab.deadline import wait_until
from lab.openstack.cloud import Cloud
from lab.openstack.compute import Compute
from lab.openstack.governed import (
    MIB,
    WORKLOAD,
    create_flavor,
    hecad_of,
    is_aggregated,
    is_counted,
    nothing_is_left,
    other_host,
)
from lab.openstack.server import Server

SLOW = 4  # MiB/s: less than the guest writes, so that its rounds do not end by themselves
CUT_SECONDS = 10


@pytest.fixture(scope="module")
def whole_server(cloud: Cloud) -> Iterator[Server]:
    create_flavor(cloud, "steered", 256, "--migration", "pre-copy")
    server = Server(cloud, "steered", "steered", cloud.images.add("steered", WORKLOAD))
    server.wait_boots()
    yield server
    server.close()
    cloud.client.run("flavor", "delete", "steered")
    nothing_is_left(cloud)


@pytest.fixture
def server(whole_server: Server) -> Iterator[Server]:
    """What goes out of its host is slow; whatever a test makes of it, the next one finds it at rest."""
    hosts = whole_server.cloud.hosts
    place = hosts.places[hosts.hosts.index(whole_server.host)]
    place.slow(SLOW)
    try:
        yield whole_server
    finally:
        place.quick()
    whole_server.wait("ACTIVE", 120)
    whole_server.find()
    is_aggregated(whole_server)


def source_of(server: Server) -> Compute:
    return next(compute for compute in server.cloud.computes if compute.host is server.host)


def listed(server: Server) -> dict[str, Any]:
    """The live migration that goes on, as Nova lists it: what `openstack server migration show` tells."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = server.cloud.api.get("compute", f"/v2.1/servers/{server.id}/migrations")["migrations"]
        return bool(found)

    wait_until(there, 60, f"a migration of {server.title} is under way", poll=0.2)
    return found[0]


def copies(server: Server) -> bool:
    """hecad copies its memory ahead."""
    return any(not one["over"] and int(one["done_bytes"]) > MIB for one in hecad_of(server).ctl("migrations")["migrations"])


def follows(server: Server) -> bool:
    return any(not one["over"] and one["phase"] == "post-copy" for one in hecad_of(server).ctl("migrations")["migrations"])


def force(server: Server) -> None:
    wait_until(lambda: copies(server), 60, "memory is copied ahead", poll=0.2)
    server.cloud.client.run("server", "migration", "force", "complete", server.id, str(listed(server)["id"]))


def arrived(server: Server, record: dict[str, Any], destination: str) -> None:
    assert record["status"] == "completed", record
    assert server.host.name == destination
    server.runs_whole()
    is_aggregated(server)
    is_counted(server, 120)


def test_forced_it_changes_over_and_is_completed_when_its_memory_is_there(server: Server) -> None:
    destination = other_host(server)

    def watch() -> None:
        force(server)
        wait_until(lambda: follows(server), 60, "memory follows", poll=0.1)
        wait_until(lambda: server.migrations()[-1]["status"] == "post-migrating", 30, "Nova says so", poll=0.2)
        shown = listed(server)
        assert 0 < shown["memory_remaining_bytes"] < shown["memory_total_bytes"], shown

    arrived(server, server.live_migrate(destination, meanwhile=watch), destination)


def test_called_off_it_stays(server: Server) -> None:
    here = server.host

    def abort() -> None:
        wait_until(lambda: copies(server), 60, "memory is copied ahead", poll=0.2)
        server.cloud.client.run("server", "migration", "abort", server.id, str(listed(server)["id"]))

    record = server.live_migrate(other_host(server), meanwhile=abort)
    assert record["status"] == "cancelled", record
    assert server.wait("ACTIVE", 120)["OS-EXT-SRV-ATTR:host"] == here.name
    is_aggregated(server)
    is_counted(server, 120)


def test_a_link_that_is_cut_while_memory_follows_is_waited_out(server: Server) -> None:
    destination = other_host(server)
    hosts = server.cloud.hosts
    place = hosts.places[hosts.hosts.index(server.host)]

    def cut() -> None:
        force(server)
        wait_until(lambda: follows(server), 60, "memory follows", poll=0.1)
        place.cut()
        time.sleep(CUT_SECONDS)  # the length of the cut is the thing tested
        place.mend()

    arrived(server, server.live_migrate(destination, meanwhile=cut), destination)


def test_a_nova_compute_that_dies_while_it_leaves_finds_it_at_its_destination(server: Server) -> None:
    """With the option by which Nova starts again what it takes for stopped: it must not run twice."""
    destination, source = other_host(server), source_of(server)

    def crash() -> None:
        force(server)
        wait_until(lambda: follows(server), 60, "memory follows", poll=0.1)
        source.freeze()
        source.kill()
        source.start(resume_guests_state_on_host_boot="true")

    record = server.live_migrate(destination, meanwhile=crash)
    arrived(server, record, destination)
    assert source.host.running() == [], "it runs once"
    left = source.state / "instances" / server.id
    assert left.exists(), "its files are left: whether they are shared with its destination, nobody knows any more"
    shutil.rmtree(left)
