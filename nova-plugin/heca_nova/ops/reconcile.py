# SPDX-License-Identifier: Apache-2.0
"""Brings what Nova wants and what hecad does together: at the start of nova-compute, and with each report of resources
(update_resources_interval, a minute).

Two things need it. A server that should be governed and is not, because hecad was away when it was resumed or libvirt's
hook was not installed. And property heca:local: Nova keeps what `openstack server set --property` says and tells no
compute host.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from nova import context as nova_context
from nova import exception, objects
from nova.compute import vm_states
from oslo_log import log as logging

from heca_nova import compat, domain, errors
from heca_nova.ops.memory import MemoryOps

LOG = logging.getLogger(__name__)

_NEEDED = ["flavor", "metadata"]


class Reconciler:
    """`guest_of` is Host.get_guest."""

    def __init__(self, memory: MemoryOps, host: str, guest_of: Callable[[Any], Any]) -> None:
        self._memory = memory
        self._host = host
        self._guest_of = guest_of
        self._running = threading.Lock()

    def start(self) -> None:
        """In the background; nothing if a pass is under way."""
        if self._running.acquire(blocking=False):
            compat.in_background("heca-reconcile", self._pass)

    def _pass(self) -> None:
        try:
            self.run()
        except Exception:
            LOG.exception("Servers' memory could not be reconciled; it is tried again")
        finally:
            self._running.release()

    def run(self) -> None:
        """One look at each server of this host. What fails for one is logged, and the others are not."""
        context = nova_context.get_admin_context()
        for instance in objects.InstanceList.get_by_host(context, self._host, expected_attrs=_NEEDED):
            try:
                self._look_at(context, instance)
            except (errors.HecaFault, exception.InstanceNotFound) as fault:
                LOG.warning("Its memory: %s", fault, instance=instance)

    def _look_at(self, context: Any, instance: Any) -> None:
        wish = self._memory.wish_of(instance)
        if wish is None or not wish.splits or not self._at_rest(instance):
            return
        with self._memory.if_idle(instance) as idle:
            if not idle:
                return
            # Anything may have begun since the list was made; what begins from here on waits for the lock.
            instance = objects.Instance.get_by_uuid(context, instance.uuid, expected_attrs=_NEEDED)
            if not self._at_rest(instance):
                return
            guest = self._guest_of(instance)
            if guest.is_active() and domain.mentions_heca(guest.get_xml_desc()):
                self._memory.keep(instance, wish)

    def _at_rest(self, instance: Any) -> bool:
        return (instance.host == self._host and instance.task_state is None
                and instance.vm_state in (vm_states.ACTIVE, vm_states.PAUSED))
