# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from nova import objects

from heca_nova import domain
from heca_nova.hecad import Hecad
from heca_nova.ops.memory import MemoryOps
from heca_nova.ops.reconcile import Reconciler
from heca_nova.testing.fake_heca import FakeHeca
from heca_nova.wish import Wish

from .conftest import MIB, NAME, SMALL, FakeGuest, make_instance

READY = domain.make_ready(SMALL, Wish(ratio=(1, 3)), qmp_directory="/run/heca/qmp", buffered_disks=True)


class World:
    """Nova's database and libvirt, of one server."""

    def __init__(self, node: FakeHeca, options: Any) -> None:
        self.listed = make_instance()
        self.now = self.listed
        self.guest = FakeGuest(READY)
        self.memory = MemoryOps(Hecad("/s", 1.0, node), options)
        self.reconciler = Reconciler(self.memory, "host1", lambda instance: self.guest)


@pytest.fixture
def world(node: FakeHeca, options: Any) -> Iterator[World]:
    made = World(node, options)
    objects.register_all()
    with mock.patch("nova.context.get_admin_context"), \
            mock.patch.object(objects.InstanceList, "get_by_host", side_effect=lambda *a, **k: [made.listed]), \
            mock.patch.object(objects.Instance, "get_by_uuid", side_effect=lambda *a, **k: made.now):
        yield made


def test_a_server_that_is_not_governed_is(world: World, node: FakeHeca) -> None:
    world.reconciler.run()
    assert node.region_table[NAME].limit_bytes == 128 * MIB


def test_a_property_is_obeyed(world: World, node: FakeHeca) -> None:
    world.reconciler.run()
    world.now.metadata = {"heca:local": "64MiB"}
    world.reconciler.run()
    assert node.region_table[NAME].limit_bytes == 64 * MIB


@pytest.mark.parametrize("why", ["task", "stopped", "moved", "task since", "off", "ordinary", "noop", "locked"])
def test_others_are_left_alone(world: World, node: FakeHeca, why: str) -> None:
    if why == "task":
        world.listed.task_state = "suspending"
    elif why == "stopped":
        world.listed.vm_state = "stopped"
    elif why == "moved":
        world.now = make_instance()
        world.now.host = "host2"
    elif why == "task since":
        world.now = make_instance()
        world.now.task_state = "migrating"
    elif why == "off":
        world.guest.active = False
    elif why == "ordinary":
        world.listed.flavor.extra_specs = {}
    elif why == "noop":
        world.guest.xml = SMALL
    with world.memory.locked(make_instance()) if why == "locked" else mock.MagicMock():
        world.reconciler.run()
    assert node.region_table == {} and node.calls == []


def test_what_fails_for_one_does_not_keep_from_the_others(world: World, node: FakeHeca) -> None:
    wrong = make_instance({"heca:ratio": "none"})
    with mock.patch.object(objects.InstanceList, "get_by_host", return_value=[wrong, world.listed]):
        world.reconciler.run()
    assert NAME in node.region_table
    node.away = True
    world.reconciler.run()


def test_one_pass_at_a_time_in_the_background_and_again_after_a_failure(world: World) -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    passes = []

    def run() -> None:
        passes.append(1)
        begun.set()
        assert may_end.wait(10)
        ended.set()
        raise RuntimeError("the database is away")

    with mock.patch.object(world.reconciler, "run", run):
        world.reconciler.start()
        assert begun.wait(10)
        world.reconciler.start()
        assert len(passes) == 1
        may_end.set()
        assert ended.wait(10)
        assert world.reconciler._running.acquire(timeout=10)  # given back though it failed
        world.reconciler._running.release()
        world.reconciler.start()
        assert world.reconciler._running.acquire(timeout=10)
        world.reconciler._running.release()
        assert len(passes) == 2
