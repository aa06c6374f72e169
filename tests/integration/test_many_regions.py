# SPDX-License-Identifier: LGPL-2.1-or-later
"""One hecad and many regions: each has its own limit, its own fault loop and its own end, and none disturbs another."""

from __future__ import annotations

from lab.bench import Bench
from lab.hardship import MIB, Plan, come_home, crash_and_return, live_through

REGIONS, EACH_MIB, LOCAL_MIB = 8, 32, 8


def test_eight_processes_at_once(bench: Bench, long_form: bool) -> None:
    compute = bench.compute(bench.sponsor("640MiB"))
    processes = {f"p{n}": bench.native(mib=EACH_MIB, name=f"p{n}", threads=2, rate=500, seed=n + 1)
                 for n in range(REGIONS)}  # a seed each: a page of another region is damage
    for name, process in processes.items():
        process.wait_ready()
        compute.attach(process.pid, name, f"{LOCAL_MIB}MiB")
    for name in processes:
        compute.wait_resident_below(name, LOCAL_MIB * MIB)
    plan = Plan(limits=[4, 16, 8], kills=20 if long_form else 1, ticks_between=6 if long_form else 1)
    account = live_through(plan, compute, {**processes}, None)
    # Half of them end while the others go on: by detach, and by the end of the process.
    leaving = ["p1", "p4"]
    for name in leaving:
        compute.detach(name)
        assert processes[name].verify() == 0
    for name in ("p2", "p7"):
        processes.pop(name).close()
        compute.wait_gone(name)
    rest = {name: process for name, process in processes.items() if name not in leaving}
    assert sorted(region["name"] for region in compute.regions()) == sorted(rest)
    crash_and_return(compute, list(rest), account)
    assert come_home(compute, {**rest}, account).errors == 0
    for name in leaving:
        assert processes[name].verify() == 0
