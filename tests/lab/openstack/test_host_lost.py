# SPDX-License-Identifier: LGPL-2.1-or-later
"""A compute host that dies under its server, and comes back: with the server, or after it was evacuated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.deadline import wait_until
from lab.openstack.client import ClientFailed
from lab.openstack.cloud import Cloud
from lab.openstack.governed import (
    compute_of,
    every_host_offers_memory,
    hecad_of,
    is_aggregated,
    is_counted,
    other_host,
    runs_anew,
    served,
)
from lab.openstack.server import Server


@pytest.fixture(scope="module")
def server(cloud: Cloud) -> Iterator[Server]:
    every_host_offers_memory(cloud)
    with served(cloud, "survivor") as made:
        made.wait_boots()
        is_aggregated(made)
        yield made


def test_it_starts_again_with_its_host(server: Server) -> None:
    compute, hecad = compute_of(server), hecad_of(server)
    compute.kill()
    hecad.kill()
    server.host.virsh("destroy", server.name)
    hecad.start()
    compute.start(resume_guests_state_on_host_boot="true")
    # libvirt calls a domain active before its QEMU has a console.
    wait_until(lambda: [region["state"] for region in hecad.regions()] == ["active"], 240, f"{server.title} runs again")
    server.wait("ACTIVE", 120)
    runs_anew(server)


def evacuate(server: Server, destination: str) -> None:
    """By the API: the client of Debian 12 asks for it, and then fails with a traceback (TupleWithMeta has no to_dict)."""
    server.cloud.api.call("compute", "POST", f"/v2.1/servers/{server.id}/action", {"evacuate": {"host": destination}})


def set_up(cloud: Cloud, host: str) -> bool:
    """Refused until what was evacuated from there is cleaned up."""
    try:
        cloud.client.run("compute", "service", "set", "--up", host, "nova-compute")
        return True
    except ClientFailed:
        return False


def test_evacuated_it_is_spread_from_another_host(server: Server) -> None:
    cloud, lost, hecad = server.cloud, compute_of(server), hecad_of(server)
    destination = other_host(server)
    lost.kill()
    lost.host.virsh("destroy", server.name)  # before hecad: else it ends by SIGKILL, and leaves its socket
    hecad.kill()
    try:
        cloud.client.run("compute", "service", "set", "--down", lost.host.name, "nova-compute")
        evacuate(server, destination)
        wait_until(lambda: server.look()["OS-EXT-SRV-ATTR:host"] == destination, 120, f"{server.title} is at {destination}")
        server.wait("ACTIVE", 240)
        server.find()
        server.guest.wait_ready(240)
    finally:
        hecad.start()  # gives back what its dead server had
        lost.start()
        wait_until(lambda: set_up(cloud, lost.host.name), 120, f"Nova takes {lost.host.name} back")
        cloud.wait_computes()
    wait_until(lambda: hecad.regions() == [], 60, "no region of it is left where it was")
    wait_until(lambda: lost.instances() == [], 120, "nothing of it is left where it was")
    is_aggregated(server)
    is_counted(server, 120)
