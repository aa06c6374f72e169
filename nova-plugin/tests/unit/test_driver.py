# SPDX-License-Identifier: Apache-2.0
"""When the façade does what: with LibvirtDriver's methods replaced by mocks, over a hecad that lies in memory."""

from __future__ import annotations

import time
import types
from threading import Thread
from typing import Any
from unittest import mock

import pytest
from nova import exception
from nova.compute import provider_tree
from nova.virt.libvirt.driver import LibvirtDriver

from heca_nova import compat, domain, errors
from heca_nova.driver import HecaLibvirtDriver
from heca_nova.ops.migration import MovingGuest
from heca_nova.testing.fake_heca import FakeHeca
from heca_nova.wish import RESOURCE_REMOTE, TRAIT, Wish

from .conftest import MIB, NAME, PARENT, SMALL, UUID, FakeGuest, make_departure, make_instance, make_region

READY = domain.make_ready(SMALL, Wish(ratio=(1, 3)), qmp_directory="/run/heca/qmp", buffered_disks=True)

# How Nova calls what we override: (method, arguments before the instance, after it)
CALLS: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = [
    ("_get_guest_xml", ("context",), ("network_info", "disk_info", "image_meta")),
    ("_create_guest", ("context", SMALL), ()),
    ("reboot", ("context",), ("network_info", "HARD")),
    ("suspend", ("context",), ()),
    ("_resume_guest_after_snapshot", ("context", False, 1), ("guest",)),
    ("destroy", ("context",), ("network_info",)),
    ("attach_interface", ("context",), ("image_meta", "vif")),
    ("get_diagnostics", (), ()),
    ("check_can_live_migrate_destination", ("context",), ("src", "dst")),
    ("check_can_live_migrate_source", ("context",), ("data",)),
    ("pre_live_migration", ("context",), ("block_device_info", "network_info", "disk_info", "data")),
    ("rollback_live_migration_at_destination", ("context",), ("network_info", "block_device_info", True, "data")),
    ("post_live_migration_at_destination", ("context",), ("network_info", False, "block_device_info")),
    ("_live_migration_operation", ("context",), ("dest", False, "data", "guest", [])),
    ("_live_migration_monitor", ("context",), ("guest", "dest", "post", "recover", False, "data", "future", [])),
    ("live_migration_force_complete", (), ()),
    ("post_live_migration", ("context",), ("block_device_info", "data")),
]


def test_what_is_overridden_is_in_this_nova() -> None:
    for name in PARENT:
        assert callable(LibvirtDriver.__dict__.get(name)), f"LibvirtDriver has no {name}"
        assert name in HecaLibvirtDriver.__dict__
    both = set(HecaLibvirtDriver.__dict__) & set(LibvirtDriver.__dict__)
    assert {name for name in both if not name.startswith("__")} == set(PARENT)


@pytest.mark.parametrize(("method", "before", "after"), CALLS, ids=[call[0] for call in CALLS])
@pytest.mark.parametrize("mode", ["ordinary", "noop"])
def test_others_go_the_parents_way_with_the_parents_arguments(driver: Any, node: FakeHeca, mode: str, method: str,
                                                             before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    node.away = True
    instance = make_instance({} if mode == "ordinary" else None)
    driver._heca_on = mode == "ordinary"
    returned = getattr(driver.parent, method).return_value = object()
    assert getattr(driver, method)(*before, instance, *after, future_argument=1) is returned
    called = getattr(driver.parent, method).call_args
    assert called == mock.call(*before, instance, *after, future_argument=1)
    assert node.calls == []


def test_mode_noop_still_refuses_a_flavor_that_is_wrong(driver: Any) -> None:
    driver._heca_on = False
    with pytest.raises(errors.NotGovernable):
        driver._get_guest_xml("context", make_instance({"heca:ratio": "x"}), None, None, None)


def test_xml_is_made_ready(driver: Any) -> None:
    driver.parent._get_guest_xml.return_value = SMALL
    xml = driver._get_guest_xml("context", make_instance(), "network_info", "disk_info", "image_meta")
    assert 'ratio="1:3"' in xml and '<source type="file"/>' in xml and 'cache="writeback"' in xml


def test_a_wrong_flavor_is_a_fault_before_libvirt_is_asked(driver: Any) -> None:
    with pytest.raises(errors.NotGovernable):
        driver._get_guest_xml("context", make_instance({"heca:ratio": "x"}), None, None, None)
    driver.parent._get_guest_xml.assert_not_called()


def start(driver: Any, guest: FakeGuest, instance: Any = None, **kwargs: Any) -> Any:
    driver._host.get_guest.return_value = guest
    driver.parent._create_guest.return_value = guest
    return driver._create_guest("context", READY, instance or make_instance(), **kwargs)


def test_a_server_starts_governed_by_the_hook_or_by_us(driver: Any, node: FakeHeca) -> None:
    driver.parent._create_guest.side_effect = lambda *a, **k: make_region(node) and FakeGuest(READY)
    start(driver, FakeGuest(READY))
    assert not any(call[0] == "attach" for call in node.calls)
    node.region_table.clear()
    driver.parent._create_guest.side_effect = None
    assert start(driver, FakeGuest(READY)).active
    assert NAME in node.region_table


def test_nothing_is_defined_while_hecad_is_away(driver: Any, node: FakeHeca) -> None:
    node.away = True
    with pytest.raises(errors.HecadAway):
        start(driver, FakeGuest(READY))
    driver.parent._create_guest.assert_not_called()


def test_a_domain_that_is_only_defined_needs_no_hecad(driver: Any, node: FakeHeca) -> None:
    node.away = True
    start(driver, FakeGuest(READY), power_on=False)
    with pytest.raises(errors.HecadAway):
        start(driver, FakeGuest(READY), power_on=False, pause=True)


def test_a_new_server_that_cannot_be_governed_is_ended(driver: Any, node: FakeHeca) -> None:
    node.peers = []
    guest = FakeGuest(READY)
    with pytest.raises(errors.HecadRefused):
        start(driver, guest)
    assert guest.off == 1


def test_a_restored_one_is_not(driver: Any, node: FakeHeca) -> None:
    node.peers = []
    guest = FakeGuest(READY, saved=True)
    assert start(driver, guest) is guest
    assert guest.off == 0


def test_what_a_soft_reboot_has_started_is_governed_too_and_never_fails_for_it(driver: Any, node: FakeHeca) -> None:
    driver.reboot("context", make_instance(), "network_info", "SOFT")
    assert NAME in node.region_table
    node.region_table.clear()
    driver.parent.reboot.side_effect = lambda *args: setattr(node, "away", True)
    driver.reboot("context", make_instance(), "network_info", "SOFT")


def test_a_running_server_is_not_ended_by_a_reboot_without_hecad(driver: Any, node: FakeHeca) -> None:
    node.away = True
    with pytest.raises(errors.HecadAway):
        driver.reboot("context", make_instance(), "network_info", "HARD")
    driver.parent.reboot.assert_not_called()


def test_suspend_saves_memory_that_is_home(driver: Any, node: FakeHeca) -> None:
    make_region(node)
    driver.parent.suspend.side_effect = lambda *args: node.calls.append(("saved", dict(node.region_table)))
    driver.suspend("context", make_instance())
    assert ("saved", {}) in node.calls


def test_a_suspend_that_fails_leaves_a_governed_server(driver: Any, node: FakeHeca) -> None:
    make_region(node)
    driver.parent.suspend.side_effect = exception.InstanceNotRunning(instance_id=UUID)
    with pytest.raises(exception.InstanceNotRunning):
        driver.suspend("context", make_instance())
    assert NAME in node.region_table


def test_nothing_is_saved_while_hecad_is_away(driver: Any, node: FakeHeca) -> None:
    node.away = True
    with pytest.raises(errors.HecadAway):
        driver.suspend("context", make_instance())
    driver.parent.suspend.assert_not_called()


def test_after_a_cold_snapshot_it_is_taken_again(driver: Any, node: FakeHeca) -> None:
    driver._host.get_guest.return_value = FakeGuest(READY)
    driver._resume_guest_after_snapshot("context", False, 1, make_instance(), FakeGuest(READY))
    assert NAME in node.region_table


def test_delete_works_whatever_hecad_and_the_flavor_say(driver: Any, node: FakeHeca) -> None:
    for specs in (None, {"heca:ratio": "x"}):
        for away in (False, True):
            node.away = away
            driver.destroy("context", make_instance(specs), "network_info")
    assert driver.parent.destroy.call_count == 4


def test_devices_that_bypass_the_page_tables_are_not_plugged(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heca_nova.driver.CONF", types.SimpleNamespace(libvirt=types.SimpleNamespace(virt_type="kvm")))
    driver.vif_driver.get_config.return_value.to_xml.return_value = "<interface type='hostdev'/>"
    with pytest.raises(exception.InterfaceAttachFailed):
        driver.attach_interface("context", make_instance(), "image_meta", "vif")
    driver.parent.attach_interface.assert_not_called()
    driver.vif_driver.get_config.return_value.to_xml.return_value = "<interface type='bridge'/>"
    driver.attach_interface("context", make_instance(), "image_meta", "vif")
    driver.parent.attach_interface.assert_called_once()


def test_diagnostics_are_added(driver: Any, node: FakeHeca) -> None:
    driver.parent.get_diagnostics.return_value = {"memory": 1}
    make_region(node)
    seen = driver.get_diagnostics(make_instance())
    assert seen["memory"] == 1 and seen["heca_local_bytes"] == 128 * MIB


def test_migrations_are_refused_early(driver: Any, node: FakeHeca) -> None:
    driver._host.get_guest.return_value = FakeGuest(READY)
    node.away = True
    for check in (driver.check_can_live_migrate_destination, driver.check_can_live_migrate_source):
        with pytest.raises(exception.MigrationPreCheckError):
            check("context", make_instance(), "data")
    driver.parent.check_can_live_migrate_destination.assert_not_called()
    driver._host.get_guest.return_value = FakeGuest()  # started in mode noop: hecad does not move it
    driver.check_can_live_migrate_source("context", make_instance(), "data")
    driver.parent.check_can_live_migrate_source.assert_called_once()


@pytest.mark.parametrize("end", ["rollback_live_migration_at_destination", "post_live_migration_at_destination"])
def test_an_attempt_is_prepared_for_once_the_one_before_is_over(driver: Any, end: str) -> None:
    instance, data = make_instance(), types.SimpleNamespace(is_shared_instance_path=False)
    driver.pre_live_migration("context", instance, "block_device_info", "network_info", None, data)
    assert driver.parent.pre_live_migration.call_args == mock.call("context", instance, "block_device_info", "network_info",
                                                                   None, data)
    next_one = Thread(target=driver.pre_live_migration, args=("context", instance, "b", "n", None),
                      kwargs={"migrate_data": data})
    next_one.start()
    getattr(driver.parent, end).side_effect = lambda *_: time.sleep(0.1)
    getattr(driver, end)("context", instance, "network_info")
    assert driver.parent.pre_live_migration.call_count == 1
    next_one.join(5)
    assert driver.parent.pre_live_migration.call_count == 2


def test_nova_leads_a_moving_guest(driver: Any) -> None:
    guest = FakeGuest(READY)
    driver._live_migration_operation("context", make_instance(), "dest", False, "data", guest, [])
    assert isinstance(driver.parent._live_migration_operation.call_args.args[compat.GUEST_OF_OPERATION], MovingGuest)
    driver._live_migration_monitor("context", make_instance(), guest, "dest", "post", "recover", False, "data", "f", [])
    assert isinstance(driver.parent._live_migration_monitor.call_args.args[compat.GUEST_OF_MONITOR], MovingGuest)


def test_force_complete_is_switch_now(driver: Any, node: FakeHeca) -> None:
    instance = make_instance()
    driver.live_migration_force_complete(instance)  # hecad knows of none: Nova's own way
    driver.parent.live_migration_force_complete.assert_called_once()
    make_departure(node)
    with pytest.raises(exception.NoActiveMigrationForInstance):
        driver.live_migration_force_complete(instance)
    driver.active_migrations[UUID] = []
    driver.live_migration_force_complete(instance)
    assert ("steer", NAME, True) in node.calls
    driver.parent.live_migration_force_complete.assert_called_once()


def test_the_source_is_cleaned_after_the_memory_has_arrived(driver: Any, node: FakeHeca) -> None:
    departure = make_departure(node)
    data = types.SimpleNamespace(migration=mock.Mock())
    data.migration.save.side_effect = lambda: setattr(departure, "over", True)
    driver.parent.post_live_migration.side_effect = lambda *args: node.calls.append(("cleaned", departure.over))
    driver.post_live_migration("context", make_instance(), "block_device_info", data)
    assert ("cleaned", True) in node.calls
    node.away = True
    driver.post_live_migration("context", make_instance(), "block_device_info", migrate_data=None)
    assert driver.parent.post_live_migration.call_count == 2


@pytest.mark.parametrize("phase", ["complete", "abort"])
def test_a_domain_that_libvirt_has_kept_is_ended_where_it_has_left(driver: Any, node: FakeHeca, phase: str) -> None:
    make_departure(node, over=True).progress.phase = phase
    guest = driver._host.get_guest.return_value = FakeGuest(READY)
    driver.post_live_migration("context", make_instance(), "block_device_info", None)
    assert guest.off == (1 if phase == "complete" else 0)
    driver._host.get_guest.side_effect = exception.HypervisorUnavailable()
    driver.post_live_migration("context", make_instance(), "block_device_info", None)
    assert driver.parent.post_live_migration.call_count == 2


def make_tree() -> Any:
    tree = provider_tree.ProviderTree()
    tree.new_root("host1", UUID, generation=0)
    return tree


def test_placement_and_the_scheduler_are_told(driver: Any, node: FakeHeca) -> None:
    driver.parent.get_available_resource.return_value = {"vcpus": 2}
    assert driver.get_available_resource("host1")["stats"]["heca_remote_free_mb"] == 64 * 1024
    tree = make_tree()
    driver.update_provider_tree(tree, "host1", allocations=None)
    assert RESOURCE_REMOTE in tree.data("host1").inventory
    driver._heca_reconciler.start.assert_called_once()
    node.away = True
    driver.parent.get_available_resource.return_value = {"vcpus": 2}
    assert driver.get_available_resource("host1") == {"vcpus": 2}
    driver.update_provider_tree(tree, "host1")
    assert TRAIT not in tree.data("host1").traits


def test_mode_noop_reports_nothing(driver: Any, node: FakeHeca) -> None:
    driver._heca_on = False
    driver.parent.get_available_resource.return_value = {"vcpus": 2}
    assert driver.get_available_resource("host1") == {"vcpus": 2}
    tree = make_tree()
    driver.update_provider_tree(tree, "host1")
    assert tree.data("host1").inventory == {}
    assert node.calls == []


def test_nova_compute_starts_without_hecad(driver: Any, node: FakeHeca) -> None:
    node.away = True
    driver.init_host("host1")
    driver.parent.init_host.assert_called_once_with("host1")
    driver._heca_reconciler.start.assert_not_called()
    driver._heca_interrupted.finish.assert_called_once()
    node.away = False
    driver.init_host("host1")
    driver._heca_reconciler.start.assert_called_once()


def test_a_nova_that_has_lost_a_name_is_told_of(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compat.check(driver) == []
    monkeypatch.setitem(compat.OVERRIDDEN, "_gone", 0)
    assert compat.check(driver) == ["_gone"]
