# SPDX-License-Identifier: Apache-2.0
"""A driver whose parent does nothing but note what it is asked, over a hecad that lies in memory."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from heca_nova.testing.fake_heca import FakeHeca, Migration, Progress, Reached, Region

MIB = 1 << 20
NAME = "instance-0000002a"
UUID = "0f2d1c6a-9f0e-4f0b-8d53-6a4b2f1b7d11"
RATIO = {"heca:ratio": "1:3"}

SMALL = (f"<domain type='kvm'><name>{NAME}</name><uuid>{UUID}</uuid><memory>524288</memory><metadata/>"
         "<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/></disk></devices>"
         "</domain>")


class FakeLibvirt(types.SimpleNamespace):
    """The part of libvirt's binding that the package uses."""

    class libvirtError(Exception):
        pass

    VIR_MIGRATE_LIVE = 1
    VIR_MIGRATE_POSTCOPY = 1 << 15
    VIR_DOMAIN_JOB_NONE = 0
    VIR_DOMAIN_JOB_UNBOUNDED = 2
    VIR_DOMAIN_JOB_COMPLETED = 3
    VIR_DOMAIN_JOB_FAILED = 4


class FakeGuest:
    """As nova.virt.libvirt.guest.Guest; `saved` is whether libvirt has a managed save of it."""

    def __init__(self, xml: str = SMALL, saved: bool = False) -> None:
        self.name = NAME
        self.xml = xml
        self.active = True
        self.off = 0
        self.migrated: list[tuple[str, dict[str, Any]]] = []
        self.job: Any = types.SimpleNamespace(type=FakeLibvirt.VIR_DOMAIN_JOB_UNBOUNDED, memory_total=1, memory_processed=0,
                                         memory_remaining=1)
        self._domain = types.SimpleNamespace(hasManagedSaveImage=lambda flags: saved)

    def get_xml_desc(self) -> str:
        return self.xml

    def is_active(self) -> bool:
        return self.active

    def poweroff(self) -> None:
        self.active = False
        self.off += 1

    def migrate(self, destination: str, **parameters: Any) -> None:
        self.migrated.append((destination, parameters))

    def get_job_info(self) -> Any:
        if isinstance(self.job, Exception):
            raise self.job
        return self.job


def make_instance(specs: dict[str, str] | None = None, memory_mb: int = 512, **fields: Any) -> Any:
    flavor = types.SimpleNamespace(name="h1", memory_mb=memory_mb, extra_specs=RATIO if specs is None else specs)
    return types.SimpleNamespace(uuid=UUID, name=NAME, flavor=flavor, metadata={}, host="host1", task_state=None,
                                 vm_state="active", **fields)


def make_region(node: FakeHeca, size: int = 512 * MIB, limit: int = 128 * MIB, state: str = "active") -> Region:
    region = Region(NAME, size, limit, state=state, resident_bytes=limit, away_bytes=size - limit)
    node.region_table[NAME] = region
    return region


def make_departure(node: FakeHeca, **fields: Any) -> Migration:
    departure = Migration(NAME, progress=Progress("post-copy", 10 * MIB, 40 * MIB), reached=Reached(NAME, 512 * MIB),
                          **fields)
    node.departures.append(departure)
    return departure


@pytest.fixture
def node() -> FakeHeca:
    fake = FakeHeca()
    fake.memory_of[NAME] = 512 * MIB
    return fake


@pytest.fixture
def options() -> Any:
    """As CONF.heca with its defaults, but for waits."""
    from oslo_config import cfg

    from heca_nova import conf
    config = cfg.ConfigOpts()
    conf.register(config)
    config([])
    for name, value in (("end_timeout", 0.5), ("hecad_wait", 0.2), ("arrival_timeout", 0.5), ("libvirt_hook", "")):
        config.set_override(name, value, group="heca")
    return config.heca


@pytest.fixture
def fake_libvirt(monkeypatch: pytest.MonkeyPatch) -> FakeLibvirt:
    from nova.virt.libvirt import driver as libvirt_driver
    from nova.virt.libvirt import guest as libvirt_guest

    fake = FakeLibvirt()
    monkeypatch.setattr(libvirt_driver, "libvirt", fake)
    monkeypatch.setattr(libvirt_guest, "libvirt", fake)
    return fake


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks again at once."""
    from heca_nova.ops import memory, migration, prepared

    for module in (memory, migration, prepared):
        monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.01)
    monkeypatch.setattr(migration, "_DECIDED_WITHIN_S", 0.5)


PARENT = ["init_host", "get_available_resource", "update_provider_tree", "_get_guest_xml", "_create_guest", "reboot",
          "suspend", "_resume_guest_after_snapshot", "destroy", "attach_interface", "get_diagnostics",
          "check_can_live_migrate_destination", "check_can_live_migrate_source", "pre_live_migration",
          "_live_migration_operation", "_live_migration_monitor", "live_migration_force_complete", "post_live_migration",
          "rollback_live_migration_at_destination", "post_live_migration_at_destination"]


@pytest.fixture
def driver(node: FakeHeca, options: Any, fake_libvirt: FakeLibvirt, quick: None) -> Iterator[Any]:
    """A HecaLibvirtDriver; `driver.parent` has a mock for each method of LibvirtDriver that it overrides."""
    from nova.virt.libvirt.driver import LibvirtDriver

    from heca_nova.driver import HecaLibvirtDriver
    from heca_nova.hecad import Hecad
    from heca_nova.ops.inventory import InventoryOps
    from heca_nova.ops.memory import MemoryOps
    from heca_nova.ops.migration import MigrationOps

    parent = mock.Mock()
    patches = [mock.patch.object(LibvirtDriver, name, getattr(parent, name)) for name in PARENT]
    patches.append(mock.patch.object(LibvirtDriver, "__init__", lambda *args, **kwargs: None))
    for patch in patches:
        patch.start()
    made = HecaLibvirtDriver(mock.Mock())
    hecad = Hecad(options.socket, options.timeout, node)
    made._heca_memory = MemoryOps(hecad, options)
    made._heca_migrations = MigrationOps(hecad, options)
    made._heca_inventory = InventoryOps(hecad, made._heca_migrations)
    made._heca_reconciler = mock.Mock()
    made._heca_interrupted = mock.Mock()
    made._host = mock.Mock()
    made.vif_driver = mock.Mock()
    made.active_migrations = {}
    made.parent = parent
    yield made
    for patch in patches:
        patch.stop()
