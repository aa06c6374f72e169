# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from typing import Any

import pytest

from heca_nova import errors
from heca_nova.hecad import Hecad
from heca_nova.ops.memory import MemoryOps
from heca_nova.testing.fake_heca import FakeHeca
from heca_nova.wish import Wish

from .conftest import MIB, NAME, SMALL, make_departure, make_instance, make_region

WISH = Wish(ratio=(1, 3))


@pytest.fixture
def memory(node: FakeHeca, options: Any, quick: None) -> MemoryOps:
    return MemoryOps(Hecad("/s", 1.0, node), options)


def test_wishes(memory: MemoryOps) -> None:
    assert memory.wish_of(make_instance({})) is None
    assert memory.wish_of(make_instance()) == WISH
    with pytest.raises(errors.NotGovernable, match="flavor h1: ratio|flavor h1: '3'"):
        memory.wish_of(make_instance({"heca:ratio": "3"}))
    with pytest.raises(errors.NotGovernable, match="resources:MEMORY_MB=64"):
        memory.wish_of(make_instance({"heca:ratio": "1:3", "resources:MEMORY_MB": "64"}))


def test_a_property_that_is_none_is_ignored_where_the_server_starts(memory: MemoryOps) -> None:
    instance = make_instance()
    instance.metadata = {"heca:local": "64MiB"}
    assert 'local="64MiB"' in memory.ready_xml(instance, WISH, SMALL)
    instance.metadata = {"heca:local": "1GiB"}  # more than its flavor has paid for
    assert 'ratio="1:3"' in memory.ready_xml(instance, WISH, SMALL)


def test_the_configured_cache_of_disks(memory: MemoryOps, options: Any) -> None:
    assert 'cache="writeback"' in memory.ready_xml(make_instance(), WISH, SMALL)
    options._conf.set_override("disk_cache", "keep", group="heca")
    assert 'cache="none"' in memory.ready_xml(make_instance(), WISH, SMALL)


def test_a_device_that_cannot_be_governed_is_a_fault(memory: MemoryOps) -> None:
    xml = SMALL.replace("</devices>", "<hostdev type='pci'/></devices>")
    with pytest.raises(errors.NotGovernable, match="vfio"):
        memory.ready_xml(make_instance(), WISH, xml)


def test_nothing_starts_without_hecad(memory: MemoryOps, node: FakeHeca) -> None:
    memory.before_start(make_instance())
    node.away = True
    with pytest.raises(errors.HecadAway):
        memory.before_start(make_instance())


def test_a_start_waits_for_a_hecad_that_is_about_to_be_back(memory: MemoryOps, node: FakeHeca) -> None:
    node.away = True
    timer = threading.Timer(0.05, lambda: setattr(node, "away", False))
    timer.start()
    memory.before_start(make_instance())
    assert not node.away


def test_a_start_waits_for_the_end_of_the_former_run(memory: MemoryOps, node: FakeHeca) -> None:
    make_region(node, state="ending")
    timer = threading.Timer(0.1, node.region_table.clear)
    timer.start()
    memory.before_start(make_instance())
    assert NAME not in node.region_table
    make_region(node, state="ending").trouble = "m1 is out of reach"
    with pytest.raises(errors.HecaFault, match=r"former run .* m1 is out of reach"):
        memory.before_start(make_instance())


def test_a_server_that_runs_elsewhere_does_not_start_here(memory: MemoryOps, node: FakeHeca) -> None:
    departure = make_departure(node)
    with pytest.raises(errors.HecaFault, match="runs at host2"):
        memory.before_start(make_instance())
    departure.over = departure.ok = True
    memory.before_start(make_instance())  # it may have come back
    node.departures[:] = [departure]
    departure.over, departure.progress.phase = False, "pre-copy"
    memory.before_start(make_instance())


def test_what_the_hook_has_governed_is_left_alone(memory: MemoryOps, node: FakeHeca) -> None:
    make_region(node)
    memory.after_start(make_instance(), WISH)
    assert not any(call[0] == "attach" for call in node.calls)


def test_where_the_hook_did_not_run_it_is_taken_now(memory: MemoryOps, node: FakeHeca) -> None:
    memory.after_start(make_instance(), WISH)
    assert node.region_table[NAME].limit_bytes == 128 * MIB
    assert ("attach", NAME, None, "1:3", "auto") in node.calls


def test_with_the_servers_own_local_part(memory: MemoryOps, node: FakeHeca) -> None:
    instance = make_instance()
    instance.metadata = {"heca:local": "64MiB"}
    memory.after_start(instance, WISH)
    assert ("attach", NAME, 64 * MIB, None, "auto") in node.calls


def test_with_the_flavors_transport(memory: MemoryOps, node: FakeHeca) -> None:
    memory.after_start(make_instance(), Wish(ratio=(1, 3), transport="rdma"))
    assert ("attach", NAME, None, "1:3", "rdma") in node.calls


def test_a_server_of_which_only_migrations_are_hecas_is_not_attached(memory: MemoryOps, node: FakeHeca) -> None:
    memory.after_start(make_instance({"heca:migration": "hybrid"}), Wish(migration="hybrid"))
    assert node.calls == []


def test_an_attach_that_fails_is_told_and_after_a_restore_only_logged(memory: MemoryOps, node: FakeHeca) -> None:
    node.peers = []
    with pytest.raises(errors.HecadRefused, match="no sponsor"):
        memory.after_start(make_instance(), WISH)
    memory.take_again(make_instance(), WISH)
    node.away = True
    memory.take_again(make_instance(), WISH)


def test_all_memory_comes_home_before_it_is_saved(memory: MemoryOps, node: FakeHeca) -> None:
    memory.bring_home(make_instance())  # not governed: nothing to do
    make_region(node)
    memory.bring_home(make_instance())
    assert NAME not in node.region_table
    node.away = True
    with pytest.raises(errors.HecadAway):
        memory.bring_home(make_instance())


def test_nothing_is_saved_of_a_server_that_is_about_to_move(memory: MemoryOps, node: FakeHeca) -> None:
    make_departure(node).progress.phase = "stream"
    with pytest.raises(errors.HecaFault, match="about to move to host2"):
        memory.bring_home(make_instance())
    node.departures[0].over = True
    memory.bring_home(make_instance())


def test_forgetting_waits_and_never_fails(memory: MemoryOps, node: FakeHeca) -> None:
    memory.forget(make_instance())
    make_region(node, state="ending")
    timer = threading.Timer(0.1, node.region_table.clear)
    timer.start()
    memory.forget(make_instance())
    assert NAME not in node.region_table
    make_region(node, state="ending")
    memory.forget(make_instance())
    node.away = True
    memory.forget(make_instance())
    memory.forget(make_instance())


def test_reconciliation_governs_and_obeys_the_property(memory: MemoryOps, node: FakeHeca) -> None:
    instance = make_instance()
    memory.keep(instance, WISH)
    assert node.region_table[NAME].limit_bytes == 128 * MIB
    instance.metadata = {"heca:local": "64MiB"}
    memory.keep(instance, WISH)
    assert node.region_table[NAME].limit_bytes == 64 * MIB
    limits = sum(call[0] == "limit" for call in node.calls)
    memory.keep(instance, WISH)
    assert sum(call[0] == "limit" for call in node.calls) == limits  # nothing to change
    instance.metadata = {}
    memory.keep(instance, WISH)
    assert node.region_table[NAME].limit_bytes == 128 * MIB


def test_what_an_operator_has_set_by_hand_stays(memory: MemoryOps, node: FakeHeca) -> None:
    make_region(node, limit=256 * MIB)
    memory.keep(make_instance(), WISH)
    assert node.region_table[NAME].limit_bytes == 256 * MIB


def test_a_region_that_is_not_active_is_not_limited(memory: MemoryOps, node: FakeHeca) -> None:
    make_region(node, state="leaving")
    instance = make_instance()
    instance.metadata = {"heca:local": "64MiB"}
    memory.keep(instance, WISH)
    assert node.region_table[NAME].limit_bytes == 128 * MIB


def test_diagnostics(memory: MemoryOps, node: FakeHeca) -> None:
    assert memory.diagnostics(make_instance()) == {"heca_state": "not governed"}
    make_region(node)
    seen = memory.diagnostics(make_instance())
    assert seen["heca_state"] == "active"
    assert (seen["heca_local_bytes"], seen["heca_away_bytes"], seen["heca_limit_bytes"], seen["heca_size_bytes"]) == (
        128 * MIB, 384 * MIB, 128 * MIB, 512 * MIB)
    node.away = True
    assert memory.diagnostics(make_instance())["heca_state"] == "unknown"


def test_one_thing_at_a_time(memory: MemoryOps) -> None:
    instance = make_instance()
    with memory.locked(instance), memory.if_idle(instance) as idle:
        assert not idle
        memory.let_go(instance)
        assert memory._locks  # in use
    for _ in range(2):
        with memory.if_idle(instance) as idle:
            assert idle
    memory.let_go(instance)
    assert not memory._locks
