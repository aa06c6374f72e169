# SPDX-License-Identifier: LGPL-2.1-or-later
"""The transport's contract, and the engine, over software RDMA devices."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from lab.bench import Bench
from lab.machine_process import GovernedProcess
from lab.paths import ROOT
from lab.rdma.machine import ADDRESS, RdmaMachine

sys.path.insert(0, str(ROOT / "tools/testing"))

from results import from_gtest  # noqa: E402

PROGRAMS = ["transport_test", "hecad", "hecactl"]
CUT = "CutLinkIsNoticedWhateverTheChannelWaitsFor"
TESTS_OF_EACH = 23  # of the conformance suite
ALONE_SKIPS = "nothing holds up a client that writes by itself"


@pytest.fixture(scope="module", params=["rxe", "siw"])
def machine(request: pytest.FixtureRequest) -> Iterator[RdmaMachine]:
    bench = Bench(f"rdma-{request.param}")
    try:
        yield RdmaMachine(bench, request.param, PROGRAMS)
    finally:
        bench.close()


def test_the_transports_contract(machine: RdmaMachine) -> None:
    code, output = machine.attempt(
        f"{machine.environment} transport_test --gtest_color=no '--gtest_filter=*/Rdma*:-*{CUT}*'", 300)
    results = from_gtest("transport_test", output, code)
    assert results.failures == [], output[-6000:]
    assert [reason for _, reason in results.skips] == [ALONE_SKIPS]
    assert results.passed >= 2 * TESTS_OF_EACH - 1


@pytest.mark.parametrize("way", ["Rdma", "RdmaAlone"])
def test_a_link_that_is_cut_is_noticed(machine: RdmaMachine, way: str) -> None:
    """On a device of its own: after its port was down, Soft-RoCE sets up no more connections."""
    machine.renew_device()
    code, output = machine.attempt(
        f"{machine.environment} transport_test --gtest_color=no '--gtest_filter=*{CUT}/{way}'", 60)
    assert code == 0 and "[  PASSED  ] 1 test" in output, output[-3000:]
    machine.renew_device()


@pytest.fixture(scope="module")
def governed(machine: RdmaMachine) -> GovernedProcess:
    process = GovernedProcess(machine, 48, ADDRESS, "--transport rdma")
    process.hecactl(f"attach --pid {process.pid} --local 12MiB --name p")
    return process


def test_a_process_at_a_quarter_goes_on_over_rdma(governed: GovernedProcess) -> None:
    for _ in range(3):
        governed.goes_on()
    texts = [one["text"] for node in governed.hecactl("nodes")["nodes"] for one in node["connections"]]
    assert texts and all(text.startswith("rdma ") for text in texts), texts
    region = governed.hecactl("regions")["regions"][0]
    assert region["state"] == "active" and int(region["resident_bytes"]) <= 16 << 20
    assert governed.verify() == 0


def test_it_outlives_a_crash_of_hecad_and_of_its_sponsor(governed: GovernedProcess) -> None:
    governed.crash()
    governed.sponsor_crash()
    assert governed.verify() == 0


def test_it_outlives_connections_that_break(governed: GovernedProcess, machine: RdmaMachine) -> None:
    """Each queue pair goes into its error state after some thousands of requests, on either role's connection."""
    governed.crash(fail="break-rdma=on")
    count = "grep -c 'data connection from .* ended' /tmp/s.log"
    before = int(machine.run(count))
    for _ in range(5):
        governed.goes_on()
    assert governed.verify() == 0
    assert int(machine.run(count)) >= before + 4, "connections did break"
    governed.crash()


def test_detached_it_leaves_nothing_pinned(governed: GovernedProcess, machine: RdmaMachine) -> None:
    governed.hecactl("detach p", 120)
    governed.goes_on()
    own = 1 if machine.device == "rxe" else 0  # queue pairs of the device's own, for the connection manager
    machine.wait(f"{machine.rdma} resource show | grep -q ' qp {own} '", 20)
    for pid in (governed.compute, governed.sponsor):
        pinned = re.findall(r"VmPin:\s+(\d+)", machine.run(f"cat /proc/{pid}/status"))
        assert pinned == ["0"], f"{pid} keeps {pinned} KiB pinned"
