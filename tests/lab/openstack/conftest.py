# SPDX-License-Identifier: LGPL-2.1-or-later
"""One cloud for all tests of the tier `lab-openstack`, and the server of those that do something to its migrations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.bench import Bench
from lab.openstack.cloud import Cloud
from lab.openstack.governed import hecad_of, served
from lab.openstack.server import Server


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    bench = Bench("openstack")
    try:
        built = bench.keep(Cloud(bench.logs))
        print(f"ready after {built.ready_s:.0f} s: {built.times}")
        yield built
    finally:
        bench.close()


@pytest.fixture(scope="module")
def copied_ahead(cloud: Cloud) -> Iterator[Server]:
    with served(cloud, "copied-ahead", "--migration", "pre-copy") as server:
        server.wait_boots()
        yield server


@pytest.fixture
def server(copied_ahead: Server) -> Iterator[Server]:
    """Each test finds it at rest, whatever became of it in the one before."""
    yield copied_ahead
    copied_ahead.wait("ACTIVE", 120)
    copied_ahead.find()
    hecad_of(copied_ahead).wait_active(copied_ahead.name, 60)
