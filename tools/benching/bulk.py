# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bulk throughput beside one iperf3 stream over loopback in the same run.

first:      `limit` from everything to 64 MiB, bytes that left / time until the limit holds: the sponsor reserves and the
            kernel zeroes the memory lent.
growing:    one thread writes a word of every page in order with the limit at everything again: all of them come home.
write-back: `limit` to 64 MiB once more, into memory that is warm.
prefetch:   one thread reads all pages in order while hecad evicts behind it.
home:       `detach`, bytes fetched / time.
Boundary: the hecactl call (first, write-back, home), the loop (growing, prefetch). Data is not zero and not repeated. Idle
CPUs are kept awake (idle_cpus.py).
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from idle_cpus import AwakeCpus
from lab.bench import Bench
from lab.deadline import LabError
from lab.hecad import free_port
from lab.processes import spawn, stop
from machine import rows_as_table
from program import Program

SUMMARY = "write-back, prefetch and home-coming throughput against iperf3 (ratio >= 0.8)"
MIB = 512
LOCAL = 64


def iperf3(seconds: int) -> float:
    """MB/s of one stream."""
    port = str(free_port("127.0.0.1"))
    server = spawn(["iperf3", "-s", "-1", "-p", port], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            done = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", port, "-t", str(seconds), "-J"],
                                  capture_output=True, text=True, timeout=60)
            said: dict[str, Any] = json.loads(done.stdout or "{}")  # exit code 0 also if nobody listens yet
            if "error" not in said and "end" in said:
                return float(said["end"]["sum_received"]["bits_per_second"]) / 8e6
            if time.monotonic() > deadline:
                raise LabError(f"iperf3: {said.get('error', done.stderr)}")
            time.sleep(0.05)
    finally:
        stop(server)


def one_round(number: int) -> dict[str, float]:
    bench = Bench("bench-bulk")
    try:
        sponsor = bench.sponsor(donate="1GiB", log_level="info")
        compute = bench.compute(sponsor, log_level="info")
        program = bench.keep(Program("bench_workload", Path("/dev/shm/heca-bench-bulk"), str(MIB), "scan"))
        compute.attach(program.pid, "bulk", f"{MIB}MiB", extra=["--map", str(program.file)])
        leaving = (MIB - LOCAL) * 1.048576  # MB

        def shrink() -> float:
            begin = time.monotonic()
            compute.limit("bulk", f"{LOCAL}MiB")
            return leaving / (time.monotonic() - begin)

        first = shrink()
        compute.limit("bulk", f"{MIB}MiB")
        growing = leaving / program.timed("write")
        write_back = shrink()
        prefetch = MIB * 1.048576 / program.timed()
        away = compute.region("bulk")["away_bytes"] / 1e6
        begin = time.monotonic()
        compute.detach("bulk")
        home = away / (time.monotonic() - begin)
        return {"round": number, "iperf3": iperf3(2), "first": first, "growing": growing, "write_back": write_back,
                "prefetch": prefetch, "home": home}
    finally:
        bench.close()


PARTS = ("first", "growing", "write_back", "prefetch", "home")


def run(quick: bool) -> dict[str, Any]:
    with AwakeCpus():
        rows = [one_round(number) for number in range(1 if quick else 5)]

    def median(name: str) -> float:
        return sorted(row[name] for row in rows)[len(rows) // 2]

    ratios = {name: median(name) / median("iperf3") for name in PARTS}
    return {"boundary": __doc__, "rounds": rows, "ratio": ratios}


def table(result: dict[str, Any]) -> str:
    columns = {"round": "round", "iperf3": "iperf3 MB/s"} | {name: f"{name.replace('_', '-')} MB/s" for name in PARTS}
    ratios = ", ".join(f"{name} {value:.2f}" for name, value in result["ratio"].items())
    return f"{rows_as_table(result['rounds'], columns)}\nmedian ratios to iperf3: {ratios}   (to reach: 0.8)"
