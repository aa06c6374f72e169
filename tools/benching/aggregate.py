# SPDX-License-Identifier: LGPL-2.1-or-later
"""Workloads over memory of which only a part may be local: overhead against all-local, and against kernel swap.

Boundary: the workload's own loop, in a process whose memory was filled before; the overhead is (time - time with all
memory local) / that, in percent, medians. The workload, hecad and the sponsor share all CPUs of this machine; swap
goes to a file on this machine's disk through the page-out path of a memory cgroup with the same local size. Idle CPUs
are kept awake for all of them (idle_cpus.py). A dash under swap: the kernel's out-of-memory killer ended every run.
The talk's figures (Hecatonchire, 2012) are its DSM column for quicksort, on InfiniBand and with CPUs to spare.
"""

from __future__ import annotations

import signal
import statistics
from pathlib import Path
from typing import Any

from idle_cpus import AwakeCpus
from kernel_swap import SwapFile
from lab.bench import Bench
from lab.deadline import LabError
from lab.memory_group import MemoryGroup
from machine import cpu_seconds, rows_as_table
from program import Program

SUMMARY = "quicksort, pointer chase and zipf reads at 3:4 .. 1:5, against kernel swap and the talk"
RATIOS = {"3:4": 3 / 7, "1:2": 1 / 3, "1:3": 1 / 4, "1:4": 1 / 5, "1:5": 1 / 6}  # local:remote, as the local share
TALK = {"3:4": 2.08, "1:2": 2.62, "1:3": 3.35, "1:4": 4.15, "1:5": 4.71}
SIZES = {"quicksort": 512, "chase": 512, "zipf": 512}
FILE = Path("/dev/shm/heca-bench-aggregate")
ROOT = Path(__file__).resolve().parents[2]


def all_local(workload: str, mib: int) -> float:
    program = Program("bench_workload", FILE, str(mib), workload)
    try:
        return program.timed()
    finally:
        program.close()


def under_heca(workload: str, mib: int, share: float) -> dict[str, Any]:
    bench = Bench("bench-aggregate")
    try:
        sponsor = bench.sponsor(donate="1GiB", log_level="info")
        compute = bench.compute(sponsor, metrics=True, log_level="info")
        program = bench.keep(Program("bench_workload", FILE, str(mib), workload))
        compute.attach(program.pid, "work", f"{int(mib * share)}MiB", extra=["--map", str(FILE)])
        before = cpu_seconds(compute.pid), cpu_seconds(sponsor.pid)
        seconds = program.timed()
        return {"seconds": seconds, "hecad_cpu": cpu_seconds(compute.pid) - before[0],
                "sponsor_cpu": cpu_seconds(sponsor.pid) - before[1],
                "prefetched": compute.metric("heca_prefetch_issued_total", region="work"),
                "faults": compute.metric("heca_fault_latency_seconds_count", region="work", source="sponsor")}
    finally:
        bench.close()


def under_swap(workload: str, mib: int, share: float) -> float | None:
    """None: the kernel ran out of memory it could reclaim (all of it under write-back) and ended the program."""
    group = MemoryGroup("heca-bench")
    try:
        program = Program("bench_workload", FILE, str(mib), workload, prefix=group.command_prefix())
        try:
            group.set_limit((int(mib * share) + 8) << 20)  # 8 MiB: the program itself and its page tables
            return program.timed()
        except LabError:
            if program.process.poll() == -signal.SIGKILL:
                return None
            raise
        finally:
            program.close()
    finally:
        group.close()


def run(quick: bool) -> dict[str, Any]:
    with AwakeCpus():
        return measure(quick)


def measure(quick: bool) -> dict[str, Any]:
    repeats = 1 if quick else 3
    ratios = {"1:2": 1 / 3, "1:4": 1 / 5} if quick else RATIOS
    rows: list[dict[str, Any]] = []
    for workload, mib in SIZES.items():
        base = statistics.median(all_local(workload, mib) for _ in range(repeats + 2))
        for ratio, share in ratios.items():
            heca = sorted((under_heca(workload, mib, share) for _ in range(repeats)), key=lambda one: one["seconds"])
            middle = heca[len(heca) // 2]
            fetched = middle["faults"] + middle["prefetched"]
            rows.append({"workload": workload, "ratio": ratio, "local_s": base, "heca_s": middle["seconds"],
                         "heca_pct": 100 * (middle["seconds"] - base) / base,
                         "talk_pct": TALK[ratio] if workload == "quicksort" else None,
                         "prefetch_coverage": middle["prefetched"] / fetched if fetched else None,
                         "hecad_cpu_s": middle["hecad_cpu"], "sponsor_cpu_s": middle["sponsor_cpu"]})
        for zswap, name in ((False, "swapfile_pct"), (True, "zswap_pct")):
            swap = SwapFile(ROOT / "build" / "bench" / "swapfile", 2 * mib, zswap)
            try:
                for row in rows:
                    if row["workload"] == workload:
                        runs = [under_swap(workload, mib, ratios[row["ratio"]]) for _ in range(repeats)]
                        seconds = [one for one in runs if one is not None]
                        row[name] = 100 * (statistics.median(seconds) - base) / base if seconds else None
                        row[name.replace("_pct", "_killed")] = len(runs) - len(seconds)
            finally:
                swap.close()
    return {"boundary": __doc__, "rows": rows}


def table(result: dict[str, Any]) -> str:
    return rows_as_table(result["rows"], {
        "workload": "workload", "ratio": "local:remote", "local_s": "all-local s", "heca_s": "heca s",
        "heca_pct": "heca %", "swapfile_pct": "swap file %", "zswap_pct": "zswap %", "talk_pct": "talk %",
        "prefetch_coverage": "prefetched", "hecad_cpu_s": "hecad CPU s", "sponsor_cpu_s": "sponsor CPU s"})
