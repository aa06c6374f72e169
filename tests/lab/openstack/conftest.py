# SPDX-License-Identifier: LGPL-2.1-or-later
"""One cloud for all tests of the tier `lab-openstack`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.bench import Bench
from lab.openstack.cloud import Cloud


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    bench = Bench("openstack")
    try:
        built = bench.keep(Cloud(bench.logs))
        print(f"ready after {built.ready_s:.0f} s: {built.times}")
        yield built
    finally:
        bench.close()
