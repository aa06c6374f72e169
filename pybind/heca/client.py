# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hecad of this host, over its unix socket."""

from __future__ import annotations

import collections.abc
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Optional, Union

from heca import _core
from heca.events import EventStream
from heca.operation import Operation
from heca.values import (
    DoctorCheck,
    LeaseInfo,
    Mapping,
    MigrationInfo,
    MigrationSummary,
    NodeInfo,
    PeerInfo,
    RegionInfo,
    RegionStats,
)
from heca.words import LostPages, MigrationMode, OnLoss, TransportChoice

Size = Union[int, str]  # bytes, or a text such as "2GiB"


class Client:
    """What an operator asks of hecad. Thread-safe; connects at the first call, and again when hecad is back.

    `timeout` in seconds bounds every call but those that return an Operation or events; of those hecad must be heard within
    30 s. Errors are heca.Error; TypeError for a value of the wrong type. After close() every call raises
    FailedPrecondition, and so does every call in a child that was forked after the first one.
    """

    def __init__(self, socket: Union[str, os.PathLike[str]] = _core.DEFAULT_SOCKET, timeout: float = 30.0) -> None:
        self._core = _core.Client(os.fspath(socket), timeout)
        self._parent: object = None  # a Node in this process, which lives as long as this

    # Questions.

    def about(self) -> NodeInfo:
        """hecad about itself."""
        return self._core.about()

    def nodes(self) -> list[PeerInfo]:
        """This node first, then its peers."""
        return list(self._core.nodes())

    def regions(self) -> list[RegionInfo]:
        return list(self._core.regions())

    def region(self, name: str) -> RegionInfo:
        """NotFound if there is none of this name."""
        return self._core.region(name)

    def stats(self, region: str = "") -> list[RegionStats]:
        """Of one region, or of all."""
        return list(self._core.stats(region))

    def migrations(self) -> list[MigrationInfo]:
        """VMs that leave this node, the oldest first: under way, or over for less than ten minutes."""
        return list(self._core.migrations())

    def leases(self) -> list[LeaseInfo]:
        """What this node has lent to others."""
        return list(self._core.leases())

    def doctor(self) -> list[DoctorCheck]:
        """What this host can do, and lacks."""
        return list(self._core.doctor())

    def events(self, since: int = 0, follow: bool = False) -> EventStream:
        """Those with a greater sequence than `since`, as far as they are kept; with `follow` also those to come."""
        return EventStream(self, self._core.events(since, follow))

    # Operations.

    def attach(
        self,
        *,
        domain: Optional[str] = None,
        pid: Optional[int] = None,
        qmp_socket: str = "",
        region: str = "",
        local: Optional[Size] = None,
        ratio: Optional[str] = None,
        sponsors: Iterable[str] = (),
        replicas: int = 1,
        on_loss: OnLoss = "wait",
        transport: TransportChoice = "auto",
        mapping: Optional[Mapping] = None,
        options: Optional[collections.abc.Mapping[str, str]] = None,
    ) -> Operation[RegionInfo]:
        """Takes the memory of a running VM or process under governance: of a libvirt domain or of a process, not both.

        region: its name; empty: the domain's name, or "pid-PID". local: what may stay here, or ratio as in "1:3"; neither:
        everything, until limit() says otherwise. sponsors: peers or "HOST:PORT"; none: hecad chooses. transport: narrows
        what hecad may take. options: as `hecactl attach --option NAME=VALUE`. Refused up front, the guest untouched, when
        it cannot be governed or backed.
        """
        chosen = mapping or Mapping()
        spec = {
            "domain": domain or "",
            "pid": pid or 0,
            "qmp_socket": qmp_socket,
            "region": region,
            "local": local,
            "ratio": ratio,
            "sponsors": list(sponsors),
            "replicas": replicas,
            "on_loss": on_loss,
            "transport": transport,
            "mapping": (chosen.path, chosen.inode, chosen.address_begin, chosen.address_end),
            "options": dict(options or {}),
        }
        return Operation(self, self._core.attach(spec))

    def limit(self, region: str, size: Size) -> Operation[RegionInfo]:
        """Changes what may stay here; over when the region obeys. At least its size: no limit."""
        return Operation(self, self._core.limit(region, size))

    def detach(self, region: str) -> Operation[None]:
        """Brings every page home and lets go. The VM runs all the time."""
        return Operation(self, self._core.detach(region))

    def migrate(
        self,
        destination: str,
        *,
        domain: Optional[str] = None,
        pid: Optional[int] = None,
        qmp_socket: str = "",
        destination_pid: Optional[int] = None,
        destination_qmp: str = "",
        uri: str = "",
        mode: MigrationMode = "post-copy",
        downtime_goal_ms: int = 300,
        bandwidth: Size = 0,
    ) -> Operation[MigrationSummary]:
        """Moves a running VM to the hecad `destination`, a peer or "HOST:PORT"; over when nothing is left here.

        For a QEMU that waits there with `-incoming defer`: its pid and QMP socket on that host, and the `uri` over which
        the device state travels. Under libvirt migrate with libvirt (`hecactl migrate`, `virsh migrate`), and look at
        migrations(). bandwidth: bytes a second; 0: as fast as it goes.
        """
        spec = {
            "domain": domain or "",
            "pid": pid or 0,
            "qmp_socket": qmp_socket,
            "destination": destination,
            "destination_pid": destination_pid or 0,
            "destination_qmp": destination_qmp,
            "uri": uri,
            "mode": mode,
            "downtime_goal_ms": downtime_goal_ms,
            "bandwidth": bandwidth,
        }
        return Operation(self, self._core.migrate(spec))

    # Orders.

    def steer(
        self,
        region: str,
        *,
        switch_now: bool = False,
        bandwidth: Optional[Size] = None,
        mode: Optional[MigrationMode] = None,
        downtime_goal_ms: Optional[int] = None,
    ) -> None:
        """Of a migration that is under way, or of the one of this name that libvirt begins within two minutes."""
        self._core.steer(
            {
                "region": region,
                "switch_now": switch_now,
                "bandwidth": bandwidth,
                "mode": mode,
                "downtime_goal_ms": downtime_goal_ms,
            }
        )

    def resolve(self, region: str, how: LostPages) -> RegionInfo:
        """What is to be done with pages that no sponsor has any more. FailedPrecondition: none is lost."""
        return self._core.resolve(region, how)

    def free_lease(self, id: int, force: bool = False) -> None:
        """Ends a quarantined lease; an active one only with `force`. What its owner stored is gone for good."""
        self._core.free_lease(id, force)

    def on_domain(self, domain: str, operation: str, phase: str, xml: str) -> None:
        """What libvirt's hook tells of a domain. An error means that the domain must not run so."""
        self._core.on_domain(domain, operation, phase, xml)

    # Its end.

    def close(self) -> None:
        """Calls, operations and streams under way end with Aborted. Twice is fine."""
        self._core.close()

    @property
    def closed(self) -> bool:
        return self._core.closed

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
