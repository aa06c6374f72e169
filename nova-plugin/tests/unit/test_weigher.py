# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import types
from typing import Any

import pytest
from nova.scheduler import weights

from heca_nova.weigher import RemoteMemoryWeigher

from .conftest import RATIO


def host(name: str, near: Any, aggregates: tuple[Any, ...] = ()) -> Any:
    stats = None if near is None else {"heca_remote_near_mb": near}
    return types.SimpleNamespace(host=name, nodename=name, stats=stats, aggregates=list(aggregates))


def order(hosts: list[Any], specs: dict[str, str]) -> list[str]:
    spec = types.SimpleNamespace(flavor=types.SimpleNamespace(extra_specs=specs))
    weighed = weights.HostWeightHandler().get_weighed_objects([RemoteMemoryWeigher()], hosts, spec)
    return [one.obj.host for one in weighed if one.weight == weighed[0].weight]


def test_free_memory_near_wins() -> None:
    hosts = [host("a", "100"), host("b", "60000"), host("c", None), host("d", "rubbish")]
    assert order(hosts, RATIO) == ["b"]


def test_for_other_servers_all_hosts_are_alike() -> None:
    hosts = [host("a", "100"), host("b", "60000"), host("c", None)]
    assert order(hosts, {}) == ["a", "b", "c"]


def test_an_aggregate_may_say_otherwise() -> None:
    away = types.SimpleNamespace(metadata={"heca_weight_multiplier": "-1"})
    hosts = [host("a", "100", (away,)), host("b", "60000", (away,))]
    assert order(hosts, RATIO) == ["a"]


@pytest.mark.parametrize("spec", [types.SimpleNamespace(), types.SimpleNamespace(flavor=None)])
def test_a_request_without_a_flavor(spec: Any) -> None:
    assert RemoteMemoryWeigher()._weigh_object(host("a", "1"), spec) == 0.0
