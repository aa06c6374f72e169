# SPDX-License-Identifier: Apache-2.0
"""Live migrations that a nova-compute of this host has begun and did not see the end of.

While memory follows, a server runs at its destination and Nova has it here, migrating. A nova-compute that starts then
takes it for one whose migration has failed, and with `resume_guests_state_on_host_boot` it would even start it a second
time, on the same disk. So before Nova looks at its servers:

    hecad says of its last departure    the domain is here    what is done
    no change-over yet, or none known   either                nothing: Nova calls it off
    changed over                        yes                   nothing: a source that has not been ended yet runs nothing
    changed over                        no                    Nova gets it at its destination; once all of its memory has
                                                              arrived, the migration is completed and what placement
                                                              counts for it here is given back
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nova import context as nova_context
from nova import exception, objects
from nova.compute import task_states
from oslo_log import log as logging

from heca_nova import compat, errors
from heca_nova.ops.migration import MigrationOps, save_progress

LOG = logging.getLogger(__name__)


class InterruptedMigrations:
    """`guest_of` is Host.get_guest; `unplug` takes a server's interfaces off this host: (context, instance, network)."""

    def __init__(self, migrations: MigrationOps, host: str, guest_of: Callable[[Any], Any],
                 unplug: Callable[[Any, Any, Any], None]) -> None:
        self._migrations = migrations
        self._host = host
        self._guest_of = guest_of
        self._unplug = unplug

    def finish(self) -> None:
        """At the start of nova-compute. What fails for one server is logged, and the others are not kept from it."""
        context = nova_context.get_admin_context()
        try:
            here = objects.InstanceList.get_by_host(context, self._host, expected_attrs=["info_cache", "flavor"])
        except Exception:  # Nova asks the same next; the start of a server that has left is refused in any case
            LOG.exception("Whether a live migration was interrupted by a restart of nova-compute is not known")
            return
        for instance in here:
            if instance.task_state != task_states.MIGRATING:
                continue
            try:
                migration = self._that_has_changed_over(context, instance)
                if migration is not None:
                    self._hand_over(context, instance, migration)
            except Exception:  # whatever it is, nova-compute has to start
                LOG.exception("Its live migration was interrupted by a restart of nova-compute, and could not be finished",
                              instance=instance)

    def _that_has_changed_over(self, context: Any, instance: Any) -> Any:
        """Nova's record of the live migration by which it has left; None if it has not."""
        try:
            if not self._migrations.has_changed_over(instance.name):
                return None
        except errors.HecaFault as fault:
            LOG.warning("Whether it has left is not known: %s", fault, instance=instance)
            return None
        try:
            self._guest_of(instance)
            return None
        except exception.InstanceNotFound:
            pass
        under_way = objects.MigrationList.get_in_progress_by_instance(context, instance.uuid, "live-migration")
        return next((record for record in under_way if record.source_compute == self._host), None)

    def _hand_over(self, context: Any, instance: Any, migration: Any) -> None:
        destination = migration.dest_compute
        LOG.warning("It runs at %s: its live migration had changed over before nova-compute was restarted. Connections of "
                    "volumes to this host are left as they are, and so is its directory here: whether that is shared with "
                    "its destination is not known any more", destination, instance=instance)
        network = instance.get_network_info()
        try:
            compat.network_api().migrate_instance_start(context, instance, migration)
            self._unplug(context, instance, network)
        except Exception:  # its interfaces are the destination's to set up, which comes next
            LOG.exception("Its interfaces are still connected here", instance=instance)
        try:
            compat.compute_rpc().post_live_migration_at_destination(context, instance, False, destination)
        except Exception:  # as Nova does: wherever it is managed from, it is there
            LOG.exception("%s could not be told", destination, instance=instance)
            instance.apply_migration_context()
            instance.drop_migration_context()
            instance.host = destination
            instance.node = migration.dest_node
            instance.task_state = None
            instance.save()
        compat.in_background("heca-arrival", lambda: self._complete(context, instance, migration))

    def _complete(self, context: Any, instance: Any, migration: Any) -> None:
        self._migrations.await_arrival(instance, lambda departure: save_progress(migration, departure))
        migration.status = "completed"
        migration.save()
        compat.placement().delete_allocation_for_instance(context, migration.uuid, consumer_type="migration")
