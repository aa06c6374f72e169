# SPDX-License-Identifier: LGPL-2.1-or-later
"""A plain process whose eight threads share every page, natively: the hardest race that this machine can make."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from lab.bench import Bench
from lab.deadline import wait_until
from lab.hardship import MIB, Account, Plan, come_home, live_through
from lab.hecad import CommandFailed, Hecad
from lab.workload import NativeWorkload

CRASHES = ["crash-after-arm", "crash-before-punch", "crash-after-punch", "crash-before-copy", "crash-after-copy",
           "crash-after-fault-read"]


def governed(bench: Bench, compute: Hecad, mib: int, local_mib: int, directory: Path = Path("/dev/shm"),
             rate: int = 2000) -> NativeWorkload:
    process = bench.native(mib=mib, directory=directory, threads=8, slices=True, rate=rate)
    process.wait_ready()
    compute.attach(process.pid, "p1", f"{local_mib}MiB")
    return process


def test_process_lives_through_hardship(bench: Bench, long_form: bool) -> None:
    link = bench.link()
    compute = bench.compute(bench.sponsor("512MiB", link=link))
    process = governed(bench, compute, 256, 64)
    compute.wait_resident_below("p1", 64 * MIB)
    limits = [48, 96, 32, 128, 64, 40, 200, 56, 256, 64]
    plan = Plan(limits=limits, kills=20 if long_form else 6, ticks_between=6 if long_form else 1,
                cut_seconds=5 if long_form else 2)
    account = live_through(plan, compute, {"p1": process}, link)
    assert come_home(compute, {"p1": process}, account).errors == 0


def test_process_as_fast_as_it_goes(bench: Bench, long_form: bool) -> None:
    compute = bench.compute(bench.sponsor("512MiB"))
    process = governed(bench, compute, 256, 64, rate=0)
    process.wait_ticks(300 if long_form else 8, 900)
    process.check()
    assert come_home(compute, {"p1": process}, Account()).errors == 0


def test_process_in_huge_pages(bench: Bench) -> None:
    pages = bench.huge_pages(448)
    compute = bench.compute(bench.sponsor("512MiB"))
    process = governed(bench, compute, 256, 160, directory=pages.path, rate=200)
    compute.wait_resident_below("p1", 160 * MIB)
    account = live_through(Plan(limits=[128, 224, 144], kills=1), compute, {"p1": process}, None)
    assert come_home(compute, {"p1": process}, account).errors == 0


@pytest.mark.parametrize("point", CRASHES)
def test_hecad_dies_at(bench: Bench, point: str) -> None:
    """SIGKILL at each step of a page's way; the next hecad takes over, and nothing is lost or zeroed."""
    sponsor = bench.sponsor("256MiB")
    compute = bench.compute(sponsor, fail=f"{point}=crash@200")
    process = governed(bench, compute, 96, 96)
    with suppress(CommandFailed):  # hecad may die before it can answer
        compute.limit("p1", "32MiB")
    assert compute.wait_exit(60) == -9
    process.check()
    compute.fail = ""
    compute.start()
    compute.wait_active("p1")
    process.wait_ticks(2, 60)
    assert come_home(compute, {"p1": process}, Account()).errors == 0


def test_clean_stop_without_detach_keeps_the_process(bench: Bench) -> None:
    compute = bench.compute(bench.sponsor("256MiB"))
    process = governed(bench, compute, 96, 32)
    compute.wait_resident_below("p1", 32 * MIB)
    assert compute.terminate() == 0
    compute.start()
    compute.wait_active("p1")
    process.wait_ticks(2, 60)
    assert come_home(compute, {"p1": process}, Account()).errors == 0


def test_without_a_limit_nothing_leaves(bench: Bench) -> None:
    compute = bench.compute(bench.sponsor("256MiB"))
    process = governed(bench, compute, 96, 96)
    process.wait_ticks(3, 60)
    assert compute.region("p1")["away_bytes"] == 0
    compute.limit("p1", "48MiB")
    compute.limit("p1", "96MiB")
    assert come_home(compute, {"p1": process}, Account()).errors == 0


def test_process_that_dies_gives_its_memory_back(bench: Bench) -> None:
    sponsor = bench.sponsor("256MiB")
    compute = bench.compute(sponsor)
    process = governed(bench, compute, 96, 32)
    compute.wait_resident_below("p1", 32 * MIB)
    process.close()
    wait_until(lambda: compute.regions() == [], 30, "region of a dead process ended")
    again = bench.native(mib=96, name="again", threads=2, rate=500)
    again.wait_ready()
    compute.attach(again.pid, "p2", "32MiB")  # the sponsor has room again
    compute.detach("p2")
    assert again.verify() == 0
