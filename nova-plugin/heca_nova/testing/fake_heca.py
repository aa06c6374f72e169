# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the module `heca`: one hecad, its peers and its regions, in memory.

It keeps the contract as far as the driver sees it: what is not there is NotFound, a hecad that is `away` is Unavailable,
an attach without room at the sponsor is ResourceExhausted, and so on. Tests write its fields and read `calls`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any


class Error(Exception):
    code = "UNKNOWN"


class NotFound(Error):
    code = "NOT_FOUND"


class AlreadyExists(Error):
    code = "ALREADY_EXISTS"


class FailedPrecondition(Error):
    code = "FAILED_PRECONDITION"


class Unavailable(Error):
    code = "UNAVAILABLE"


class Busy(Error):
    code = "BUSY"


class ResourceExhausted(Error):
    code = "RESOURCE_EXHAUSTED"


@dataclass
class Store:
    sponsor: str
    reserved_bytes: int


@dataclass
class Region:
    name: str
    size_bytes: int
    limit_bytes: int
    state: str = "active"
    pid: int = 4711
    resident_bytes: int = 0
    away_bytes: int = 0
    lost_bytes: int = 0
    stores: list[Store] = field(default_factory=list)
    trouble: str = ""


@dataclass
class Peer:
    name: str
    donated_bytes: int
    free_bytes: int
    health: str = "alive"
    rtt_ns: int = 100_000


@dataclass
class Progress:
    phase: str = "pre-copy"
    done: int = 0
    total: int = 0
    text: str = ""


@dataclass
class Reached:
    region: str
    memory_bytes: int


@dataclass
class Migration:
    domain: str
    destination: str = "host2"
    progress: Progress = field(default_factory=Progress)
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    over: bool = False
    ok: bool = False
    trouble: str = ""
    reached: Reached = field(default_factory=lambda: Reached("", 0))


class Operation:
    """Fails with `error`, or is never over, or is done at once."""

    def __init__(self, value: Any = None, error: Error | None = None, held: bool = False) -> None:
        self._value = value
        self._error = error
        self._held = held
        self.cancelled = False

    def result(self, timeout: float | None = None) -> Any:
        if self._held:
            raise TimeoutError(f"the operation is not over after {timeout} s, and goes on")
        if self._error:
            raise self._error
        return self._value

    def cancel(self) -> None:
        self.cancelled = True


class FakeHeca:
    """Given to Hecad in place of the module."""

    Error = Error

    def __init__(self) -> None:
        self.away = False
        self.hold = False  # operations do not end by themselves
        self.busy = 0  # how many detaches are refused because somebody else changes the region
        self.region_table: dict[str, Region] = {}
        self.peers: list[Peer] = [Peer("compute", 0, 0, health="self"), Peer("m1", 64 << 30, 64 << 30)]
        self.departures: list[Migration] = []
        self.memory_of: dict[str, int] = {}  # of domains that can be attached
        self.calls: list[tuple[Any, ...]] = []
        self.operations: list[Operation] = []
        self.clients = 0

    def Client(self, socket: str, timeout: float) -> FakeClient:
        self.clients += 1
        return FakeClient(self)


class FakeClient:
    def __init__(self, node: FakeHeca) -> None:
        self._node = node

    def _reach(self, *call: Any) -> None:
        self._node.calls.append(call)
        if self._node.away:
            raise Unavailable("no hecad answers on /run/heca/hecad.sock")

    def about(self) -> None:
        self._reach("about")

    def nodes(self) -> list[Peer]:
        self._reach("nodes")
        return list(self._node.peers)

    def regions(self) -> list[Region]:
        self._reach("regions")
        return list(self._node.region_table.values())

    def region(self, name: str) -> Region:
        self._reach("region", name)
        if name not in self._node.region_table:
            raise NotFound(f"no region '{name}'")
        return self._node.region_table[name]

    def migrations(self) -> list[Migration]:
        self._reach("migrations")
        return list(self._node.departures)

    def attach(self, *, domain: str, local: int | None = None, ratio: str | None = None,
               transport: str = "auto") -> Operation:
        self._reach("attach", domain, local, ratio, transport)
        node = self._node
        if domain in node.region_table:
            return Operation(error=AlreadyExists(f"a region '{domain}' exists already"))
        size = node.memory_of.get(domain)
        if size is None:
            return Operation(error=NotFound(f"no QEMU of a domain '{domain}'"))
        if local is None:
            here, there = (int(part) for part in (ratio or "1:0").split(":"))
            local = size * here // (here + there)
        if size - local > sum(peer.free_bytes for peer in node.peers):
            return Operation(error=ResourceExhausted(f"no sponsor has {size - local} bytes for '{domain}'"))
        node.region_table[domain] = Region(domain, size, local, resident_bytes=local, away_bytes=size - local,
                                           stores=[Store("m1", size - local)])
        return Operation(node.region_table[domain], held=node.hold)

    def limit(self, region: str, size: int) -> Operation:
        self._reach("limit", region, size)
        if region not in self._node.region_table:
            return Operation(error=NotFound(f"no region '{region}'"))
        self._node.region_table[region].limit_bytes = size
        return Operation(self._node.region_table[region])

    def detach(self, region: str) -> Operation:
        self._reach("detach", region)
        if self._node.busy > 0:
            self._node.busy -= 1
            return Operation(error=Busy(f"region '{region}' is being changed by another call"))
        if self._node.hold:
            self._node.operations.append(Operation(held=True))
            return self._node.operations[-1]
        if self._node.region_table.pop(region, None) is None:
            return Operation(error=NotFound(f"no region '{region}'"))
        return Operation()

    def steer(self, region: str, *, switch_now: bool = False) -> None:
        """As hecad: what is said of a region that does not leave now is kept for its next migration."""
        self._reach("steer", region, switch_now)
