# SPDX-License-Identifier: LGPL-2.1-or-later
"""What hecad tells. The fields are those of core/control's node_types.h, migration_types.h and region_stats.h, where each is
explained; names end in their unit: _bytes, _ns, _ms. Times are in UTC. Made by the extension; they can be compared, copied,
pickled, and made by hand in a test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Optional

from heca.words import (
    EventKind,
    FaultSource,
    LeaseState,
    MigrationMode,
    OnLoss,
    PeerHealth,
    RegionState,
    Severity,
    StoreState,
    Verdict,
)

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def moment(microseconds: int) -> datetime:
    """Of a count since 1970, exactly."""
    return EPOCH + timedelta(microseconds=microseconds)


@dataclass(frozen=True)
class Mapping:
    """Which shared mappings of a plain process are governed; all given conditions must hold. QEMU needs none."""

    path: str = ""  # of the mapped file; empty: any
    inode: int = 0  # 0: any
    address_begin: int = 0  # 0 and 0: any
    address_end: int = 0  # exclusive


@dataclass(frozen=True)
class Progress:
    """How far a long operation is; done and total in bytes, total 0: not known."""

    phase: str
    done: int
    total: int
    text: str


@dataclass(frozen=True)
class BlockInfo:
    name: str
    path: str
    size_bytes: int


@dataclass(frozen=True)
class StoreInfo:
    """A sponsor that holds pages of a region."""

    sponsor: str
    endpoint: str
    transport: str
    lease: int
    epoch: int
    state: StoreState
    reserved_bytes: int
    used_bytes: int


@dataclass(frozen=True)
class RegionInfo:
    """limit_bytes at least size_bytes: no limit. trouble: why the state is not "active"."""

    name: str
    state: RegionState
    pid: int
    domain: str
    size_bytes: int
    page_size_bytes: int
    limit_bytes: int
    resident_bytes: int
    away_bytes: int
    lost_bytes: int
    on_loss: OnLoss
    replicas: int
    blocks: tuple[BlockInfo, ...]
    stores: tuple[StoreInfo, ...]
    io_rule: str
    capture_stop_ns: int
    attached_at: datetime
    trouble: str

    @property
    def size(self) -> int:
        """size_bytes."""
        return self.size_bytes


@dataclass(frozen=True)
class DoctorCheck:
    name: str
    verdict: Verdict
    what: str
    remedy: str


@dataclass(frozen=True)
class NodeInfo:
    """hecad about itself."""

    name: str
    version: str
    boot_id: str
    pid: int
    uptime_ms: int
    socket: str
    control_endpoint: str
    data_endpoints: tuple[str, ...]
    kernel: dict[str, str]
    donated_bytes: int
    lent_bytes: int
    quarantined_bytes: int
    free_bytes: int
    regions: int
    counters: dict[str, int]


@dataclass(frozen=True)
class ConnectionInfo:
    """One data connection, of either direction."""

    text: str
    role: str
    region: str
    lease: int
    outgoing: bool
    in_bytes: int
    out_bytes: int


@dataclass(frozen=True)
class PeerInfo:
    """rtt_ns: of the last heartbeat; 0: none yet. trouble: the last error while unreachable."""

    name: str
    endpoint: str
    failure_domain: str
    health: PeerHealth
    boot_id: str
    donated_bytes: int
    free_bytes: int
    rtt_ns: int
    transports: tuple[str, ...]
    connections: tuple[ConnectionInfo, ...]
    trouble: str


@dataclass(frozen=True)
class Event:
    """sequence: from 1, without holes, per run of hecad."""

    sequence: int
    time: datetime
    severity: Severity
    kind: EventKind
    region: str
    text: str
    values: dict[str, str]


@dataclass(frozen=True)
class LeaseInfo:
    """Memory that this node has lent."""

    id: int
    epoch: int
    state: LeaseState
    owner_node: str
    owner_boot_id: str
    region: str
    page_size_bytes: int
    reserved_bytes: int
    written_bytes: int
    time_to_live_ms: int


@dataclass(frozen=True)
class Blocktime:
    """For how long a VM waited for pages at its destination: each vCPU, all of them at once, all other threads added up."""

    vcpus_ns: tuple[int, ...]
    all_vcpus_ns: int
    others_ns: int


@dataclass(frozen=True)
class MigrationSummary:
    """What has been reached. blocktime None: not known."""

    region: str
    mode: MigrationMode
    total_ms: int
    downtime_ns: int
    memory_bytes: int
    moved_bytes: int
    zero_bytes: int
    ahead_bytes: int
    rounds: int
    faults: int
    fault_p50_ns: int
    fault_p99_ns: int
    blocked_ns: int
    blocktime: Optional[Blocktime]


@dataclass(frozen=True)
class MigrationInfo:
    """A VM that leaves this node, or left it a short time ago. ok: over, and the destination has all of it."""

    image: int
    domain: str
    destination: str
    progress: Progress
    started_at: datetime
    over: bool
    ok: bool
    trouble: str
    reached: MigrationSummary


@dataclass(frozen=True)
class PageStates:
    """Pages by state, in units of the region's page size."""

    zero: int
    here_clean: int
    here_dirty: int
    away: int
    coming: int
    leaving: int
    dropping: int
    cancel: int


@dataclass(frozen=True)
class LatencyStats:
    """buckets: (bound in ns, samples at most so long)."""

    count: int
    sum_ns: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    buckets: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class RegionStats:
    """Counters only grow, from attach on."""

    region: str
    pages: PageStates
    page_size_bytes: int
    resident_bytes: int
    limit_bytes: int
    faults: dict[FaultSource, LatencyStats]
    prefetch_issued: int
    prefetch_hits: int
    evictions: int
    clean_drops: int
    zero_drops: int
    cancels: int
    refaults: int
    waits_for_io: int
    local_enomem: int
    alarms: int
    pages_lost: int
    vm_stops: int
    capture_stop_ns: int
    io_rule: str
    connections: tuple[ConnectionInfo, ...]
