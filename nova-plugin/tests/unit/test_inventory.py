# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from nova.compute import provider_tree

from heca_nova.hecad import Hecad
from heca_nova.ops.inventory import InventoryOps
from heca_nova.ops.migration import MigrationOps
from heca_nova.testing.fake_heca import FakeHeca, Peer, Store
from heca_nova.wish import RESOURCE_REMOTE, TRAIT

from .conftest import MIB, make_departure, make_instance, make_region

GIB = 1 << 30
MEMORY = {"total": 8192, "reserved": 512, "min_unit": 1, "max_unit": 8192, "step_size": 1, "allocation_ratio": 1.0}


@pytest.fixture
def tree() -> Any:
    made = provider_tree.ProviderTree()
    made.new_root("host1", "11111111-2222-3333-4444-555555555555", generation=0)
    made.update_inventory("host1", {"MEMORY_MB": MEMORY})
    return made


@pytest.fixture
def ops(node: FakeHeca, options: Any, fake_libvirt: Any, quick: None) -> InventoryOps:
    hecad = Hecad("/s", 1.0, node)
    return InventoryOps(hecad, MigrationOps(hecad, options))


def update(ops: InventoryOps, tree: Any) -> dict[str, Any]:
    """As the driver does; LibvirtDriver rewrites the inventory in between."""
    last = ops.last_remote(tree, "host1")
    tree.update_inventory("host1", {"MEMORY_MB": MEMORY})
    ops.update(tree, "host1", ops.look(), last)
    return dict(tree.data("host1").inventory)


def test_what_is_left_over_after_our_own_servers_is_what_is_free(ops: InventoryOps, tree: Any, node: FakeHeca) -> None:
    # of 64 GiB, 10 are free; 30 are lent to our server, so 24 are others'
    node.peers[1].free_bytes = 10 * GIB
    make_region(node, size=40 * GIB, limit=10 * GIB).stores = [Store("m1", 30 * GIB)]
    remote = update(ops, tree)[RESOURCE_REMOTE]
    assert (remote["total"], remote["reserved"]) == (64 * 1024, 24 * 1024)
    assert remote["total"] - remote["reserved"] - 30 * 1024 == 10 * 1024
    assert remote["allocation_ratio"] == 1.0
    assert TRAIT in tree.data("host1").traits


def test_what_a_lease_holds_beyond_what_is_counted_is_nobodys(ops: InventoryOps, tree: Any, node: FakeHeca) -> None:
    make_region(node, size=40 * GIB, limit=10 * GIB).stores = [Store("m1", 32 * GIB)]
    node.peers[1].free_bytes = 32 * GIB
    remote = update(ops, tree)[RESOURCE_REMOTE]
    assert remote["reserved"] == 2 * 1024
    assert remote["total"] - remote["reserved"] - 30 * 1024 == 32 * 1024, "what is free"


def test_only_others_that_are_alive_lend(ops: InventoryOps, tree: Any, node: FakeHeca) -> None:
    node.peers = [Peer("host1", 8 * GIB, 8 * GIB, health="self"), Peer("m1", 4 * GIB, 4 * GIB),
                  Peer("m2", 16 * GIB, 16 * GIB, health="unreachable")]
    assert update(ops, tree)[RESOURCE_REMOTE]["total"] == 4 * 1024


def test_memory_that_no_server_may_have_is_reserved(ops: InventoryOps, tree: Any, node: FakeHeca) -> None:
    node.peers[0].donated_bytes = 2 * GIB
    region = make_region(node)
    region.resident_bytes = region.limit_bytes + 100 * MIB
    assert update(ops, tree)["MEMORY_MB"]["reserved"] == 512 + 2048 + 100
    node.away = True  # what was taken is taken, whether or not hecad says so now
    assert update(ops, tree)["MEMORY_MB"]["reserved"] == 512 + 2048 + 100
    node.away = False
    node.peers[0].donated_bytes = 100 * GIB
    assert update(ops, tree)["MEMORY_MB"]["reserved"] == MEMORY["total"]


def test_memory_that_has_not_followed_yet_is_reserved(ops: InventoryOps, tree: Any, node: FakeHeca) -> None:
    departure = make_departure(node)
    assert update(ops, tree)["MEMORY_MB"]["reserved"] == 512  # its migration has an allocation here
    ops._migrations.await_arrival(make_instance(), lambda departure: None)
    assert update(ops, tree)["MEMORY_MB"]["reserved"] == 512 + 512
    departure.over = True
    assert update(ops, tree)["MEMORY_MB"]["reserved"] == 512


def test_without_hecad_nothing_new_comes_here_and_nothing_in_use_is_dropped(ops: InventoryOps, tree: Any,
                                                                           node: FakeHeca) -> None:
    node.away = True
    assert RESOURCE_REMOTE not in update(ops, tree)
    assert TRAIT not in tree.data("host1").traits
    node.away = False
    update(ops, tree)
    node.away = True
    remote = update(ops, tree)[RESOURCE_REMOTE]
    assert remote["reserved"] == remote["total"] == 64 * 1024
    assert TRAIT not in tree.data("host1").traits
    node.away = False
    assert update(ops, tree)[RESOURCE_REMOTE]["reserved"] == 0
    node.peers = node.peers[:1]  # the only lender is gone
    remote = update(ops, tree)[RESOURCE_REMOTE]
    assert remote["reserved"] == remote["total"] == 64 * 1024


def test_a_near_lender_counts_more(ops: InventoryOps, node: FakeHeca) -> None:
    near = ops.look()
    node.peers[1].rtt_ns = 5_000_000
    far = ops.look()
    assert near is not None and far is not None
    assert near.free == far.free == 64 * 1024
    assert near.near > 10 * far.near > 0


def test_statistics_join_what_is_there(ops: InventoryOps) -> None:
    supply = ops.look()
    assert supply is not None
    resources: dict[str, Any] = {"stats": {"x": 1}}
    ops.statistics(resources, supply)
    assert resources["stats"]["x"] == 1 and resources["stats"]["heca_remote_free_mb"] == 64 * 1024
    resources = {}
    ops.statistics(resources, supply)
    assert set(resources["stats"]) == {"heca_remote_free_mb", "heca_remote_near_mb"}


def test_mode_noop_offers_nothing_more(ops: InventoryOps, tree: Any) -> None:
    """Servers of before may still use it: placement would refuse to drop it."""
    total = update(ops, tree)[RESOURCE_REMOTE]["total"]
    last = ops.last_remote(tree, "host1")
    tree.update_inventory("host1", {"MEMORY_MB": MEMORY})
    ops.withdraw(tree, "host1", last)
    assert TRAIT not in tree.data("host1").traits
    remote = tree.data("host1").inventory[RESOURCE_REMOTE]
    assert (remote["total"], remote["reserved"]) == (total, total)
    assert tree.data("host1").inventory["MEMORY_MB"] == MEMORY


def test_mode_noop_from_the_beginning_says_nothing_of_it(ops: InventoryOps, tree: Any) -> None:
    ops.withdraw(tree, "host1", None)
    assert set(tree.data("host1").inventory) == {"MEMORY_MB"}
