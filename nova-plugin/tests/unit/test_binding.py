# SPDX-License-Identifier: Apache-2.0
"""hecad.py over the real binding and a real hecad in this process, so that the fake is not all that it was held against."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from heca_nova import errors
from heca_nova.hecad import Hecad
from heca_nova.testing import fake_heca

heca = pytest.importorskip("heca", reason="the binding is not installed: pip install . at the top of the repository")

FAKES = [(fake_heca.Region, "RegionInfo"), (fake_heca.Peer, "PeerInfo"), (fake_heca.Migration, "MigrationInfo"),
         (fake_heca.Progress, "Progress"), (fake_heca.Store, "StoreInfo"), (fake_heca.Reached, "MigrationSummary")]


@pytest.mark.parametrize(("fake", "real"), FAKES)
def test_the_fakes_fields_are_the_bindings(fake: Any, real: str) -> None:
    assert {field.name for field in fields(fake)} <= {field.name for field in fields(getattr(heca, real))}


def test_its_errors_are_the_bindings() -> None:
    for kind in fake_heca.Error.__subclasses__():
        assert getattr(heca, kind.__name__).code == kind.code


@pytest.fixture
def nodes() -> Iterator[Any]:
    if os.geteuid() != 0:
        pytest.skip("governing needs root")
    with heca.Node({"donate": "64MiB", "slab-size": "64MiB", "compute": False}) as sponsor, \
            heca.Node({"peer": [sponsor.peer]}) as compute:
        yield sponsor, compute


def test_a_real_hecad_is_asked(nodes: Any) -> None:
    sponsor, compute = nodes
    hecad = Hecad(str(compute.socket), 10.0)
    hecad.ping()
    itself, peer = hecad.nodes()
    assert itself.itself and itself.name == compute.name
    assert peer.name == sponsor.name and not peer.itself
    assert hecad.regions() == [] and hecad.departures() == [] and hecad.region("nobody") is None
    with pytest.raises(errors.HecadRefused):
        hecad.attach("nobody", local=None, ratio=(1, 3), transport="tcp", timeout=10.0)
    with pytest.raises(errors.HecadRefused) as refused:
        hecad.detach("nobody", timeout=10.0)
    assert refused.value.code == "NOT_FOUND"
    hecad.switch_now("nobody")  # kept for its next migration: so the driver looks first whether there is one


def test_a_real_hecad_that_is_away() -> None:
    with pytest.raises(errors.HecadAway, match="is hecad running"):
        Hecad("/nonexistent/hecad.sock", 2.0).ping()
