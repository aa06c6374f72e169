# SPDX-License-Identifier: LGPL-2.1-or-later
"""This build on Linux 6.1, natively in a guest: the oldest kernel that is promised, with the fewest abilities.

No WP_ASYNC, no PAGEMAP_SCAN, no POISON, and UFFDIO_CONTINUE cannot keep a page write-protected. Short forms leave out
what is long and says little about the kernel; HECA_LONG=1 for all of it.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from lab.bench import Bench
from lab.deadline import LabError
from lab.machine import Machine
from lab.paths import ROOT

sys.path.insert(0, str(ROOT / "tools/testing"))

from results import from_gtest  # noqa: E402

PROGRAMS = ["os_test", "region_test", "fault_test", "guest_test", "engine_hammer", "hecad", "hecactl"]

# What cannot be shown in a guest under TCG, and why.
NEVER = {
    "os_test": ["RamFile.RefusesAFileOnDisk",  # the machine has no disk
                "InjectTest.SpinningTargetUsesTheVdsoAndStopsBriefly"],  # times of an emulated CPU say nothing
    # Its page table alone is half of the machine's memory, and what it bounds is a time.
    "fault_test": ["EngineLimit.ASparseRegionOf256GiBAttachesInMilliseconds",
                   "PolicyTrace.*", "PolicyTest.*", "PolicyBitsTest.*", "AdaptivePolicyTest.*", "EvictionArmsTest.*",
                   "Prefetch.*"],  # arithmetic, the same on every kernel
}
LONG_ONLY = {
    "os_test": ["UffdTest.NobodyWaitsAfterUnregister", "InjectTest.LosesNoneOfTwoThousandQueuedSignals",
                "InjectTest.SleepingIn*"],
    "fault_test": ["EngineDiscard.WritesAfterADiscardStay", "EngineLimit.CallsHomeABatchOfOneThatWasJustStored",
                   "*KilledAt*crashafterarm", "*KilledAt*crashbeforepunch", "*KilledAt*crashbeforecopy"],
}
SKIPS: dict[str, dict[str, int]] = {"os_test": {"needs Linux 6.7 (PAGEMAP_SCAN)": 3},
                                    "fault_test": {"needs Linux 6.6 (UFFDIO_POISON)": 1}}
AT_LEAST = {"os_test": 28, "region_test": 19, "fault_test": 55}  # passed, in either form


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    bench = Bench("linux-6-1")
    try:
        yield Machine(bench, PROGRAMS)
    finally:
        bench.close()


def test_it_is_the_kernel_that_is_meant(machine: Machine) -> None:
    assert machine.release.startswith("6.1.")


@pytest.mark.parametrize("program", ["os_test", "region_test", "fault_test"])
def test_unit(machine: Machine, program: str, long_form: bool) -> None:
    left_out = NEVER.get(program, []) + ([] if long_form else LONG_ONLY.get(program, []))
    code, output = machine.attempt(f"{program} --gtest_color=no '--gtest_filter=-{':'.join(left_out)}'", 400)
    results = from_gtest(program, output, code)
    assert results.failures == [], output[-6000:]
    assert Counter(reason for _, reason in results.skips) == SKIPS.get(program, {})
    assert results.passed >= AT_LEAST[program]


def test_the_log_of_a_vms_writes(machine: Machine) -> None:
    """The kind in which writers wait for hecad. With a QEMU it is tested outside: there is none in the machine."""
    tests = "*WriteLog*:CaptureProcessTest.What*:-*.ThousandsOfScatteredRuns*"  # that is thousands of faults under TCG
    code, output = machine.attempt(f"guest_test --gtest_color=no '--gtest_filter={tests}'", 400)
    results = from_gtest("guest_test", output, code)
    assert results.failures == [], output[-6000:]
    assert {reason for name, reason in results.skips if name.endswith("/async")} == {"needs Linux 6.7 (PAGEMAP_SCAN)"}
    assert [reason for name, reason in results.skips if not name.endswith("/async")] == [
        "qemu-system-x86_64 is not installed"]
    assert results.passed >= 23


@pytest.mark.parametrize("kill", ["", "--kill"])
def test_engine_under_everything_at_once(machine: Machine, kill: str, long_form: bool) -> None:
    output = machine.run(f"engine_hammer --seconds {120 if long_form else 4} {kill}", 400)
    if not kill:  # pages whose entry was zapped under the guest: CONTINUE without write-protection ran
        anew = re.search(r"mapped anew (\d+)", output)
        assert anew and int(anew.group(1)) > 20, output


class Governed:
    """Two hecads and a self-verifying process in the machine; words for what the test does with them."""

    def __init__(self, machine: Machine, mib: int) -> None:
        self.machine = machine
        machine.run("mkdir -p /run/s /run/c && mkfifo /tmp/verifier.in")
        machine.start("hecad --name s --compute off --donate 400MiB --metrics-listen off --run-dir /run/s "
                      "--socket /run/s/hecad.sock --slab-dir /dev/shm", "/tmp/s.log")
        self.start_compute()
        self.pid = machine.start(f"memverify mib={mib} threads=3 slices=1 rate=2000 file=/dev/shm/verified "
                                 "<>/tmp/verifier.in", "/tmp/verifier.log")
        machine.wait("grep -q 'MEMVERIFY tick=1 ' /tmp/verifier.log", 60)

    def start_compute(self) -> None:
        self.compute = self.machine.start("hecad --name c --peer s=127.0.0.1:7300 --metrics-listen off "
                                          "--run-dir /run/c --socket /run/c/hecad.sock --slab-dir /dev/shm/c "
                                          "--control-listen 127.0.0.1:7310 --data-listen 127.0.0.1:7311", "/tmp/c.log")
        try:
            self.machine.wait("hecactl --socket /run/c/hecad.sock status", 60)
        except LabError as error:
            raise LabError(f"{error}; it said:\n{self.machine.attempt('tail -n 20 /tmp/c.log')[1]}") from error

    def crash(self) -> None:
        self.machine.run(f"kill -9 {self.compute}")
        self.machine.wait(f"! grep -q hecad /proc/{self.compute}/cmdline", 20)
        self.start_compute()
        self.goes_on()

    def hecactl(self, arguments: str, seconds: float = 60) -> Any:
        said = self.machine.run(f"hecactl --socket /run/c/hecad.sock --json {arguments} 2>/tmp/error "
                                "|| { cat /tmp/error; exit 1; }", seconds)
        return json.loads(said)

    def goes_on(self) -> None:
        """More ticks with progress, and no error in any."""
        last = "grep tick= /tmp/verifier.log | tail -n 1 | sed 's/.*verified=//; s/ .*//'"
        before = int(self.machine.run(last))
        self.machine.wait(f"[ $({last}) -gt {before} ]", 60)
        self.machine.run("! grep -E 'MEMVERIFY (ERROR|FATAL)' /tmp/verifier.log")

    def verify(self) -> int:
        """Every cell is looked at; how many errors there were since the start."""
        before = int(self.machine.attempt("grep -c FINAL /tmp/verifier.log")[1])
        self.machine.run("echo verify >/tmp/verifier.in")
        self.machine.wait(f"[ $(grep -c FINAL /tmp/verifier.log) -gt {before} ]", 120)
        found = re.findall(r"FINAL errors=(\d+)", self.machine.run("grep FINAL /tmp/verifier.log"))
        return int(found[-1])


def test_process_at_a_third_with_a_crash(machine: Machine, long_form: bool) -> None:
    """hecad and its sponsor on 6.1: attach, one third stays, hecad is killed, all of it comes home."""
    governed = Governed(machine, 48)
    kernel = governed.hecactl("status")["node"]["kernel"]
    assert kernel == {"uffd-device": "yes", "uffd-sufficient": "yes", "uffd-poison": "no", "uffd-wp-async": "no",
                      "pagemap-scan": "no", "uffd-continue-wp": "no"}
    governed.hecactl(f"attach --pid {governed.pid} --local 16MiB --name p")
    governed.goes_on()
    for _ in range(20 if long_form else 1):
        governed.crash()
    region = governed.hecactl("regions")["regions"][0]
    assert region["state"] == "active" and int(region["resident_bytes"]) <= 20 << 20
    assert governed.verify() == 0
    governed.hecactl("detach p", 120)
    assert governed.hecactl("regions")["regions"] == []
    governed.goes_on()
    assert governed.verify() == 0
