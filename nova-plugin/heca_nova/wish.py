# SPDX-License-Identifier: Apache-2.0
"""What a flavor, and the owner of a server, say of its memory. Values and pure functions.

Flavor: heca:ratio=1:3 (a quarter of the memory stays on the compute host), heca:migration, heca:replicas,
heca:transport. Server: property heca:local=512MiB lowers the local part of a server whose flavor has a ratio; it cannot
raise it, because placement has counted the flavor's part, and the property is the tenant's to set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from heca_nova import sizes

PREFIX = "heca:"
LOCAL_PROPERTY = "heca:local"
MIGRATIONS = ("post-copy", "hybrid", "pre-copy")
TRANSPORTS = ("auto", "tcp", "rdma")
MAX_REPLICAS = 1  # what hecad does so far; the metadata of a domain knows more (core/domain/wish.h)
RESOURCE_REMOTE = "CUSTOM_HECA_REMOTE_MB"
TRAIT = "CUSTOM_HECA"


@dataclass(frozen=True)
class Wish:
    """The parts of <heca:memory>. Each may be open; `ratio` and `local` exclude each other."""

    ratio: tuple[int, int] | None = None
    local: int | None = None  # bytes
    replicas: int | None = None
    migration: str | None = None
    transport: str | None = None

    @property
    def splits(self) -> bool:
        """Whether a part of the memory is to be elsewhere; else only migrations are heca's."""
        return self.ratio is not None or self.local is not None

    def words(self) -> dict[str, str]:
        """As attributes, in the order in which they are written."""
        return {
            "ratio": f"{self.ratio[0]}:{self.ratio[1]}" if self.ratio else "",
            "local": sizes.format_size(self.local) if self.local is not None else "",
            "replicas": str(self.replicas) if self.replicas is not None else "",
            "migration": self.migration or "",
            "transport": self.transport or "",
        }

    def local_bytes(self, size: int, unit: int = sizes.MIB) -> int:
        """What of `size` bytes is to stay here: all, if nothing splits it."""
        if self.local is not None:
            return min(self.local, size)
        return sizes.local_part(self.ratio, size, unit) if self.ratio else size


def is_heca(extra_specs: Mapping[str, str]) -> bool:
    """Whether a flavor's servers are ours. All others are LibvirtDriver's, to the letter."""
    return any(key.startswith(PREFIX) for key in extra_specs)


def _word(name: str, text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise ValueError(f"{name}: '{text}' is not one of {', '.join(known)}")
    return text


def _replicas(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_REPLICAS:
        raise ValueError(f"replicas: '{text}' is more or less than this version keeps: {MAX_REPLICAS}")
    return int(text)


def from_flavor(extra_specs: Mapping[str, str]) -> Wish | None:
    """None: an ordinary flavor. ValueError: a heca: spec that is none, by name, with what would do."""
    if not is_heca(extra_specs):
        return None
    wish = Wish()
    for key, text in extra_specs.items():
        if not key.startswith(PREFIX):
            continue
        name = key[len(PREFIX):]
        if name == "ratio":
            wish = replace(wish, ratio=sizes.parse_ratio(text))
        elif name == "migration":
            wish = replace(wish, migration=_word(name, text, MIGRATIONS))
        elif name == "transport":
            wish = replace(wish, transport=_word(name, text, TRANSPORTS))
        elif name == "replicas":
            wish = replace(wish, replicas=_replicas(text))
        else:
            raise ValueError(f"unknown extra spec '{key}'; known are heca:ratio, heca:migration, heca:replicas, "
                             "heca:transport")
    return wish


def counted_local_mb(extra_specs: Mapping[str, str], memory_mb: int) -> int:
    """MiB that placement counts on the compute host for such a flavor."""
    counted = extra_specs.get("resources:MEMORY_MB")
    return int(counted) if counted is not None and counted.isdecimal() else memory_mb


def check_counted(extra_specs: Mapping[str, str], memory_mb: int, wish: Wish) -> None:
    """ValueError if placement counts less memory on the host than the server will have there."""
    needed = -(-wish.local_bytes(memory_mb * sizes.MIB) // sizes.MIB)
    counted = counted_local_mb(extra_specs, memory_mb)
    if counted < needed:
        raise ValueError(f"its flavor counts resources:MEMORY_MB={counted}, and {needed} MiB of its {memory_mb} MiB are "
                         "to stay on the host; `openstack heca flavor create` writes flavors that add up")


def with_property(wish: Wish, properties: Mapping[str, str], memory_mb: int) -> Wish:
    """What the server's own property makes of its flavor's wish. ValueError: it is no size, too large, or not for such
    a flavor; then the flavor's wish stands."""
    text = properties.get(LOCAL_PROPERTY)
    if text is None:
        return wish
    if wish.ratio is None:
        raise ValueError(f"property {LOCAL_PROPERTY}={text}: the server's flavor has no heca:ratio")
    local = sizes.parse_size(text)
    most = wish.local_bytes(memory_mb * sizes.MIB)
    if not 0 < local <= most:
        raise ValueError(f"property {LOCAL_PROPERTY}={text}: give more than 0 and at most {sizes.format_size(most)}, the "
                         "local part that the flavor has paid for")
    return replace(wish, ratio=None, local=local)
