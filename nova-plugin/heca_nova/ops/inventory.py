# SPDX-License-Identifier: Apache-2.0
"""What placement and the scheduler are told of remote memory.

CUSTOM_HECA_REMOTE_MB: all that the memory servers in reach have donated. `reserved` is what others have taken of it, and
what leases of this host's own servers hold beyond the servers' remote parts (room to write pages anew, whole slabs). So
what is left over after this host's own servers is what is really free, however many compute hosts share a memory server.
MEMORY_MB: memory of this host that no server may have is reserved on top of reserved_host_memory_mb: what the host has
donated itself, what servers hold beyond their local part, and what has not yet followed servers that left.
Trait CUSTOM_HECA: hecad is here and governs servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oslo_log import log as logging

from heca_nova import errors
from heca_nova.hecad import Hecad
from heca_nova.ops.migration import MigrationOps
from heca_nova.weigher import NEAR_STATISTIC
from heca_nova.wish import RESOURCE_REMOTE, TRAIT

LOG = logging.getLogger(__name__)

FREE_STATISTIC = "heca_remote_free_mb"
_MIB = 1 << 20
# At this distance a MiB counts half for the weigher. About what a page costs over a good network.
_HALF_AT_NS = 200_000


@dataclass(frozen=True)
class Supply:
    """Remote memory as this host sees it, in MiB; local memory that is not the servers', too."""

    total: int
    taken: int  # by others, and by leases of our own beyond what placement counts
    near: int
    uncounted_here: int

    @property
    def free(self) -> int:
        return max(0, self.total - self.taken)


class InventoryOps:
    """One thread at a time: Nova's resource tracker."""

    def __init__(self, hecad: Hecad, migrations: MigrationOps) -> None:
        self._hecad = hecad
        self._migrations = migrations
        self._uncounted_here = 0  # when hecad was last asked: it may be away, and its memory is still used

    def look(self) -> Supply | None:
        """None: hecad is away."""
        try:
            nodes = self._hecad.nodes()
            regions = self._hecad.regions()
            left = self._migrations.bytes_uncounted()
        except errors.HecaFault as fault:
            LOG.warning("This host offers no remote memory now: %s", fault)
            return None
        lenders = [node for node in nodes if not node.itself and node.alive]
        total = sum(node.donated for node in lenders)
        free = sum(node.free for node in lenders)
        counted = sum(min(region.reserved, region.size - region.limit) for region in regions)
        near = sum(node.free * _HALF_AT_NS // (_HALF_AT_NS + node.rtt_ns) for node in lenders)
        donated_here = sum(node.donated for node in nodes if node.itself)
        beyond = sum(max(0, region.resident - region.limit) for region in regions)
        self._uncounted_here = -(-(donated_here + beyond + left) // _MIB)
        return Supply(total=total // _MIB, taken=-(-max(0, total - free - counted) // _MIB), near=near // _MIB,
                      uncounted_here=self._uncounted_here)

    def statistics(self, resources: dict[str, Any], supply: Supply) -> None:
        """For the weigher: into what the driver reports of its compute node."""
        resources["stats"] = {**(resources.get("stats") or {}), FREE_STATISTIC: supply.free, NEAR_STATISTIC: supply.near}

    def last_remote(self, provider_tree: Any, nodename: str) -> dict[str, Any] | None:
        """What placement was told before; to be asked before LibvirtDriver rewrites the tree."""
        record = provider_tree.data(nodename).inventory.get(RESOURCE_REMOTE)
        return dict(record) if record else None

    def update(self, provider_tree: Any, nodename: str, supply: Supply | None, last: dict[str, Any] | None) -> None:
        """Adds to what LibvirtDriver has put there."""
        inventory = dict(provider_tree.data(nodename).inventory)
        remote = self._remote(supply, last)
        if remote is not None:
            inventory[RESOURCE_REMOTE] = remote
        memory = inventory.get("MEMORY_MB")
        if memory is not None and self._uncounted_here:
            reserved = min(memory["total"], memory["reserved"] + self._uncounted_here)
            inventory["MEMORY_MB"] = {**memory, "reserved": reserved}
        provider_tree.update_inventory(nodename, inventory)
        if supply is not None:
            provider_tree.add_traits(nodename, TRAIT)
        elif provider_tree.has_traits(nodename, [TRAIT]):
            provider_tree.remove_traits(nodename, TRAIT)

    def withdraw(self, provider_tree: Any, nodename: str, last: dict[str, Any] | None) -> None:
        """In mode noop: nothing more comes. What servers of before have stays theirs."""
        remote = self._remote(None, last)
        if remote is not None:
            provider_tree.update_inventory(nodename, {**provider_tree.data(nodename).inventory, RESOURCE_REMOTE: remote})
        if provider_tree.has_traits(nodename, [TRAIT]):
            provider_tree.remove_traits(nodename, TRAIT)

    @staticmethod
    def _remote(supply: Supply | None, last: dict[str, Any] | None) -> dict[str, Any] | None:
        """Placement refuses inventories of 0, and to drop one that is in use: what is gone is reserved instead."""
        if supply is None or supply.total < 1:
            return {**last, "reserved": last["total"]} if last else None
        return {"total": supply.total, "reserved": min(supply.total, supply.taken), "min_unit": 1,
                "max_unit": supply.total, "step_size": 1, "allocation_ratio": 1.0}
