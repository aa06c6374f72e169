# SPDX-License-Identifier: Apache-2.0
"""Live migration of heca servers: Nova leads, libvirt carries the device state, the hecads move the memory.

At the destination libvirt's hook tells hecad, which finds the source's; so a migration that Nova starts becomes heca's
without a word from here, if the XML that the destination gets still says what it has to: Nova strips <memoryBacking>. And
libvirt's own post-copy must stay off, because QEMU's does not go with RAM that is left out of its stream.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from nova import exception
from oslo_log import log as logging

from heca_nova import compat, domain, errors
from heca_nova.hecad import Departure, Hecad
from heca_nova.wish import Wish

LOG = logging.getLogger(__name__)

_LOOK_AGAIN_S = 1.0
_SAVE_EVERY_S = 5.0
# A word of Nova's for what its API still lists, and neither aborts nor forces. "running (post-copy)" is hidden by `server
# migration list`.
FOLLOWING = "post-migrating"
# Within which hecad knows whose a domain is. It asks QEMU, in milliseconds; a destination that libvirt keeps alive without a
# word, for half a minute.
_DECIDED_WITHIN_S = 120.0
_CLOCKS_DIFFER_S = 1.0  # hecad's and ours, of one host, after rounding


class Outcome(Enum):
    """Of a migration, by hecad's word."""

    NONE = "hecad has begun none"
    OPEN = "not decided yet"
    STAYS = "it runs here"
    LEFT = "it runs at its destination, or nowhere"
    UNKNOWN = "hecad is away"


class MovingGuest:
    """A nova.virt.libvirt.guest.Guest whose memory hecad moves; whatever is not here is the guest's. `renewed` finds it anew
    once libvirt's connection was lost.

    libvirt may fail at the change-over (it is restarted, or loses the one at the destination) when the server runs there
    already; to roll that back would end it. So where libvirt's word is missing, or is that the migration has failed, hecad's
    decides.
    """

    def __init__(self, guest: Any, ops: MigrationOps, renewed: Callable[[], Any]) -> None:
        self._moving = guest
        self._ops = ops
        self._renewed = renewed
        self._since = time.time() - _CLOCKS_DIFFER_S

    def __getattr__(self, name: str) -> Any:
        return getattr(self._moving, name)

    def migrate(self, destination: str, **parameters: Any) -> Any:
        """With XML that is repaired, and without libvirt's post-copy."""
        if parameters.get("destination_xml"):
            parameters["destination_xml"] = self._ops.incoming_xml(parameters["destination_xml"])
        parameters["flags"] = parameters.get("flags", 0) & ~compat.libvirt().VIR_MIGRATE_POSTCOPY
        return self._moving.migrate(destination, **parameters)

    def get_job_info(self) -> Any:
        """hecad's figures in place of the stream's, which has no RAM in it."""
        try:
            info = self._moving.get_job_info()
        except compat.libvirt().libvirtError as error:
            LOG.warning("%s: libvirt does not tell how its migration goes (%s); hecad is asked", self._moving.name, error)
            return self._job_without_libvirt(error)
        if info.type == compat.libvirt().VIR_DOMAIN_JOB_UNBOUNDED:
            departure = self._ops.under_way(self._moving.name)
            if departure is not None and departure.total:
                info.memory_total = departure.total
                info.memory_processed = departure.done
                info.memory_remaining = max(0, departure.total - departure.done)
        return info

    def is_active(self) -> bool:
        """Here. libvirt may keep the domain of one that has left, stopped, where it was restarted meanwhile."""
        return bool(self._moving.is_active()) and self._ops.decided(self._moving.name, self._since) is not Outcome.LEFT

    def _job_without_libvirt(self, error: Exception) -> Any:
        """Once libvirt answers again, as what comes next needs it, and hecad knows how it ended; else `error` is raised."""
        outcome = self._ops.decided(self._moving.name, self._since)
        deadline = time.monotonic() + _DECIDED_WITHIN_S
        while outcome in (Outcome.STAYS, Outcome.LEFT) and time.monotonic() < deadline:
            try:
                self._moving = self._renewed()
            except exception.InstanceNotFound:
                pass
            except (exception.HypervisorUnavailable, compat.libvirt().libvirtError):
                time.sleep(_LOOK_AGAIN_S)
                continue
            return compat.job(compat.libvirt().VIR_DOMAIN_JOB_COMPLETED if outcome is Outcome.LEFT
                              else compat.libvirt().VIR_DOMAIN_JOB_FAILED)
        raise error


class MigrationOps:
    """Thread-safe. `options` is CONF.heca."""

    def __init__(self, hecad: Hecad, options: Any) -> None:
        self._hecad = hecad
        self._options = options
        self._followed_too_long: set[str] = set()

    def check_destination(self, instance: Any) -> None:
        """MigrationPreCheckError, with the reason, if the server's memory could not come here."""
        try:
            others = [node for node in self._hecad.nodes() if not node.itself]
        except errors.HecaFault as fault:
            raise exception.MigrationPreCheckError(reason=f"destination: {fault.reason}") from fault
        hook = self._options.libvirt_hook
        if hook and not os.access(hook, os.X_OK):
            raise exception.MigrationPreCheckError(
                reason=f"destination: heca's libvirt hook {hook} is missing, so libvirt would move {instance.name} without "
                       "its memory's lease; install it, and restart libvirtd once")
        if not any(node.alive for node in others):
            raise exception.MigrationPreCheckError(
                reason="destination: its hecad reaches no other one; see [[peer]] in hecad.toml")

    def check_source(self, instance: Any, wish: Wish) -> None:
        """The same for a server that is here."""
        try:
            region = self._hecad.region(instance.name)
            departure = self.under_way(instance.name)
        except errors.HecaFault as fault:
            raise exception.MigrationPreCheckError(reason=f"source: {fault.reason}") from fault
        if wish.splits and (region is None or region.state != "active"):
            state = "not governed" if region is None else f"{region.state} {region.trouble}".strip()
            raise exception.MigrationPreCheckError(
                reason=f"source: the memory of {instance.name} is {state}; it moves once it is active")
        if departure is not None:
            raise exception.MigrationPreCheckError(
                reason=f"source: memory of {instance.name} still leaves for {departure.destination}")

    def is_moving_heca(self, guest: Any) -> bool:
        """Whether the running domain is one that hecad moves: it says so itself. One that was started without heca (mode
        noop) has a heca flavor, and moves as any other."""
        try:
            return domain.mentions_heca(guest.get_xml_desc())
        except compat.libvirt().libvirtError:  # it may have moved already
            return False

    def incoming_xml(self, xml: str) -> str:
        try:
            return domain.repair_incoming(xml, qmp_directory=self._options.qmp_directory)
        except ValueError as error:
            raise errors.NotGovernable(str(error)) from error

    def under_way(self, name: str) -> Departure | None:
        """The migration that takes this domain away, if hecad knows one that is not over. None as well if hecad is away:
        libvirt's word decides, hecad's is for people."""
        try:
            departure = self._latest(name)
        except errors.HecaFault as fault:
            LOG.debug("No progress of %s: %s", name, fault)
            return None
        return departure if departure is not None and not departure.over else None

    def outcome(self, name: str, since: float) -> Outcome:
        """Of the migration that has begun since then, in seconds since the epoch."""
        try:
            departure = self._latest(name)
        except errors.HecaFault:
            return Outcome.UNKNOWN
        if departure is None or departure.started_at < since:
            return Outcome.NONE
        if departure.changed_over:
            return Outcome.LEFT
        return Outcome.STAYS if departure.over else Outcome.OPEN

    def decided(self, name: str, since: float) -> Outcome:
        """The same, once it is; it waits for that, and for a hecad that is restarted."""
        deadline = time.monotonic() + _DECIDED_WITHIN_S
        while True:
            outcome = self.outcome(name, since)
            if outcome not in (Outcome.OPEN, Outcome.UNKNOWN):
                return outcome
            if time.monotonic() >= deadline:
                LOG.error("%s: whether it has left is not known after %g s: %s", name, _DECIDED_WITHIN_S, outcome.value)
                return outcome
            time.sleep(_LOOK_AGAIN_S)

    def has_changed_over(self, name: str) -> bool:
        """Whether this domain runs elsewhere, by its last migration from here that hecad knows."""
        departure = self._latest(name)
        return departure is not None and departure.changed_over

    def force_complete(self, instance: Any) -> None:
        """It changes over as soon as it can; what is left of its memory follows."""
        self._hecad.switch_now(instance.name)

    def await_arrival(self, instance: Any, save: Callable[[Departure], None]) -> None:
        """After the change-over, until the destination has all of its memory, or arrival_timeout is over. Never raises:
        the server runs there, whatever happens here. `save` is told how far it is."""
        deadline = time.monotonic() + self._options.arrival_timeout
        saved = 0.0
        while True:
            try:
                departure = self._latest(instance.name)
            except errors.HecaFault as fault:
                LOG.warning("Whether its memory has arrived is not known: %s", fault, instance=instance)
            else:
                if departure is None or departure.over:
                    self._say_how_it_ended(instance, departure)
                    return
                if time.monotonic() - saved >= _SAVE_EVERY_S:
                    saved = time.monotonic()
                    save(departure)
            if time.monotonic() >= deadline:
                LOG.warning("Its memory has not all arrived %g s after the change-over. The migration is called "
                            "completed; `hecactl migrations` on this host shows how it goes on",
                            self._options.arrival_timeout, instance=instance)
                self._followed_too_long.add(instance.name)
                return
            time.sleep(_LOOK_AGAIN_S)

    def bytes_uncounted(self) -> int:
        """Memory that still lies here of servers whose allocation here has ended: await_arrival gave them up."""
        held = {d.domain: d.memory for d in self._hecad.departures() if not d.over}
        self._followed_too_long &= held.keys()
        return sum(held[name] for name in self._followed_too_long)

    def _latest(self, name: str) -> Departure | None:
        return max((d for d in self._hecad.departures() if d.domain == name), key=lambda d: d.started_at, default=None)

    @staticmethod
    def _say_how_it_ended(instance: Any, departure: Departure | None) -> None:
        if departure is None:
            LOG.warning("hecad knows nothing of this migration: libvirt has moved the memory by itself. Is heca's hook "
                        "installed at the destination?", instance=instance)
        elif departure.ok:
            LOG.info("All of its memory has arrived at %s", departure.destination, instance=instance)
        else:
            LOG.error("It has left, and its memory did not all arrive at %s: %s", departure.destination,
                      departure.trouble, instance=instance)


def save_progress(migration: Any, departure: Departure) -> None:
    """Writes how far it is into Nova's record of the migration, from which `server migration list` reads it."""
    try:
        migration.status = FOLLOWING
        migration.memory_total = departure.total or departure.memory
        migration.memory_processed = departure.done
        migration.memory_remaining = max(0, migration.memory_total - departure.done)
        migration.save()
    except Exception as error:  # a record that cannot be written must not end what cannot be ended
        LOG.warning("The migration's progress cannot be saved: %s", error)


def saver(migrate_data: Any) -> Callable[[Departure], None]:
    """For await_arrival, where Nova has its record in `migrate_data`, or none at all."""
    migration = compat.field(migrate_data, "migration")
    if migration is None:
        return lambda departure: None
    return lambda departure: save_progress(migration, departure)


def with_guest(ops: MigrationOps, args: tuple[Any, ...], kwargs: dict[str, Any], position: int,
               renewed: Callable[[], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a method of LibvirtDriver's live migration, with a MovingGuest where hecad moves the memory."""
    guest = compat.argument(args, kwargs, "guest", position)
    if isinstance(guest, MovingGuest) or not ops.is_moving_heca(guest):
        return args, kwargs
    return compat.replaced(args, kwargs, "guest", position, MovingGuest(guest, ops, renewed))
