# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two machines on one wire: the sponsor in one of them, the process whose memory it keeps in the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.bench import Bench
from lab.deadline import wait_until
from lab.machine_process import GovernedProcess
from lab.rdma.machine import Port, RdmaMachine

PROGRAMS = ["hecad", "hecactl"]
LENDER, BORROWER = "10.9.1.1", "10.9.1.2"
INTERFACE = "eth0"
LONGER_THAN_A_PEER_MAY_BE_SILENT = 6


@dataclass
class Pair:
    lender: RdmaMachine
    borrower: RdmaMachine
    process: GovernedProcess

    def cable(self, plugged: bool) -> None:
        """Both ends see it."""
        for machine in (self.lender, self.borrower):
            machine.vm.qmp.execute("set_link", name="wire", up=plugged)

    def renew_devices(self) -> None:
        for machine in (self.lender, self.borrower):
            machine.renew_device()


def wire(role: str, number: int, path: str) -> list[str]:
    return ["-netdev", f"stream,id=wire,server={role},addr.type=unix,addr.path={path}",
            "-device", f"virtio-net-pci,netdev=wire,romfile=,mac=52:54:00:09:01:0{number}"]


@pytest.fixture(scope="module", params=["rxe", "siw"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    bench = Bench(f"rdma-two-{request.param}")
    try:
        path = str(bench.logs / "wire")
        lender, borrower = [
            RdmaMachine(bench, request.param, PROGRAMS, 1024, name, Port(address, INTERFACE, wire(role, number, path)))
            for number, (name, address, role) in enumerate([("lender", LENDER, "on"), ("borrower", BORROWER, "off")], 1)]
        process = GovernedProcess(borrower, 48, BORROWER, "--transport auto", (lender, LENDER))
        process.hecactl(f"attach --pid {process.pid} --local 12MiB --name p")
        yield Pair(lender, borrower, process)
    finally:
        bench.close()


def over_rdma(process: GovernedProcess) -> bool:
    """One connection at least: `auto` takes TCP for one whose set-up took too long, and a busy guest has such."""
    return any(way["outgoing"] and way["text"].startswith("rdma ") for way in process.connections())


def test_a_process_at_a_quarter_goes_on_over_the_wire(pair: Pair) -> None:
    assert over_rdma(pair.process), pair.process.connections()
    for _ in range(3):
        pair.process.goes_on()
    region = pair.process.hecactl("regions")["regions"][0]
    assert region["state"] == "active" and int(region["resident_bytes"]) <= 16 << 20
    assert pair.process.verify() == 0


def test_it_outlives_a_cable_that_is_pulled(pair: Pair) -> None:
    """What it goes on over is not asked here: Soft-RoCE of Linux 6.1 may not come back by itself, and TCP is offered too."""
    pair.cable(False)
    time.sleep(LONGER_THAN_A_PEER_MAY_BE_SILENT)  # the length of the cut is the thing tested
    pair.cable(True)
    pair.process.goes_on()
    assert pair.process.verify() == 0


def test_devices_that_were_removed_and_returned_are_used_again(pair: Pair) -> None:
    """Nobody has them open while they go: the kernel does not let go of them before."""
    pair.process.both_crash(pair.renew_devices)
    wait_until(lambda: over_rdma(pair.process), 30, "RDMA is used again")
    pair.process.goes_on()
    assert pair.process.verify() == 0
