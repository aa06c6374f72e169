# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from typing import Any

import pytest
from nova import exception

from heca_nova import errors
from heca_nova.hecad import Hecad
from heca_nova.testing.fake_heca import FakeHeca, Store

from .conftest import MIB, NAME, make_departure, make_region


def test_values_are_taken_over(node: FakeHeca) -> None:
    region = make_region(node)
    region.stores = [Store("m1", 300 * MIB), Store("m2", 84 * MIB)]
    hecad = Hecad("/s", 1.0, node)
    seen = hecad.region(NAME)
    assert seen is not None
    assert (seen.size, seen.limit, seen.resident, seen.away) == (512 * MIB, 128 * MIB, 128 * MIB, 384 * MIB)
    assert (seen.sponsors, seen.reserved, seen.state) == (("m1", "m2"), 384 * MIB, "active")
    assert hecad.regions() == [seen]
    assert hecad.region("other") is None
    itself, peer = hecad.nodes()
    assert itself.itself and itself.alive and not peer.itself and peer.free == 64 << 30
    node.peers[1].health = "unreachable"
    assert not hecad.nodes()[1].alive


def test_a_departure_is_known_by_its_region_where_hecad_was_restarted(node: FakeHeca) -> None:
    departure = make_departure(node)
    departure.domain = ""
    assert Hecad("/s", 1.0, node).departures()[0].domain == NAME


def test_one_client_is_kept_and_another_made_after_a_fork(node: FakeHeca, monkeypatch: pytest.MonkeyPatch) -> None:
    hecad = Hecad("/s", 1.0, node)
    hecad.ping()
    hecad.ping()
    assert node.clients == 1
    monkeypatch.setattr("os.getpid", lambda: 1)
    hecad.ping()
    assert node.clients == 2


def test_a_hecad_that_is_away_and_one_that_refuses(node: FakeHeca) -> None:
    hecad = Hecad("/s", 1.0, node)
    node.peers = []
    with pytest.raises(errors.HecadRefused, match=f"attaching {NAME}: no sponsor has") as refused:
        hecad.attach(NAME, local=None, ratio=(1, 3), transport=None, timeout=1.0)
    assert refused.value.code == "RESOURCE_EXHAUSTED"
    node.away = True
    with pytest.raises(errors.HecadAway, match="is hecad running") as away:
        hecad.ping()
    assert isinstance(away.value, exception.NovaException)
    assert away.value.format_message().startswith("Remote memory (heca): asking hecad: no hecad answers")


def test_what_takes_too_long_is_called_off(node: FakeHeca) -> None:
    node.hold = True
    with pytest.raises(errors.HecadLate, match="not done in time"):
        Hecad("/s", 1.0, node).detach(NAME, timeout=0.5)
    assert node.operations[-1].cancelled


def test_what_is_busy_is_tried_again(node: FakeHeca) -> None:
    make_region(node)
    node.busy = 2
    Hecad("/s", 1.0, node).detach(NAME, timeout=10.0)
    assert NAME not in node.region_table
    node.busy = 1000
    with pytest.raises(errors.HecadRefused, match="by another call"):
        Hecad("/s", 1.0, node).detach(NAME, timeout=0.3)


def test_a_host_without_the_binding_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "heca", None)
    with pytest.raises(errors.HecadAway, match="package 'heca' cannot be imported"):
        Hecad("/s", 1.0).ping()


def test_bugs_are_not_taken_for_hecads_refusals(node: FakeHeca) -> None:
    hecad: Any = Hecad("/s", 1.0, node)
    with pytest.raises(TypeError):
        hecad._ask("x", lambda client: client.about(1, 2, 3))
    with errors.border(node, "x"), pytest.raises(exception.InstanceNotFound):
        raise exception.InstanceNotFound(instance_id="i")
