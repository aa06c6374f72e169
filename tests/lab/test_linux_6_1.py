# SPDX-License-Identifier: LGPL-2.1-or-later
"""This build on Linux 6.1, natively in a guest: the oldest kernel that is promised, with the fewest abilities.

No WP_ASYNC, no PAGEMAP_SCAN, no POISON, and UFFDIO_CONTINUE cannot keep a page write-protected. Short forms leave out
what is long and says little about the kernel; HECA_LONG=1 for all of it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from lab.bench import Bench
from lab.machine import Machine
from lab.machine_process import GovernedProcess
from lab.paths import ROOT

sys.path.insert(0, str(ROOT / "tools/testing"))

from results import from_gtest  # noqa: E402

PROGRAMS = ["os_test", "region_test", "fault_test", "guest_test", "daemon_test", "engine_hammer", "hecad", "hecactl"]

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
    assert machine.run("nproc").strip() == "2", "the second one comes after the start"


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


def test_a_killed_hecad_has_its_ports_no_longer_than_its_lock(machine: Machine) -> None:
    code, output = machine.attempt("daemon_test --gtest_color=no --gtest_repeat=10 '--gtest_filter=Preflight.AHecad*'", 60)
    assert code == 0 and output.count("[  PASSED  ] 1 test.") == 10, output[-6000:]


@pytest.mark.parametrize("kill", ["", "--kill"])
def test_engine_under_everything_at_once(machine: Machine, kill: str, long_form: bool) -> None:
    output = machine.run(f"engine_hammer --seconds {120 if long_form else 4} {kill}", 400)
    if not kill:  # pages whose entry was zapped under the guest: CONTINUE without write-protection ran
        anew = re.search(r"mapped anew (\d+)", output)
        assert anew and int(anew.group(1)) > 20, output


def test_process_at_a_third_with_a_crash(machine: Machine, long_form: bool) -> None:
    """hecad and its sponsor on 6.1: attach, one third stays, hecad is killed, all of it comes home."""
    governed = GovernedProcess(machine, 48)
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
