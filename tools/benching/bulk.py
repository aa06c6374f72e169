# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bulk throughput beside one iperf3 stream over loopback in the same run.

write-back: `limit` from everything to 64 MiB, bytes that left / time until the limit holds.
prefetch:   one thread reads all pages in order while hecad evicts behind it.
home:       `detach`, bytes fetched / time.
Boundary: the hecactl call (write-back, home), the reading loop (prefetch). Data is not zero and not repeated.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

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
        begin = time.monotonic()
        compute.limit("bulk", f"{LOCAL}MiB")
        write_back = (MIB - LOCAL) * 1.048576 / (time.monotonic() - begin)
        prefetch = MIB * 1.048576 / program.timed()
        away = compute.region("bulk")["away_bytes"] / 1e6
        begin = time.monotonic()
        compute.detach("bulk")
        home = away / (time.monotonic() - begin)
        return {"round": number, "iperf3": iperf3(2), "write_back": write_back, "prefetch": prefetch, "home": home}
    finally:
        bench.close()


def run(quick: bool) -> dict[str, Any]:
    rows = [one_round(number) for number in range(1 if quick else 5)]

    def median(name: str) -> float:
        return sorted(row[name] for row in rows)[len(rows) // 2]

    ratios = {name: median(name) / median("iperf3") for name in ("write_back", "prefetch", "home")}
    return {"boundary": __doc__, "rounds": rows, "ratio": ratios}


def table(result: dict[str, Any]) -> str:
    columns = {"round": "round", "iperf3": "iperf3 MB/s", "write_back": "write-back MB/s", "prefetch": "prefetch MB/s",
               "home": "home MB/s"}
    ratios = ", ".join(f"{name} {value:.2f}" for name, value in result["ratio"].items())
    return f"{rows_as_table(result['rounds'], columns)}\nmedian ratios to iperf3: {ratios}   (to reach: 0.8)"
