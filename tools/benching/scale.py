# SPDX-License-Identifier: LGPL-2.1-or-later
"""How far one hecad goes: faults a second, memory it needs, time to attach.

threads: random reads by N threads of one process over 512 MiB, 64 MiB of it local. regions: N processes of 64 MiB with
one thread each, 32 MiB local. Boundary of a fault: a touch that took longer than 2 us, in the touching thread.
attach: the hecactl call for a sparse file (1 page of data), with a sponsor that does not reserve; stop_us is how long
the process stood still. Idle CPUs are kept awake (idle_cpus.py). bytes_per_page: growth of hecad's resident memory and of its journal per 4 KiB page governed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from idle_cpus import AwakeCpus
from lab.bench import Bench
from program import Program

SUMMARY = "faults/s by threads and regions, memory of hecad, attach time by size"
SECONDS = 3


def faults_by_threads(counts: list[int]) -> dict[str, float]:
    rates = {}
    for count in counts:
        bench = Bench("bench-scale")
        try:
            sponsor = bench.sponsor(donate="1GiB", log_level="info")
            compute = bench.compute(sponsor, log_level="info")
            program = bench.keep(Program("bench_workload", Path("/dev/shm/heca-bench-scale"), "512",
                                         f"faults-{count}", str(SECONDS)))
            compute.attach(program.pid, "scale", "64MiB", extra=["--map", str(program.file)])
            program.say()
            rates[str(count)] = int(program.line().split()[3]) / SECONDS
        finally:
            bench.close()
    return rates


def faults_by_regions(counts: list[int]) -> dict[str, float]:
    rates = {}
    for count in counts:
        bench = Bench("bench-scale")
        try:
            sponsor = bench.sponsor(donate="4GiB", log_level="info")
            compute = bench.compute(sponsor, log_level="info")
            programs = []
            for number in range(count):
                program = bench.keep(Program("bench_workload", Path(f"/dev/shm/heca-bench-scale-{number}"), "64",
                                             "faults-1", str(SECONDS)))
                compute.attach(program.pid, f"scale{number}", "32MiB", extra=["--map", str(program.file)])
                programs.append(program)
            for program in programs:
                program.say()
            rates[str(count)] = sum(int(program.line().split()[3]) for program in programs) / SECONDS
        finally:
            bench.close()
    return rates


def attach_times(sizes: list[int]) -> tuple[dict[str, float], float, dict[str, float]]:
    times, stops, per_page = {}, [], {}
    for gib in sizes:
        bench = Bench("bench-scale")
        try:
            sponsor = bench.sponsor(donate="512GiB", reserve=False, log_level="info")
            compute = bench.compute(sponsor, log_level="info")
            program = bench.keep(Program("bench_workload", Path("/dev/shm/heca-bench-scale"), str(gib << 10), "sparse"))
            before = compute.resident_kib() << 10
            begin = time.monotonic()
            compute.attach(program.pid, "sparse", "1GiB", extra=["--map", str(program.file)])
            times[str(gib)] = (time.monotonic() - begin) * 1000
            stops.append(compute.region("sparse")["capture_stop_ns"] / 1000)
            journal = sum(file.stat().st_blocks * 512 for file in (compute.memory / "run").rglob("*") if file.is_file())
            per_page[str(gib)] = ((compute.resident_kib() << 10) - before + journal) / (gib << 18)
        finally:
            bench.close()
    return times, max(stops), per_page


def run(quick: bool) -> dict[str, Any]:
    with AwakeCpus():
        return measure(quick)


def measure(quick: bool) -> dict[str, Any]:
    times, stop_us, per_page = attach_times([1, 16] if quick else [1, 16, 64, 256])
    return {"boundary": __doc__,
            "faults_per_s": faults_by_threads([1, 4] if quick else list(range(1, 9))),
            "faults_per_s_by_regions": faults_by_regions([1, 4] if quick else [1, 2, 4, 8, 16, 32]),
            "bytes_per_page": per_page, "attach_ms": times, "stop_us": stop_us}


def table(result: dict[str, Any]) -> str:
    def line(name: str, values: dict[str, float], form: str) -> str:
        return f"{name:26}" + "  ".join(f"{key}: {format(value, form)}" for key, value in values.items())

    return "\n".join([line("faults/s by threads", result["faults_per_s"], ".0f"),
                      line("faults/s by regions", result["faults_per_s_by_regions"], ".0f"),
                      line("attach ms by GiB", result["attach_ms"], ".1f"),
                      line("hecad bytes/page by GiB", result["bytes_per_page"], ".2f"),
                      f"longest stop at attach      {result['stop_us']:.0f} us"])
