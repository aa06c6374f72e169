# SPDX-License-Identifier: LGPL-2.1-or-later
"""Live migrations over a slow link, which take long enough to be watched, forced, called off and abandoned."""

from __future__ import annotations

import shutil

from lab.deadline import wait_until
from lab.openstack.governed import compute_of, keeps_all_when_suspended, number_of, other_host
from lab.openstack.moves import arrived, listed, slow_migration, stays, until_copied_ahead, until_it_follows
from lab.openstack.server import Server


def test_forced_it_changes_over_and_is_completed_when_its_memory_is_there(server: Server) -> None:
    destination = other_host(server)

    def watch() -> None:
        until_it_follows(server)
        wait_until(lambda: server.migrations()[-1]["status"] == "post-migrating", 30, "Nova says so", poll=0.2)
        shown = listed(server)
        assert 0 < shown["memory_remaining_bytes"] < shown["memory_total_bytes"], shown

    arrived(server, slow_migration(server, destination, watch), destination)


def abort(server: Server) -> None:
    until_copied_ahead(server)
    server.cloud.client.run("server", "migration", "abort", server.id, str(listed(server)["id"]))


def test_called_off_it_stays(server: Server) -> None:
    record = slow_migration(server, other_host(server), lambda: abort(server), to_the_end=True)
    assert record["status"] == "cancelled", record
    stays(server, record)


def test_suspended_after_a_migration_that_was_called_off_it_keeps_all_of_its_memory(server: Server) -> None:
    """QEMU had begun to leave, with x-ignore-shared on."""
    assert server.migrations()[-1]["status"] == "cancelled"
    keeps_all_when_suspended(server)


def test_the_next_attempt_waits_until_its_destination_has_cleared_up(server: Server) -> None:
    """Nova has called the first one cancelled; its destination's libvirt still ends the QEMU that waited, slowly."""
    destination = other_host(server)
    there = server.cloud.hosts.hosts[number_of(server, "destination")]
    slow = there.home / "etc/libvirt/hooks/qemu.d/60-slow"
    slow.write_text("#!/bin/sh\n[ $2 != release ] || sleep 5\n")
    slow.chmod(0o755)
    try:
        assert slow_migration(server, destination, lambda: abort(server), to_the_end=True)["status"] == "cancelled"
        record = server.live_migrate(destination)
    finally:
        slow.unlink()
    arrived(server, record, destination)


def test_a_nova_compute_that_dies_while_it_leaves_finds_it_at_its_destination(server: Server) -> None:
    """With the option by which Nova starts again what it takes for stopped: it must not run twice."""
    destination, source = other_host(server), compute_of(server)

    def crash() -> None:
        until_it_follows(server)
        source.freeze()
        source.kill()
        source.start(resume_guests_state_on_host_boot="true")

    arrived(server, slow_migration(server, destination, crash), destination)
    assert source.host.running() == [], "it runs once"
    left = source.state / "instances" / server.id
    assert left.exists(), "its files are left: whether they are shared with its destination, nobody knows any more"
    shutil.rmtree(left)
