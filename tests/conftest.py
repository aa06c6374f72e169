# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the tiers `integration` and `lab`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.bench import Bench

LONG = os.environ.get("HECA_LONG") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("long") and not LONG:
            item.add_marker(pytest.mark.skip(reason="long form: runs in tools/test long"))


@pytest.fixture(scope="session")
def long_form() -> bool:
    return LONG


def open_bench(name: str) -> Iterator[Bench]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not Path("/dev/userfaultfd").exists():
        pytest.skip("needs /dev/userfaultfd (Linux 6.1 or newer)")
    bench = Bench(re.sub(r"[^\w-]+", "-", name).strip("-"))
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    yield from open_bench(request.node.name)


@pytest.fixture(scope="module")
def module_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """For equipment that the tests of a file share."""
    yield from open_bench(Path(request.node.name).stem)
