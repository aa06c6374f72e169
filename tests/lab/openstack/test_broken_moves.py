# SPDX-License-Identifier: LGPL-2.1-or-later
"""Live migrations in which something breaks. Before the change-over the server stays, and Nova calls it ACTIVE where it was;
after it the server goes on where it is, and waits through the outage."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from lab.deadline import wait_until
from lab.hecad import Hecad
from lab.libvirt_host import LibvirtHost
from lab.openstack.governed import MIB, number_of, other_host, place_of, runs_anew
from lab.openstack.moves import arrived, slow_migration, stays, until_copied_ahead, until_it_follows
from lab.openstack.server import Server

CUT_SECONDS = 10
SIDES = pytest.mark.parametrize("side", ["source", "destination"])


def side_of(server: Server, side: str) -> tuple[LibvirtHost, Hecad]:
    hosts = server.cloud.hosts
    number = number_of(server, side)
    return hosts.hosts[number], hosts.hecads[number]


def crash(hecad: Hecad) -> None:
    hecad.kill()
    hecad.start()


def cut_for_a_while(server: Server) -> None:
    place = place_of(server)
    place.cut()
    time.sleep(CUT_SECONDS)  # the length of the cut is the thing tested
    place.mend()


def kill_qemu_there(server: Server) -> None:
    there, _ = side_of(server, "destination")
    os.kill(int((there.home / "run/libvirt/qemu" / f"{server.name}.pid").read_text()), signal.SIGKILL)


def broken_before(server: Server, broken: Callable[[], object]) -> dict[str, object]:
    """While memory is copied ahead, over a link that is slow to the end: whatever is left of the migration does not win."""
    def meanwhile() -> None:
        until_copied_ahead(server)
        broken()

    return slow_migration(server, other_host(server), meanwhile, to_the_end=True)


def goes_on_after(server: Server, until: Callable[[Server], None], broken: Callable[[], object]) -> None:
    """It arrives once the link is quick again."""
    destination = other_host(server)

    def meanwhile() -> None:
        until(server)
        broken()

    arrived(server, slow_migration(server, destination, meanwhile), destination)


# Before the change-over

@SIDES
def test_a_hecad_that_crashes_while_memory_is_copied_ahead_costs_nothing(server: Server, side: str) -> None:
    _, hecad = side_of(server, side)
    stays(server, broken_before(server, lambda: crash(hecad)))


def test_a_qemu_that_dies_at_the_destination_costs_nothing(server: Server) -> None:
    stays(server, broken_before(server, lambda: kill_qemu_there(server)))


def test_a_destination_without_room_for_it_costs_nothing(server: Server) -> None:
    there, _ = side_of(server, "destination")
    room = there.memory / "somebody-else"
    there.run("fallocate", "-l", str(990 * MIB), str(room))
    try:
        stays(server, server.live_migrate(there.name))
    finally:
        there.run("rm", str(room))


def test_a_hook_that_fails_costs_nothing(server: Server) -> None:
    there, _ = side_of(server, "destination")
    hook = there.home / "etc/libvirt/hooks/qemu.d/50-heca"
    program = hook.readlink()
    hook.unlink()
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    try:
        stays(server, server.live_migrate(there.name))
    finally:
        hook.unlink()
        hook.symlink_to(program)


def test_a_link_that_is_cut_while_memory_is_copied_ahead_is_waited_out(server: Server) -> None:
    def broken() -> None:
        cut_for_a_while(server)
        until_it_follows(server)

    goes_on_after(server, until_copied_ahead, broken)


# After it

@SIDES
def test_a_hecad_that_crashes_while_memory_follows_is_waited_for(server: Server, side: str) -> None:
    _, hecad = side_of(server, side)
    goes_on_after(server, until_it_follows, lambda: crash(hecad))


def test_a_libvirtd_that_restarts_at_the_change_over_does_not_bring_the_server_back(server: Server) -> None:
    """It has not heard the end of its migration, and keeps the domain, stopped."""
    source = server.host
    goes_on_after(server, until_it_follows, source.restart_libvirtd)
    assert source.running() == [], "it runs once"


def until_libvirt_is_done(server: Server) -> None:
    until_it_follows(server)
    wait_until(lambda: server.migrations()[-1]["status"] == "post-migrating", 30, "Nova waits for memory alone", poll=0.1)


@SIDES
def test_a_libvirtd_that_restarts_while_memory_follows_is_not_missed(server: Server, side: str) -> None:
    host, _ = side_of(server, side)
    goes_on_after(server, until_libvirt_is_done, host.restart_libvirtd)


def test_a_link_that_is_cut_while_memory_follows_is_waited_out(server: Server) -> None:
    goes_on_after(server, until_it_follows, lambda: cut_for_a_while(server))


def test_a_server_that_dies_while_memory_follows_is_told_of_and_boots_again(server: Server) -> None:
    source, destination = server.host, other_host(server)

    def meanwhile() -> None:
        until_libvirt_is_done(server)
        kill_qemu_there(server)

    slow_migration(server, destination, meanwhile)
    assert server.look()["OS-EXT-SRV-ATTR:host"] == destination
    assert source.running() == [], "it is not brought back where it was"
    wait_until(lambda: source.memory_files() == [], 60, "nothing of it is left where it was")
    server.run("reboot", "--hard")
    server.wait("ACTIVE", 240)
    runs_anew(server)
