# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from nova import exception, objects

from heca_nova import compat
from heca_nova.hecad import Hecad
from heca_nova.ops.interrupted import InterruptedMigrations
from heca_nova.ops.migration import MigrationOps
from heca_nova.testing.fake_heca import FakeHeca

from .conftest import NAME, FakeGuest, make_departure, make_instance


class World:
    """Nova's database, its other hosts and libvirt, of one server that was migrating when its nova-compute died."""

    def __init__(self, node: FakeHeca, options: Any) -> None:
        self.node = node
        self.instance = make_instance()
        self.instance.task_state = "migrating"
        self.instance.get_network_info = lambda: "network"
        self.instance.save = mock.Mock()
        self.instance.apply_migration_context = mock.Mock()
        self.instance.drop_migration_context = mock.Mock()
        self.guest: FakeGuest | None = None
        self.record = mock.Mock(uuid="m1", source_compute="host1", dest_compute="host2", dest_node="node2")
        self.network, self.rpc, self.placement, self.unplug = mock.Mock(), mock.Mock(), mock.Mock(), mock.Mock()
        self.completed = threading.Event()
        self.placement.delete_allocation_for_instance.side_effect = lambda *a, **k: self.completed.set()
        self.interrupted = InterruptedMigrations(MigrationOps(Hecad("/s", 1.0, node), options), "host1", self.look,
                                                 self.unplug)

    def look(self, instance: Any) -> FakeGuest:
        if self.guest is None:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return self.guest

    def nothing_was_done(self) -> bool:
        return not (self.network.mock_calls or self.rpc.mock_calls or self.placement.mock_calls or self.unplug.mock_calls
                    or self.record.save.called)


@pytest.fixture
def world(node: FakeHeca, options: Any, quick: None) -> Iterator[World]:
    made = World(node, options)
    objects.register_all()
    with mock.patch("nova.context.get_admin_context", return_value="admin"), \
            mock.patch.object(compat, "network_api", lambda: made.network), \
            mock.patch.object(compat, "compute_rpc", lambda: made.rpc), \
            mock.patch.object(compat, "placement", lambda: made.placement), \
            mock.patch.object(objects.MigrationList, "get_in_progress_by_instance",
                              side_effect=lambda *a, **k: [made.record]), \
            mock.patch.object(objects.InstanceList, "get_by_host", side_effect=lambda *a, **k: [made.instance]):
        yield made


def test_a_server_that_runs_at_its_destination_is_handed_over_and_completed_when_its_memory_is_there(world: World) -> None:
    departure = make_departure(world.node)
    world.interrupted.finish()
    world.rpc.post_live_migration_at_destination.assert_called_once_with("admin", world.instance, False, "host2")
    world.network.migrate_instance_start.assert_called_once_with("admin", world.instance, world.record)
    world.unplug.assert_called_once_with("admin", world.instance, "network")
    assert world.record.status != "completed", "its memory still follows"
    departure.over = departure.ok = True
    assert world.completed.wait(10)
    assert world.record.status == "completed" and world.record.save.called
    world.placement.delete_allocation_for_instance.assert_called_once_with("admin", "m1", consumer_type="migration")


def test_a_destination_that_cannot_be_told_has_it_all_the_same(world: World) -> None:
    make_departure(world.node, over=True, ok=True).progress.phase = "complete"
    world.rpc.post_live_migration_at_destination.side_effect = RuntimeError("no answer")
    world.network.migrate_instance_start.side_effect = RuntimeError("neutron is away")
    world.interrupted.finish()
    assert (world.instance.host, world.instance.node, world.instance.task_state) == ("host2", "node2", None)
    assert world.instance.save.called
    assert world.completed.wait(10)


@pytest.mark.parametrize("why", ["not migrating", "unknown", "called off", "not yet", "hecad away", "still here",
                                 "no record", "another host's"])
def test_what_has_not_left_is_novas(world: World, why: str) -> None:
    departure = make_departure(world.node)
    if why == "not migrating":
        world.instance.task_state = None
    elif why == "unknown":
        world.node.departures.clear()
    elif why == "called off":
        departure.over, departure.progress.phase = True, "aborted"
    elif why == "not yet":
        departure.progress.phase = "switch-over"
    elif why == "hecad away":
        world.node.away = True
    elif why == "still here":
        world.guest = FakeGuest()
    elif why == "another host's":
        world.record.source_compute = "host3"
    with mock.patch.object(objects.MigrationList, "get_in_progress_by_instance",
                           return_value=[] if why == "no record" else [world.record]):
        world.interrupted.finish()
    assert world.nothing_was_done()
    assert world.instance.name == NAME and world.instance.host == "host1"


def test_one_that_fails_does_not_keep_the_next_from_being_finished(world: World) -> None:
    make_departure(world.node, over=True, ok=True).progress.phase = "complete"
    broken = make_instance()
    broken.task_state = "migrating"
    with mock.patch.object(objects.InstanceList, "get_by_host", return_value=[broken, world.instance]):
        world.interrupted.finish()  # the first has no network information
    assert world.rpc.post_live_migration_at_destination.call_count == 1
    assert world.completed.wait(10)


def test_a_database_that_does_not_answer_does_not_keep_nova_compute_from_starting(world: World) -> None:
    make_departure(world.node)
    with mock.patch.object(objects.InstanceList, "get_by_host", side_effect=RuntimeError("no database")):
        world.interrupted.finish()
    assert world.nothing_was_done()
