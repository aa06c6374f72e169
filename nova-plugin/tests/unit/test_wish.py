# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from heca_nova import wish
from heca_nova.wish import Wish


def test_flavors_without_heca_are_none_of_ours() -> None:
    assert wish.from_flavor({}) is None
    assert wish.from_flavor({"hw:cpu_policy": "shared", "trait:CUSTOM_HECA": "required"}) is None


def test_all_keys() -> None:
    made = wish.from_flavor({"heca:ratio": "1:3", "heca:migration": "hybrid", "heca:replicas": "1",
                             "heca:transport": "tcp", "hw:mem_page_size": "small"})
    assert made == Wish(ratio=(1, 3), migration="hybrid", replicas=1, transport="tcp")
    assert made.splits
    assert made.words() == {"ratio": "1:3", "local": "", "replicas": "1", "migration": "hybrid", "transport": "tcp"}


def test_only_migrations() -> None:
    made = wish.from_flavor({"heca:migration": "pre-copy"})
    assert made is not None and not made.splits
    assert made.local_bytes(512 << 20) == 512 << 20


@pytest.mark.parametrize(("key", "value", "reason"), [
    ("ratio", "3", "is not a ratio"), ("migration", "postcopy", "is not one of post-copy, hybrid, pre-copy"),
    ("transport", "ib", "is not one of auto, tcp, rdma"), ("replicas", "2", "this version keeps: 1"),
    ("replicas", "0", "replicas"), ("replicas", "x", "replicas"), ("ration", "1:3", "unknown extra spec 'heca:ration'")])
def test_bad_values_are_named(key: str, value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        wish.from_flavor({f"heca:{key}": value})


def test_placement_has_to_count_what_stays_here() -> None:
    made = Wish(ratio=(1, 3))
    wish.check_counted({}, 512, made)
    wish.check_counted({"resources:MEMORY_MB": "128"}, 512, made)
    with pytest.raises(ValueError, match="MEMORY_MB=127, and 128 MiB of its 512"):
        wish.check_counted({"resources:MEMORY_MB": "127"}, 512, made)
    with pytest.raises(ValueError, match="512 MiB of its 512"):
        wish.check_counted({"resources:MEMORY_MB": "128"}, 512, Wish(migration="hybrid"))


def test_a_servers_property_lowers_its_local_part() -> None:
    made = wish.with_property(Wish(ratio=(1, 3), migration="hybrid"), {"heca:local": "64MiB"}, 512)
    assert made == Wish(local=64 << 20, migration="hybrid")
    assert wish.with_property(made, {}, 512) == made


@pytest.mark.parametrize("value", ["129MiB", "0", "64MB", "all"])
def test_it_cannot_raise_it_above_what_is_paid_for(value: str) -> None:
    with pytest.raises(ValueError, match="heca:local|is not a size"):
        wish.with_property(Wish(ratio=(1, 3)), {"heca:local": value}, 512)


def test_a_flavor_that_does_not_split_memory_has_no_local_part_to_lower() -> None:
    with pytest.raises(ValueError, match="has no heca:ratio"):
        wish.with_property(Wish(migration="hybrid"), {"heca:local": "64MiB"}, 512)
