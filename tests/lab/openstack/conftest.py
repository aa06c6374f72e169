# SPDX-License-Identifier: LGPL-2.1-or-later
"""One cloud for all tests of the tier `lab-openstack`, and the server of those that do something to a slow migration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.bench import Bench
from lab.openstack.cloud import Cloud
from lab.openstack.governed import served
from lab.openstack.moves import slow_way_out
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
    """Its migrations go over a slow link; each test finds it at rest."""
    with slow_way_out(copied_ahead):
        yield copied_ahead
