# SPDX-License-Identifier: Apache-2.0
"""The extra specs by which a flavor asks for heca, and what they come to. Pure functions.

Nova's scheduler asks placement for what `resources:` says instead of the flavor's own RAM: so a server takes
MEMORY_MB of its host only for the part that stays there, and CUSTOM_HECA_REMOTE_MB for the rest. Both parts and
`heca:ratio`, which the driver acts by, have to tell the same story; that is why one place writes all three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from heca_osc.sizes import Ratio, parse_ratio

TRAIT = "CUSTOM_HECA"
LOCAL_CLASS = "MEMORY_MB"
REMOTE_CLASS = "CUSTOM_HECA_REMOTE_MB"

RATIO = "heca:ratio"
MIGRATION = "heca:migration"
REPLICAS = "heca:replicas"
TRANSPORT = "heca:transport"
TRAIT_SPEC = f"trait:{TRAIT}"
LOCAL_SPEC = f"resources:{LOCAL_CLASS}"
REMOTE_SPEC = f"resources:{REMOTE_CLASS}"
OWN = (RATIO, MIGRATION, REPLICAS, TRANSPORT, TRAIT_SPEC, LOCAL_SPEC, REMOTE_SPEC)

MIGRATION_MODES = ("post-copy", "hybrid", "pre-copy")
# What hecad does so far, and the driver takes (heca_nova/wish.py): one copy of a remote page.
TRANSPORTS = ("auto", "tcp", "rdma")
MAX_REPLICAS = 1

# What hecad would refuse when the server starts is better refused now. Key: why.
UNGOVERNABLE = {
    "hw:locked_memory": "locked memory cannot leave its host",
    "hw:mem_encryption": "encrypted memory cannot be read by the host",
    "hw:pmem": "its file is on no tmpfs",
    "pci_passthrough:alias": "a passed-through device writes into memory behind the page tables",
}


@dataclass(frozen=True)
class Split:
    """How much of a server's memory stays at its host and how much goes, in MiB. Their sum is the flavor's RAM."""

    local_mib: int
    remote_mib: int


def split(ram_mib: int, ratio: Ratio) -> Split:
    """ValueError if nothing would be left to go."""
    local = ratio.local_mib(ram_mib)
    if local == ram_mib:
        raise ValueError(
            f"{ram_mib} MiB at {ratio} leave nothing to go elsewhere (the local part is rounded up to whole MiB): "
            "give more --ram, or another --ratio"
        )
    return Split(local, ram_mib - local)


def extra_specs(
    parts: Split, ratio: Ratio, migration: str, replicas: int | None = None, transport: str | None = None
) -> dict[str, str]:
    """All that makes a flavor a consistent one. None: not written, which leaves it to the driver."""
    specs = {
        RATIO: str(ratio),
        MIGRATION: migration,
        LOCAL_SPEC: str(parts.local_mib),
        REMOTE_SPEC: str(parts.remote_mib),
        TRAIT_SPEC: "required",
    }
    if replicas is not None:
        specs[REPLICAS] = str(replicas)
    if transport is not None:
        specs[TRANSPORT] = transport
    return specs


def refusal(properties: Mapping[str, str]) -> str:
    """Why these properties cannot be given beside those above; "" if they can."""
    for key, value in properties.items():
        if key in OWN:
            return f"--property {key}: is written by the options of this command"
        if key in UNGOVERNABLE and value.lower() not in ("false", "0", "no", "off"):
            return f"--property {key}={value}: {UNGOVERNABLE[key]}, so such a server could not start with heca"
    return ""


def asks_for_heca(specs: Mapping[str, str]) -> bool:
    """Whether a server of that flavor is heca's: what the driver goes by."""
    return any(key.startswith("heca:") for key in specs)


def wanted_split(specs: Mapping[str, str], ram_mib: int) -> Split | None:
    """What a flavor's ratio comes to; None: it has none that can be understood, so all memory stays."""
    try:
        return split(ram_mib, parse_ratio(specs.get(RATIO, "")))
    except ValueError:
        return None
