# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from osc_lib import exceptions

from fake_cloud import FakeCloud
from heca_osc.host import ListHost, ShowHost


def inventory(total: int, reserved: int = 0, ratio: float = 1.0) -> dict[str, Any]:
    return {"total": total, "reserved": reserved, "allocation_ratio": ratio, "min_unit": 1, "step_size": 1}


@pytest.fixture
def hosts(cloud: FakeCloud) -> dict[str, str]:
    """Two that run heca, c2 with less remote memory than its servers have, and one that does not."""
    return {
        "c1": cloud.add_host("c1", inventory(8192, 512, 1.5), inventory(4096, 96),
                             {"MEMORY_MB": 512, "CUSTOM_HECA_REMOTE_MB": 1536, "VCPU": 1},
                             ["CUSTOM_HECA", "COMPUTE_NODE", "CUSTOM_HECA_RDMA"]),
        "c2": cloud.add_host("c2", inventory(8192), inventory(1024), {"CUSTOM_HECA_REMOTE_MB": 1536}, ["CUSTOM_HECA"]),
        "c0": cloud.add_host("c0", inventory(8192), None, {}, ["COMPUTE_NODE"]),
    }  # fmt: skip


def test_hosts_that_run_heca_are_listed_with_what_is_free(commands: Any, hosts: dict[str, str]) -> None:
    assert commands.list(ListHost) == [
        {"Host": "c1", "Local MB": 8192, "Local Used MB": 512, "Local Free MB": 11008, "Remote MB": 4096,
         "Remote Used MB": 1536, "Remote Free MB": 2464},
        {"Host": "c2", "Local MB": 8192, "Local Used MB": 0, "Local Free MB": 8192, "Remote MB": 1024,
         "Remote Used MB": 1536, "Remote Free MB": -512},
    ]  # fmt: skip


def test_long_adds_what_is_reserved(commands: Any, hosts: dict[str, str]) -> None:
    first = commands.list(ListHost, "--long")[0]
    assert (first["Local Reserved MB"], first["Remote Reserved MB"]) == (512, 96)
    assert first["Resource Provider"] == hosts["c1"]


def test_a_host_whose_sponsors_are_all_away_has_no_remote_memory(commands: Any, cloud: FakeCloud) -> None:
    cloud.add_host("c3", inventory(1024), None, {"MEMORY_MB": 1}, ["CUSTOM_HECA"])
    (host,) = commands.list(ListHost)
    assert (host["Remote MB"], host["Remote Used MB"], host["Remote Free MB"]) == (0, 0, 0)


def test_no_host_is_an_empty_list(commands: Any) -> None:
    assert commands.list(ListHost) == []


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_host_is_shown_with_who_has_its_memory(
    commands: Any, cloud: FakeCloud, hosts: dict[str, str], by: str
) -> None:
    cloud.providers["c1"]["allocations"] = {
        "s2": {"resources": {"VCPU": 1, "MEMORY_MB": 512, "CUSTOM_HECA_REMOTE_MB": 1536}},
        "s1": {"resources": {"VCPU": 1, "MEMORY_MB": 512}},
    }
    shown = commands.show(ShowHost, "c1" if by == "name" else hosts["c1"])
    assert (shown["host"], shown["resource_provider"]) == ("c1", hosts["c1"])
    assert shown["traits"].machine_readable() == ["CUSTOM_HECA", "CUSTOM_HECA_RDMA"]
    assert (shown["local_mb"], shown["local_reserved_mb"], shown["local_used_mb"]) == (8192, 512, 512)
    assert (shown["remote_mb"], shown["remote_used_mb"], shown["remote_free_mb"]) == (4096, 1536, 2464)
    assert shown["consumers"].machine_readable() == [{"consumer": "s2", "local_mb": 512, "remote_mb": 1536}]


def test_a_host_without_heca_says_what_it_lacks(commands: Any, hosts: dict[str, str]) -> None:
    with pytest.raises(exceptions.CommandError, match=r"compute_driver = heca\.HecaLibvirtDriver"):
        commands.show(ShowHost, "c0")


def test_a_host_that_is_none_is_said(commands: Any) -> None:
    with pytest.raises(exceptions.CommandError, match="no host 'c9' in placement"):
        commands.show(ShowHost, "c9")


def test_placement_is_for_admins(commands: Any, cloud: FakeCloud) -> None:
    cloud.admin = False
    with pytest.raises(exceptions.CommandError, match="placement: Policy does not allow.*needs an admin"):
        commands.list(ListHost)
