# SPDX-License-Identifier: LGPL-2.1-or-later
"""Remote 4 KiB fault over TCP loopback, beside the bare userfaultfd round trip and the bare TCP round trip.

Boundary: the touching instruction (floor, heca), send() to last byte of recv() (wire), all in one process, one after
the other in each round. Read faults in random order over memory that is away; the process, hecad and the sponsor share
the CPUs named; hecad evicts as it goes. Memory is warm: every page was written before. Three times: with all CPUs, idle
ones kept awake (idle_cpus.py); with all CPUs as this machine is set; with everything on one CPU, where no wake-up crosses
CPUs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lab.bench import Bench
from idle_cpus import AwakeCpus
from machine import percentile
from program import Program

SUMMARY = "latency of a remote fault against its parts (ratio_p50 <= 1.25)"
RAW = Path(__file__).resolve().parents[2] / "build" / "bench" / "fault.raw"

NO_FAULT_NS = 2000  # a touch below this found its page here


def measure(rounds: int, cpus: set[int], raw: Path) -> dict[str, Any]:
    """All processes of the run on `cpus`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)  # inherited by everything that is started here
    bench = Bench("bench-fault")
    try:
        sponsor = bench.sponsor(donate="1GiB", log_level="info")
        compute = bench.compute(sponsor, log_level="info")
        program = bench.keep(Program("bench_fault", Path("/dev/shm/heca-bench-fault"), "512", str(rounds)))
        compute.attach(program.pid, "fault", "64MiB", extra=["--map", str(program.file)])
        program.say()
        samples: list[list[int]] = []
        while (line := program.line()) != "done":
            samples.append([int(field) for field in line.split()])
        compute.detach("fault")
    finally:
        bench.close()
        os.sched_setaffinity(0, before)
    raw.write_text("".join(f"{' '.join(map(str, row))}\n" for row in samples))
    samples = samples[len(samples) // 10:]  # the first tenth warms caches and allocations
    faults = [row for row in samples if row[2] > NO_FAULT_NS]
    figures: dict[str, Any] = {"cpus": sorted(cpus), "rounds": len(samples), "touches_without_fault":
                               len(samples) - len(faults)}
    for index, name in enumerate(("uffd_floor_us", "wire_us", "heca_us")):
        column = [row[index] / 1000 for row in faults]
        figures[name] = {"p50": percentile(column, 0.50), "p99": percentile(column, 0.99)}
    figures["ratio_p50"] = figures["heca_us"]["p50"] / (figures["uffd_floor_us"]["p50"] + figures["wire_us"]["p50"])
    return figures


def run(quick: bool) -> dict[str, Any]:
    rounds = 4000 if quick else 20000
    every = os.sched_getaffinity(0)
    with AwakeCpus():
        awake = measure(rounds, every, RAW)
    return {"boundary": __doc__, **awake,
            "as_set": measure(rounds, every, RAW.with_suffix(".as_set.raw")),
            "one_cpu": measure(rounds, {max(every)}, RAW.with_suffix(".one_cpu.raw"))}


def table(result: dict[str, Any]) -> str:
    lines = []
    for title, figures in (("all CPUs, awake", result), ("all CPUs, as set", result["as_set"]),
                           ("one CPU", result["one_cpu"])):
        lines.append(f"{title:16}{'p50 us':>10}{'p99 us':>10}")
        for name in ("uffd_floor_us", "wire_us", "heca_us"):
            lines.append(f"{name:16}{figures[name]['p50']:10.1f}{figures[name]['p99']:10.1f}")
        lines.append(f"ratio_p50 = heca / (floor + wire) = {figures['ratio_p50']:.2f}   (to reach: 1.25)\n")
    return "\n".join(lines)
