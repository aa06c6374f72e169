# SPDX-License-Identifier: Apache-2.0
"""What the driver asks of its host's hecad, in the driver's own values; nothing else touches the binding.

The binding is imported at the first question, so that a host without it still runs nova-compute. Errors: HecadAway (not
there, no answer), HecadRefused. Thread-safe.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from heca_nova import compat, errors

Result = TypeVar("Result")

_BUSY_AGAIN_S = 0.2


@dataclass(frozen=True)
class Region:
    """Memory of a domain that hecad governs."""

    name: str
    state: str  # "active", "ending", ... (core/control/node_types.h)
    pid: int
    size: int
    limit: int
    resident: int
    away: int
    lost: int
    sponsors: tuple[str, ...]
    reserved: int  # bytes of leases at them
    trouble: str


@dataclass(frozen=True)
class Node:
    """A hecad, this one (`itself`) or a peer."""

    name: str
    itself: bool
    alive: bool
    donated: int
    free: int
    rtt_ns: int


@dataclass(frozen=True)
class Departure:
    """A domain that leaves this host, or left it less than ten minutes ago."""

    domain: str
    destination: str
    phase: str
    done: int
    total: int  # 0: not known
    memory: int
    started_at: float  # seconds since the epoch
    over: bool
    ok: bool
    trouble: str

    @property
    def changed_over(self) -> bool:
        """It runs at its destination, or nowhere."""
        return self.phase in ("post-copy", "complete", "lost")


def _region(info: Any) -> Region:
    return Region(name=info.name, state=info.state, pid=info.pid, size=info.size_bytes, limit=info.limit_bytes,
                  resident=info.resident_bytes, away=info.away_bytes, lost=info.lost_bytes,
                  sponsors=tuple(store.sponsor for store in info.stores),
                  reserved=sum(store.reserved_bytes for store in info.stores), trouble=info.trouble)


def _node(info: Any) -> Node:
    return Node(name=info.name, itself=info.health == "self", alive=info.health in ("self", "alive", "restarted"),
                donated=info.donated_bytes, free=info.free_bytes, rtt_ns=info.rtt_ns)


def _departure(info: Any) -> Departure:
    # A hecad that was restarted meanwhile knows only the region, which libvirt's hook has called like the domain.
    return Departure(domain=info.domain or info.reached.region, destination=info.destination,
                     phase=info.progress.phase, done=info.progress.done, total=info.progress.total,
                     memory=info.reached.memory_bytes, started_at=info.started_at.timestamp(), over=info.over, ok=info.ok,
                     trouble=info.trouble)


class Hecad:
    """One a driver."""

    def __init__(self, socket: str, timeout: float, binding: Any = None) -> None:
        """`binding` is the module `heca`, or what stands in for it in a test; None: imported when it is needed."""
        self._socket = socket
        self._timeout = timeout
        self._binding = binding
        self._lock = threading.Lock()
        self._client: Any = None
        self._client_pid = 0

    def ping(self) -> None:
        """Whether it answers at all."""
        self._ask("asking hecad", lambda client: client.about())

    def region(self, domain: str) -> Region | None:
        """None: hecad does not govern it."""
        try:
            return self._ask(f"looking for the memory of {domain}", lambda client: _region(client.region(domain)))
        except errors.HecadRefused as refused:
            if refused.code == "NOT_FOUND":
                return None
            raise

    def regions(self) -> list[Region]:
        return self._ask("listing regions", lambda client: [_region(info) for info in client.regions()])

    def nodes(self) -> list[Node]:
        """This one and its peers."""
        return self._ask("listing nodes", lambda client: [_node(info) for info in client.nodes()])

    def departures(self) -> list[Departure]:
        return self._ask("listing migrations", lambda client: [_departure(info) for info in client.migrations()])

    def attach(self, domain: str, *, local: int | None, ratio: tuple[int, int] | None, transport: str | None,
               timeout: float) -> None:
        """Governs a running domain and waits until it is within its limit. `transport` None: as hecad chooses."""
        text = f"{ratio[0]}:{ratio[1]}" if ratio else None
        self._operate(f"attaching {domain}", timeout,
                      lambda client: client.attach(domain=domain, local=local, ratio=text, transport=transport or "auto"))

    def limit(self, domain: str, size: int, *, timeout: float) -> None:
        self._operate(f"limiting {domain}", timeout, lambda client: client.limit(domain, size))

    def detach(self, domain: str, *, timeout: float) -> None:
        """Returns when all of its memory is here. Once begun, hecad carries it to its end whoever waits."""
        self._operate(f"bringing the memory of {domain} home", timeout, lambda client: client.detach(domain))

    def switch_now(self, domain: str) -> None:
        """Ends the rounds of its live migration: it changes over, the rest follows."""
        self._ask(f"switching {domain} over", lambda client: client.steer(domain, switch_now=True))

    def _ask(self, doing: str, question: Callable[[Any], Result]) -> Result:
        binding = self._load()
        with errors.border(binding, doing):
            client = self._connected(binding)
            return compat.in_native_thread(lambda: question(client))

    def _operate(self, doing: str, timeout: float, start: Callable[[Any], Any]) -> None:
        """`timeout` in seconds; it ends the wait, and the operation as far as hecad lets it end. A region that is being
        changed by somebody else, or has just come here, is BUSY: that passes."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self._operate_once(doing, max(0.0, deadline - time.monotonic()), start)
            except errors.HecadRefused as refused:
                if refused.code != "BUSY" or time.monotonic() >= deadline:
                    raise
            time.sleep(_BUSY_AGAIN_S)

    def _operate_once(self, doing: str, timeout: float, start: Callable[[Any], Any]) -> None:
        binding = self._load()
        with errors.border(binding, doing):
            client = self._connected(binding)
            operation = compat.in_native_thread(lambda: start(client))
            try:
                compat.in_native_thread(lambda: operation.result(timeout))
            except TimeoutError:
                operation.cancel()
                raise errors.HecadLate(f"{doing}: not done in time ({timeout:g} s were left); see `hecactl regions` on "
                                       "the compute host") from None

    def _load(self) -> Any:
        if self._binding is None:
            try:
                self._binding = importlib.import_module("heca")
            except ImportError as error:
                raise errors.HecadAway(f"the Python package 'heca' cannot be imported: {error}; install it on the "
                                       "compute host") from error
        return self._binding

    def _connected(self, binding: Any) -> Any:
        """One client a process: it does not survive a fork. Made where the caller is, not in a native thread: the lock
        is eventlet's where that is used."""
        with self._lock:
            if self._client is None or self._client_pid != os.getpid():
                self._client = binding.Client(socket=self._socket, timeout=self._timeout)
                self._client_pid = os.getpid()
            return self._client
