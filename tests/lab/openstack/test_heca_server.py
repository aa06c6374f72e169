# SPDX-License-Identifier: LGPL-2.1-or-later
"""One server whose memory is spread, through all that a cloud's user does to it, by the `openstack` client.

The tests are one life and build on each other: the server is made by the first and ends with the last. It writes and verifies
three fifths of its memory all the time, and twice as much as stays on its host.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.deadline import wait_until
from lab.openstack.cloud import Cloud
from lab.openstack.governed import (
    LOCAL_MIB,
    MIB,
    RAM_MIB,
    REMOTE_MIB,
    SLACK,
    WORKLOAD,
    create_flavor,
    hecad_of,
    is_aggregated,
    is_counted,
    keeps_all_when_suspended,
    nothing_is_left,
    other_host,
    runs_anew,
    served,
)
from lab.openstack.server import Server


@pytest.fixture(scope="module")
def server(cloud: Cloud) -> Iterator[Server]:
    with served(cloud, "shop") as made:
        yield made


def test_it_boots_with_its_memory_spread(server: Server) -> None:
    server.wait_boots()
    is_aggregated(server)
    assert (server.host.home / f"run/libvirt/qemu/{server.name}.pid").exists()
    assert "libvirt-qemu" in server.host.run("ps", "-o", "user=", "-p", str(server.pid)), "QEMU has no privilege"


def test_placement_and_the_client_say_where_its_memory_is(server: Server) -> None:
    is_counted(server)
    client = server.cloud.client
    shown = client.ask("heca", "server", "show", server.id)
    assert (shown["host"], shown["state"]) == (server.host.name, "active")
    assert shown["limit_bytes"] == LOCAL_MIB * MIB
    assert 0 < shown["local_bytes"] <= LOCAL_MIB * MIB + SLACK
    assert shown["local_bytes"] + shown["away_bytes"] >= 154 * MIB
    row = next(row for row in client.ask("heca", "host", "list") if row["Host"] == server.host.name)
    assert (row["Local Used MB"], row["Remote Used MB"]) == (LOCAL_MIB, REMOTE_MIB)
    inventory = server.cloud.inventory(server.host.name)
    assert inventory["CUSTOM_HECA_REMOTE_MB"]["total"] == 1024
    assert inventory["MEMORY_MB"]["reserved"] == 512


def test_it_moves_there_and_back_under_load(server: Server) -> None:
    for _ in range(2):
        destination = other_host(server)
        record = server.live_migrate(destination)
        assert record["status"] == "completed"
        assert server.host.name == destination
        is_aggregated(server)
        is_counted(server)
    moved = server.cloud.client.ask("heca", "migration", "list")
    assert len(moved) == 2 and all("completed" in str(row) for row in moved), moved


def test_suspended_after_a_migration_it_keeps_all_of_its_memory(server: Server) -> None:
    keeps_all_when_suspended(server)


def test_paused_it_waits_and_goes_on(server: Server) -> None:
    server.run("pause")
    server.wait("PAUSED")
    ticks = len(server.guest.ticks())
    server.run("unpause")
    server.wait("ACTIVE")
    assert len(server.guest.ticks()) >= ticks
    is_aggregated(server)


def test_rebooted_it_is_spread_again(server: Server) -> None:
    server.run("reboot", "--hard")
    server.wait("ACTIVE", 240)
    runs_anew(server)


def test_stopped_and_started_it_is_spread_again(server: Server) -> None:
    server.run("stop")
    server.wait("SHUTOFF", 240)
    assert hecad_of(server).regions() == []
    server.run("start")
    server.wait("ACTIVE", 240)
    runs_anew(server)


def test_rebuilt_it_is_spread_again(server: Server) -> None:
    server.run("rebuild", "--image", server.image)
    server.wait("ACTIVE", 240)
    runs_anew(server)


def test_shelved_it_takes_no_memory_and_unshelved_it_is_spread_again(server: Server) -> None:
    server.run("shelve")
    server.wait("SHELVED_OFFLOADED", 300)
    for host, hecad in zip(server.cloud.hosts.hosts, server.cloud.hosts.hecads, strict=True):
        hecad.wait_gone(server.name)
        assert host.memory_used() < MIB
        assert all(value == 0 for value in server.cloud.usages(host.name).values())
    server.run("unshelve")
    server.wait_boots()
    is_aggregated(server)
    is_counted(server)


def test_its_local_part_is_lowered_while_it_runs(server: Server) -> None:
    smaller = LOCAL_MIB // 2
    server.cloud.client.run("heca", "server", "set", "--local", f"{smaller}MiB", server.id)
    is_aggregated(server, limit=smaller * MIB)
    server.cloud.client.run("server", "unset", "--property", "heca:local", server.id)
    is_aggregated(server)


def test_a_crash_of_hecad_costs_it_nothing(server: Server) -> None:
    hecad = hecad_of(server)
    hecad.kill()
    hecad.start()
    hecad.wait_active(server.name, 60)
    is_aggregated(server)
    is_counted(server)


def test_it_is_resized_to_a_flavor_with_more_memory(server: Server) -> None:
    create_flavor(server.cloud, "larger", 2 * RAM_MIB)
    server.run("resize", "--flavor", "larger")
    server.wait("VERIFY_RESIZE", 300)
    server.run("resize", "confirm")
    server.wait("ACTIVE", 120)
    server.find()
    server.guest.wait_ready(240)
    is_aggregated(server, limit=2 * LOCAL_MIB * MIB)
    usages = server.cloud.usages(server.host.name)
    assert (usages["MEMORY_MB"], usages["CUSTOM_HECA_REMOTE_MB"]) == (2 * LOCAL_MIB, 2 * REMOTE_MIB)


def test_deleted_it_leaves_nothing(server: Server) -> None:
    server.delete()
    nothing_is_left(server.cloud)
    server.cloud.client.run("flavor", "delete", "larger")
    wait_until(lambda: server.cloud.client.ask("server", "list") == [], 30, "no server is listed")
