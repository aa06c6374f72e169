# SPDX-License-Identifier: Apache-2.0
"""`compute_driver = heca.HecaLibvirtDriver`: LibvirtDriver, and what it has to do otherwise for heca servers.

A façade: it says when, ops/ says what. Each override begins by asking whether the server concerns us; one that does not
goes the parent's way with the parent's arguments.

    boot, reboot, rebuild, ...  _get_guest_xml (the XML makes libvirt's hook govern it), _create_guest (that it did)
    suspend, cold snapshot      suspend (all memory home first), _create_guest or _resume_guest_after_snapshot (away again)
    live migration              check_can_live_migrate_*, pre_live_migration (after what failed before it is cleared up),
                                _live_migration_operation (repaired XML, no libvirt post-copy), _live_migration_monitor
                                (progress), live_migration_force_complete, post_live_migration (until the memory has
                                arrived), and both ends at the destination
    delete                      destroy
    placement, scheduler        update_provider_tree, get_available_resource
    the rest                    init_host, attach_interface, get_diagnostics, reboot
"""

from __future__ import annotations

from functools import partial
from typing import Any

import nova.conf
from nova import exception
from nova.virt.libvirt.driver import LibvirtDriver
from oslo_log import log as logging

from heca_nova import compat, conf, domain, errors
from heca_nova.hecad import Hecad
from heca_nova.ops.interrupted import InterruptedMigrations
from heca_nova.ops.inventory import InventoryOps
from heca_nova.ops.memory import MemoryOps
from heca_nova.ops.migration import MigrationOps, saver, with_guest
from heca_nova.ops.prepared import PreparedMigrations
from heca_nova.ops.reconcile import Reconciler
from heca_nova.wish import Wish

LOG = logging.getLogger(__name__)
CONF = nova.conf.CONF
conf.register(CONF)


class HecaLibvirtDriver(LibvirtDriver):
    """One a nova-compute. Starts, and runs ordinary servers, whether or not hecad is there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heca_on = CONF.heca.mode == "hecad"
        hecad = Hecad(CONF.heca.socket, CONF.heca.timeout)
        self._heca_memory = MemoryOps(hecad, CONF.heca)
        self._heca_migrations = MigrationOps(hecad, CONF.heca)
        self._heca_prepared = PreparedMigrations(CONF.heca)
        self._heca_inventory = InventoryOps(hecad, self._heca_migrations)
        self._heca_reconciler = Reconciler(self._heca_memory, CONF.host, lambda instance: self._host.get_guest(instance))
        self._heca_interrupted = InterruptedMigrations(self._heca_migrations, CONF.host,
                                                       lambda instance: self._host.get_guest(instance),
                                                       self.post_live_migration_at_source)

    def _concerns_heca(self, instance: Any) -> Wish | None:
        """What its flavor says; None for ordinary servers, and for all of them in mode noop, which still refuses a flavor
        that is wrong."""
        wish = self._heca_memory.wish_of(instance)
        return wish if self._heca_on else None

    # The host

    def init_host(self, *args: Any, **kwargs: Any) -> Any:
        compat.ask_devices_in_native_threads(self._host)
        result = super().init_host(*args, **kwargs)
        missing = compat.check(self)
        if missing:
            LOG.error("heca's driver was written for Nova %s; this one has no %s, so heca servers may not work",
                      " and ".join(compat.CHECKED_ON), ", ".join(missing))
        if not self._heca_on:
            return result
        if CONF.libvirt.live_migration_with_native_tls:
            LOG.warning("live_migration_with_native_tls: the device state of heca servers is encrypted on its way, their "
                        "memory is not, as hecad encrypts nothing yet")
        self._heca_interrupted.finish()  # Nova looks at its servers next
        if self._heca_inventory.look() is not None:
            self._heca_reconciler.start()
        return result

    def get_available_resource(self, *args: Any, **kwargs: Any) -> Any:
        resources = super().get_available_resource(*args, **kwargs)
        supply = self._heca_inventory.look() if self._heca_on else None
        if supply is not None:
            self._heca_inventory.statistics(resources, supply)
        return resources

    def update_provider_tree(self, provider_tree: Any, nodename: str, *args: Any, **kwargs: Any) -> Any:
        last = self._heca_inventory.last_remote(provider_tree, nodename)
        result = super().update_provider_tree(provider_tree, nodename, *args, **kwargs)
        if not self._heca_on:
            self._heca_inventory.withdraw(provider_tree, nodename, last)
            return result
        supply = self._heca_inventory.look()
        self._heca_inventory.update(provider_tree, nodename, supply, last)
        if supply is not None:
            self._heca_reconciler.start()
        return result

    # A server's life on this host

    def _get_guest_xml(self, *args: Any, **kwargs: Any) -> Any:
        instance = compat.instance_of("_get_guest_xml", args, kwargs)
        wish = self._concerns_heca(instance)
        xml = super()._get_guest_xml(*args, **kwargs)
        return self._heca_memory.ready_xml(instance, wish, xml) if wish else xml

    def _create_guest(self, *args: Any, **kwargs: Any) -> Any:
        instance = compat.instance_of("_create_guest", args, kwargs)
        wish = self._concerns_heca(instance)
        if wish is None or not compat.starts(args, kwargs):
            return super()._create_guest(*args, **kwargs)
        with self._heca_memory.locked(instance):
            self._heca_memory.before_start(instance)
            restored = self._has_saved_state(instance)
            guest = super()._create_guest(*args, **kwargs)
            if restored:
                self._heca_memory.take_again(instance, wish)
                return guest
            try:
                self._heca_memory.after_start(instance, wish)
            except errors.HecaFault:
                guest.poweroff()  # it has just begun, and may not have all of its memory here
                raise
            return guest

    def _has_saved_state(self, instance: Any) -> bool:
        try:
            return bool(compat.domain_of(self._host.get_guest(instance)).hasManagedSaveImage(0))
        except exception.InstanceNotFound:
            return False

    def reboot(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
        wish = self._concerns_heca(instance)
        if wish:
            self._heca_memory.await_hecad()  # while it still runs: a reboot without hecad would only end it
        result = super().reboot(context, instance, *args, **kwargs)
        if wish:
            self._heca_memory.take_again(instance, wish)  # a soft reboot starts the domain past _create_guest
        return result

    def suspend(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
        wish = self._concerns_heca(instance)
        if wish is None:
            return super().suspend(context, instance, *args, **kwargs)
        with self._heca_memory.locked(instance):
            self._heca_memory.bring_home(instance)
            try:
                return super().suspend(context, instance, *args, **kwargs)
            except Exception:
                self._heca_memory.take_again(instance, wish)
                raise

    def _resume_guest_after_snapshot(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._resume_guest_after_snapshot(*args, **kwargs)
        instance = compat.instance_of("_resume_guest_after_snapshot", args, kwargs)
        wish = self._concerns_heca(instance)
        if wish and self._host.get_guest(instance).is_active():
            with self._heca_memory.locked(instance):
                self._heca_memory.take_again(instance, wish)
        return result

    def destroy(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
        result = super().destroy(context, instance, *args, **kwargs)
        if self._is_heca(instance):
            self._heca_memory.forget(instance)
        return result

    def _is_heca(self, instance: Any) -> bool:
        """For what must not fail, however wrong the flavor is."""
        try:
            return self._concerns_heca(instance) is not None
        except errors.NotGovernable:
            return self._heca_on

    def attach_interface(self, context: Any, instance: Any, image_meta: Any, vif: Any, *args: Any, **kwargs: Any) -> Any:
        if self._concerns_heca(instance):
            device = self.vif_driver.get_config(instance, vif, image_meta, instance.flavor, CONF.libvirt.virt_type)
            reasons = domain.refuse_device(device.to_xml(), CONF.libvirt.virt_type)
            if reasons:
                LOG.error("Its memory is governed by hecad, so this interface cannot be attached: %s", ". ".join(reasons),
                          instance=instance)
                raise exception.InterfaceAttachFailed(instance_uuid=instance.uuid)
        return super().attach_interface(context, instance, image_meta, vif, *args, **kwargs)

    def get_diagnostics(self, instance: Any, *args: Any, **kwargs: Any) -> Any:
        output = super().get_diagnostics(instance, *args, **kwargs)
        if self._is_heca(instance):
            output.update(self._heca_memory.diagnostics(instance))
        return output

    # Live migration

    def check_can_live_migrate_destination(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
        if self._concerns_heca(instance):
            self._heca_migrations.check_destination(instance)
        return super().check_can_live_migrate_destination(context, instance, *args, **kwargs)

    def check_can_live_migrate_source(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
        wish = self._concerns_heca(instance)
        if wish and self._heca_migrations.is_moving_heca(self._host.get_guest(instance)):
            self._heca_migrations.check_source(instance, wish)
        return super().check_can_live_migrate_source(context, instance, *args, **kwargs)

    def pre_live_migration(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
        prepare = partial(super().pre_live_migration, context, instance, *args, **kwargs)
        if not self._is_heca(instance):
            return prepare()
        return self._heca_prepared.prepare(instance, compat.argument(args, kwargs, "migrate_data", 3), prepare)

    def rollback_live_migration_at_destination(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
        with self._heca_prepared.ending(instance):
            return super().rollback_live_migration_at_destination(context, instance, *args, **kwargs)

    def post_live_migration_at_destination(self, context: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
        with self._heca_prepared.ending(instance):
            return super().post_live_migration_at_destination(context, instance, *args, **kwargs)

    def _live_migration_operation(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = self._with_moving_guest("_live_migration_operation", compat.GUEST_OF_OPERATION, args, kwargs)
        return super()._live_migration_operation(*args, **kwargs)

    def _live_migration_monitor(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = self._with_moving_guest("_live_migration_monitor", compat.GUEST_OF_MONITOR, args, kwargs)
        return super()._live_migration_monitor(*args, **kwargs)

    def _with_moving_guest(self, method: str, position: int, args: tuple[Any, ...],
                           kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of that method, with the guest at `position`, or one whose memory hecad moves in its place."""
        instance = compat.instance_of(method, args, kwargs)
        if not self._concerns_heca(instance):
            return args, kwargs
        return with_guest(self._heca_migrations, args, kwargs, position, lambda: self._host.get_guest(instance))

    def live_migration_force_complete(self, instance: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._concerns_heca(instance) or self._heca_migrations.under_way(instance.name) is None:
            return super().live_migration_force_complete(instance, *args, **kwargs)
        if instance.uuid not in self.active_migrations:
            raise exception.NoActiveMigrationForInstance(instance_id=instance.uuid)
        return self._heca_migrations.force_complete(instance)

    def post_live_migration(self, context: Any, instance: Any, block_device_info: Any, migrate_data: Any = None,
                            *args: Any, **kwargs: Any) -> Any:
        if self._is_heca(instance):
            self._heca_migrations.await_arrival(instance, saver(migrate_data))
            self._end_what_has_left(instance)
            self._heca_memory.let_go(instance)
        return super().post_live_migration(context, instance, block_device_info, migrate_data, *args, **kwargs)

    def _end_what_has_left(self, instance: Any) -> None:
        """A libvirt that was restarted at the change-over keeps the domain here, stopped."""
        try:
            guest = self._host.get_guest(instance)
            if guest.is_active() and self._heca_migrations.has_changed_over(instance.name):
                LOG.warning("It runs at its destination; its domain here is ended", instance=instance)
                guest.poweroff()
        except exception.InstanceNotFound:
            pass
        except Exception:  # nothing may keep Nova from moving it to where it runs
            LOG.exception("Whether its domain is still here is not known", instance=instance)
