# SPDX-License-Identifier: Apache-2.0
"""The memory of a server on this host, from its start to its end.

libvirt's hook, which heca installs on compute hosts, governs a domain as it starts. What is left for the driver: the XML
that makes it so, whatever the hook cannot see (a server that is restored from its saved state comes with all of its
memory), and the memory that has to be home before it is saved.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from oslo_log import log as logging

from heca_nova import domain, errors
from heca_nova import wish as wishes
from heca_nova.hecad import Hecad, Region
from heca_nova.wish import Wish

LOG = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.2


class MemoryOps:
    """Thread-safe. `options` is CONF.heca."""

    def __init__(self, hecad: Hecad, options: Any) -> None:
        self._hecad = hecad
        self._options = options
        self._locks: dict[str, threading.Lock] = {}
        self._lowered: set[str] = set()  # uuids of servers whose property heca:local was in force at the last look

    def wish_of(self, instance: Any) -> Wish | None:
        """None: an ordinary server. NotGovernable: its flavor contradicts itself, or says what is not known."""
        specs = getattr(getattr(instance, "flavor", None), "extra_specs", None)
        if not isinstance(specs, dict) or not wishes.is_heca(specs):
            return None
        try:
            wish = wishes.from_flavor(specs)
            if wish is not None:
                wishes.check_counted(specs, instance.flavor.memory_mb, wish)
        except ValueError as error:
            raise errors.NotGovernable(f"flavor {instance.flavor.name}: {error}") from error
        return wish

    def wish_now(self, instance: Any, wish: Wish) -> Wish:
        """With the server's own property heca:local, as far as that may be."""
        try:
            return wishes.with_property(wish, instance.metadata or {}, instance.flavor.memory_mb)
        except ValueError as error:
            LOG.warning("Ignored: %s", error, instance=instance)
            return wish

    def ready_xml(self, instance: Any, wish: Wish, xml: str) -> str:
        """The domain's XML as heca needs it. NotGovernable: it has devices that heca cannot govern."""
        try:
            return domain.make_ready(xml, self.wish_now(instance, wish), qmp_directory=self._options.qmp_directory,
                                     buffered_disks=self._options.disk_cache == "buffered")
        except ValueError as error:
            raise errors.NotGovernable(str(error)) from error

    def await_hecad(self) -> None:
        """hecad may be about to be there again, after an upgrade or at the host's own start: HecadAway after
        hecad_wait."""
        deadline = time.monotonic() + self._options.hecad_wait
        while True:
            try:
                return self._hecad.ping()
            except errors.HecadAway:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_LOOK_AGAIN_S)

    def before_start(self, instance: Any) -> None:
        """Fails now, before there is a domain, if hecad is away or still busy with the server's former run, or the server
        runs elsewhere: it must not run twice on one disk."""
        self.await_hecad()
        for departure in self._hecad.departures():
            if departure.domain == instance.name and departure.changed_over and not departure.over:
                raise errors.HecaFault(f"{instance.name} runs at {departure.destination}: it has moved there, and its "
                                       "memory still follows from here")
        left = self._await_end(instance.name, self._options.end_timeout)
        if left is not None:
            raise errors.HecaFault(
                f"the memory of {instance.name}'s former run has not been given back in {self._options.end_timeout:g} s "
                f"(region {left.name}: {left.state}; {left.trouble or 'at ' + ', '.join(left.sponsors)}); try again")

    def after_start(self, instance: Any, wish: Wish) -> None:
        """Governs the running domain, if it is not. Raises what hecad says."""
        if not wish.splits or self._hecad.region(instance.name) is not None:
            return
        wish = self.wish_now(instance, wish)
        LOG.info("Its memory is taken now", instance=instance)
        try:
            self._hecad.attach(instance.name, local=wish.local, ratio=wish.ratio, transport=wish.transport,
                               timeout=self._options.attach_timeout)
        except errors.HecadRefused as refused:
            if refused.code != "ALREADY_EXISTS":  # the hook was faster
                raise

    def take_again(self, instance: Any, wish: Wish) -> None:
        """Of a server that runs with what was saved of its memory: never raises, because nothing may end it for this.
        What fails is tried again by the reconciliation."""
        try:
            self.after_start(instance, wish)
        except errors.HecaFault as fault:
            LOG.error("It runs with all of its memory on this host, which placement does not count, until hecad takes a "
                      "part away: %s", fault, instance=instance)

    def bring_home(self, instance: Any) -> None:
        """All of its memory is here afterwards, and it is not governed any more. For what saves memory: QEMU would touch
        each page in turn, and each would push out another."""
        for departure in self._hecad.departures():
            if departure.domain == instance.name and not (departure.over or departure.changed_over):
                raise errors.HecaFault(f"{instance.name} is about to move to {departure.destination} "
                                       f"({departure.phase}); a state that is saved now could miss its memory: try again")
        if self._hecad.region(instance.name) is not None:
            LOG.info("All of its memory is brought home", instance=instance)
            self._hecad.detach(instance.name, timeout=self._options.home_timeout)

    def forget(self, instance: Any) -> None:
        """After the domain has ended: waits a moment until hecad has given its leases back. Never raises."""
        self.let_go(instance)
        try:
            left = self._await_end(instance.name, min(5.0, self._options.end_timeout))
        except errors.HecaFault as fault:
            LOG.warning("hecad gives its remote memory back once it is there again: %s", fault, instance=instance)
            return
        if left is not None:
            LOG.warning("Its remote memory is given back later (%s): %s", left.state, left.trouble, instance=instance)

    def let_go(self, instance: Any) -> None:
        """The server is not here any more: nothing of it is remembered."""
        self._lowered.discard(instance.uuid)
        lock = self._locks.get(instance.uuid)
        if lock is not None and not lock.locked():
            self._locks.pop(instance.uuid, None)

    def keep(self, instance: Any, wish: Wish) -> None:
        """Reconciliation of one running server: it is governed, and property heca:local is obeyed. The caller holds its
        lock."""
        region = self._hecad.region(instance.name)
        if region is None:
            self.after_start(instance, wish)
            return
        lowered = self.wish_now(instance, wish)
        # What an operator has set by hand stays, as long as the property says nothing and has said nothing.
        if lowered.local is None and instance.uuid not in self._lowered:
            return
        wanted = lowered.local_bytes(region.size)
        if region.state == "active" and region.limit != wanted:
            LOG.info("%d MiB of its memory are to stay here", wanted >> 20, instance=instance)
            self._hecad.limit(instance.name, wanted, timeout=self._options.attach_timeout)
        if lowered.local is None:
            self._lowered.discard(instance.uuid)
        else:
            self._lowered.add(instance.uuid)

    def diagnostics(self, instance: Any) -> dict[str, Any]:
        """For `openstack server show --diagnostics` and `openstack heca server show`: bytes, and words."""
        try:
            region = self._hecad.region(instance.name)
        except errors.HecaFault as fault:
            return {"heca_state": "unknown", "heca_trouble": fault.reason}
        if region is None:
            return {"heca_state": "not governed"}
        return {"heca_state": region.state, "heca_size_bytes": region.size, "heca_limit_bytes": region.limit,
                "heca_local_bytes": region.resident, "heca_away_bytes": region.away, "heca_lost_bytes": region.lost,
                "heca_sponsors": ", ".join(region.sponsors), "heca_trouble": region.trouble}

    @contextmanager
    def locked(self, instance: Any) -> Iterator[None]:
        """One of suspend, resume, start and reconciliation at a time, for each server."""
        with self._locks.setdefault(instance.uuid, threading.Lock()):
            yield

    @contextmanager
    def if_idle(self, instance: Any) -> Iterator[bool]:
        """The same, without waiting: False, and not locked, if something else is going on."""
        lock = self._locks.setdefault(instance.uuid, threading.Lock())
        idle = lock.acquire(blocking=False)
        try:
            yield idle
        finally:
            if idle:
                lock.release()

    def _await_end(self, name: str, patience: float) -> Region | None:
        """Until no region of that name is left whose domain has ended; the region if it is there after `patience`."""
        deadline = time.monotonic() + patience
        while True:
            region = self._hecad.region(name)
            if region is None or time.monotonic() >= deadline:
                return region
            time.sleep(_LOOK_AGAIN_S)
