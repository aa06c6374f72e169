# SPDX-License-Identifier: LGPL-2.1-or-later
"""The transport's contract, and the engine, over software RDMA devices."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from typing import Union

import pytest

from lab.bench import Bench
from lab.deadline import wait_until
from lab.machine_process import GovernedProcess
from lab.paths import ROOT
from lab.rdma.device import DeviceMachine, port_of
from lab.rdma.machine import RdmaMachine, program, resources

sys.path.insert(0, str(ROOT / "tools/testing"))

from results import from_gtest  # noqa: E402

PROGRAMS = ["transport_test", "hecad", "hecactl"]
SETPRIV = program("setpriv")
NO_LOCKED_MEMORY = f"""sh -c 'ulimit -l 16; exec {SETPRIV} --bounding-set -ipc_lock --inh-caps -ipc_lock "$@"' sh"""
ADVERSARIES, ATTACKS = "Device/RdmaAdversary.*", 10
CUT = "CutLinkIsNoticedWhateverTheChannelWaitsFor"
TESTS_OF_EACH = 29  # of the conformance suite
ALONE_SKIPS = "nothing holds up a client that writes by itself"


DEVICE = os.environ.get("HECA_RDMA_DEVICE")  # of this host, in place of a guest with software devices
Rig = Union[RdmaMachine, DeviceMachine]


@pytest.fixture(scope="module", params=[DEVICE] if DEVICE else ["rxe", "siw"])
def machine(request: pytest.FixtureRequest) -> Iterator[Rig]:
    bench = Bench(f"rdma-{request.param}")
    try:
        yield DeviceMachine(bench, port_of(DEVICE), PROGRAMS) if DEVICE else RdmaMachine(bench, request.param, PROGRAMS,
                                                                                         more=[SETPRIV])
    finally:
        bench.close()


def test_the_transports_contract(machine: Rig) -> None:
    code, output = machine.attempt(
        f"{machine.environment} transport_test --gtest_color=no '--gtest_filter=*/Rdma*:-*{CUT}*:{ADVERSARIES}'", 300)
    results = from_gtest("transport_test", output, code)
    assert results.failures == [], output[-6000:]
    assert [reason for _, reason in results.skips] == [ALONE_SKIPS]
    assert results.passed >= 2 * TESTS_OF_EACH - 1


def test_a_peer_that_breaks_the_rules_is_refused_and_others_go_on(machine: Rig) -> None:
    code, output = machine.attempt(
        f"{machine.environment} transport_test --gtest_color=no '--gtest_filter={ADVERSARIES}'", 120)
    results = from_gtest("transport_test", output, code)
    assert results.failures == [] and results.skips == [], output[-6000:]
    assert results.passed == ATTACKS


@pytest.mark.parametrize("way", ["Rdma", "RdmaAlone"])
def test_a_link_that_is_cut_is_noticed(machine: Rig, way: str) -> None:
    """On a device of its own: after its port was down, Soft-RoCE sets up no more connections."""
    if machine.is_way_out:
        pytest.skip("the device's interface has this host's default route and is not set down")
    machine.renew_device()
    code, output = machine.attempt(
        f"{machine.environment} transport_test --gtest_color=no '--gtest_filter=*{CUT}/{way}'", 60)
    assert code == 0 and "[  PASSED  ] 1 test" in output, output[-3000:]
    machine.renew_device()


@pytest.fixture(scope="module")
def governed(machine: Rig) -> GovernedProcess:
    process = GovernedProcess(machine, 48, machine.port.address, "--transport rdma")
    process.hecactl(f"attach --pid {process.pid} --local 12MiB --name p")
    return process


def test_a_process_at_a_quarter_goes_on_over_rdma(governed: GovernedProcess, machine: RdmaMachine) -> None:
    for _ in range(3):
        governed.goes_on()
    shown = [one for end in "cs" for one in governed.connections(end)]
    assert {one["outgoing"] for one in shown} == {True, False}, "each end shows its own"
    assert all(one["text"].startswith("rdma ") for one in shown), shown
    if not DEVICE:
        in_use = f"rdma {machine.device}0/1 (MTU 4096, GID "
        assert all(one["text"].startswith(in_use) for one in shown), shown
    region = governed.hecactl("regions")["regions"][0]
    assert region["state"] == "active" and int(region["resident_bytes"]) <= 16 << 20
    assert governed.verify() == 0


def test_an_idle_connection_costs_no_system_call_each_tick(governed: GovernedProcess, machine: RdmaMachine) -> None:
    """A tick comes every 20 ms; to ask the connection manager or a completion queue is a write to its file."""
    connections = len(governed.connections())
    assert connections >= 2
    machine.run(f"kill -STOP {governed.pid}")
    said = machine.run(f"sleep 3; for i in 1 2; do grep syscw /proc/{governed.sponsor}/io; sleep 5; done")
    machine.run(f"kill -CONT {governed.pid}")
    before, after = (int(number) for number in re.findall(r"syscw: (\d+)", said))
    assert after - before < connections * 5 * 50 / 4


def test_it_outlives_a_crash_of_hecad_and_of_its_sponsor(governed: GovernedProcess) -> None:
    governed.crash()
    governed.sponsor_crash()
    assert governed.verify() == 0


def test_it_outlives_connections_that_break(governed: GovernedProcess, machine: Rig) -> None:
    """Each queue pair goes into its error state after some thousands of requests, on either role's connection."""
    governed.crash(fail="break-rdma=on")
    count = "grep -c 'data connection from .* ended' /tmp/s.log"
    before = int(machine.run(count))
    for _ in range(5):
        governed.goes_on()
    assert governed.verify() == 0
    assert int(machine.run(count)) >= before + 4, "connections did break"
    governed.crash()


def test_it_does_not_wait_until_its_lease_is_registered(governed: GovernedProcess) -> None:
    """Which takes longer than a connection has to be set up: gigabytes do. Its pages are asked for until then."""
    governed.sponsor_crash(fail="slow-registration=on")
    for _ in range(3):
        governed.goes_on()
    assert governed.verify() == 0
    governed.sponsor_crash()


def test_it_goes_on_at_a_third_under_everything_at_once(governed: GovernedProcess, long_form: bool) -> None:
    """Five minutes in the long form: queue pairs that break, and a sponsor that is killed and comes again."""
    governed.hecactl("limit p 16MiB")
    governed.crash(fail="break-rdma=on")
    end = time.monotonic() + (300 if long_form else 10)
    rounds = 0
    while time.monotonic() < end or rounds == 0:
        governed.sponsor_crash()
        for _ in range(3):
            governed.goes_on()
        rounds += 1
    assert governed.verify() == 0
    region = governed.hecactl("regions")["regions"][0]
    assert region["state"] == "active" and int(region["resident_bytes"]) <= 20 << 20
    governed.crash()


def test_detached_it_leaves_nothing_pinned(governed: GovernedProcess, machine: Rig) -> None:
    held, idle = resources(machine, machine.rdma), machine.idle_resources
    assert all(held[kind] > idle[kind] for kind in idle), f"{held}, idle {idle}"
    governed.hecactl("detach p", 120)
    governed.goes_on()
    wait_until(lambda: resources(machine, machine.rdma) == idle, 20, f"the device's resources are {idle} again", poll=0.2)
    for pid in (governed.compute, governed.sponsor):
        machine.wait(f"! grep -E 'Vm(Pin|Lck):' /proc/{pid}/status | grep -v ' 0 kB'", 20)


@pytest.mark.parametrize("way", ["tcp", "rdma"])
def test_a_region_goes_by_its_own_choice_where_both_ends_have_both(governed: GovernedProcess, way: str) -> None:
    governed.detach_all()
    governed.told("--transport auto")
    governed.hecactl(f"attach --pid {governed.pid} --local 12MiB --name own --transport {way}")
    governed.goes_on()
    for _ in range(2):  # the second time after a crash of hecad
        [store] = governed.hecactl("regions own")["regions"][0]["stores"]
        assert store["transport"] == way
        governed.crash()
    assert governed.verify() == 0


def test_a_sponsor_that_may_lock_no_memory_is_reached_over_tcp_and_it_is_said_why(governed: GovernedProcess) -> None:
    governed.detach_all()
    governed.kill_sponsor()
    governed.start_sponsor(under=NO_LOCKED_MEMORY)
    governed.hecactl(f"attach --pid {governed.pid} --local 12MiB --name plain")
    [store] = governed.hecactl("regions plain")["regions"][0]["stores"]
    assert store["transport"] == "tcp"
    governed.machine.run("grep 'sponsor s is reached over tcp: .* (limit of locked memory: LimitMEMLOCK=)' /tmp/c.log")
    governed.goes_on()
    assert governed.verify() == 0
