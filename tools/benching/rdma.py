# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages over RDMA, in a guest with a software device (Soft-RoCE, Soft-iWARP), beside perftest in the same boot.

floor, heca: the touching instruction, by the program of `tools/bench fault` and as there (one after the other in each round,
      read faults in random order), with a sponsor in the same guest.
wire: ib_read_lat -s 4096, both ends polling; over TCP the bare round trip of the same program as heca's.
bulk: write-back (`limit`, into memory that is warm) beside ib_write_bw, home-coming (`detach`) beside ib_read_bw, growing and
      prefetch as in `tools/bench bulk`; over TCP all beside iperf3. Ratios are to perftest's best message size; that of 4096
      bytes is told too. Boundary: the hecactl call less the time of one that does nothing; the loop (growing, prefetch).
sponsor: CPU time of all threads of the sponsor's hecad, by the scheduler's count, over the rounds of faults and over bulk, for
      each page that moved; and over a second in which its connections idle.

The guest's one CPU is emulated (TCG), and its clock counts instructions, 2 ns each: what else this machine does changes
nothing, and a run can be repeated. All parties share that CPU, the software device too. Only ratios mean something, and those
not what a device in hardware would make of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import perftest
from lab.bench import Bench
from lab.machine import Machine
from lab.machine_process import TwoHecads
from lab.rdma.machine import ADDRESS, RdmaMachine, program
from machine import percentile, rows_as_table

SUMMARY = "faults and bulk over software RDMA devices against perftest, in a guest (ratio_p50 <= 1.3, bulk >= 0.8)"
RAW = Path(__file__).resolve().parents[2] / "build" / "bench"
PROGRAMS = ["hecad", "hecactl", "bench_fault", "bench_workload"]
NO_FAULT_NS = 2000  # a touch below this found its page here
FAULT_MIB, FAULT_LOCAL = 32, 4
BULK_LOCAL = 8
PAGE_MB = 4096 / 1e6
SIZES = {4096: 4000, 16384: 1000, 65536: 400, 262144: 100, 1048576: 40}  # of messages, and how many of them
SIZES_QUICK = {4096: 500, 65536: 100, 262144: 40}


class Inside:
    """A benchmark's program in the machine: works on a line from us, and answers in its log."""

    def __init__(self, machine: Machine, name: str, *arguments: str) -> None:
        self.machine, self.name, self.file = machine, name, f"/dev/shm/{name}.memory"
        self.log = f"/tmp/{name}.log"
        self._lines = 1
        machine.run(f"rm -f /tmp/{name}.in && mkfifo /tmp/{name}.in")
        self.pid = machine.start(f"{name} {self.file} {' '.join(arguments)} <>/tmp/{name}.in", self.log)
        machine.wait(f"grep -q ready {self.log}", 120)

    def work(self, word: str, until: str, seconds: float) -> None:
        """Nothing of ours runs meanwhile but a look each second."""
        self.machine.run(f"echo {word} >/tmp/{self.name}.in; "
                         f"until {until}; do [ -d /proc/{self.pid} ] || exit 1; sleep 1; done", seconds)

    def timed(self, word: str) -> float:
        """Seconds of one run as the program measured them."""
        self._lines += 1
        self.work(word, f"[ $(wc -l <{self.log}) -ge {self._lines} ]", 300)
        return float(self.machine.run(f"tail -n 1 {self.log}").split()[1])

    def end(self) -> None:
        self.machine.run(f"kill -9 {self.pid}; rm -f {self.file}")


def sponsor_us(hecads: TwoHecads) -> float:
    said = hecads.machine.run(f"cat /proc/{hecads.sponsor}/task/*/schedstat")
    return sum(int(line.split()[0]) for line in said.splitlines() if line.strip()) / 1000


def idle_us(hecads: TwoHecads, seconds: int = 10) -> float:
    """CPU time of the sponsor in a second."""
    before = sponsor_us(hecads)
    hecads.machine.run(f"sleep {seconds}", seconds + 30)
    return (sponsor_us(hecads) - before) / seconds


def call_seconds(hecads: TwoHecads, arguments: str) -> float:
    """Of one hecactl, by the machine's clock (10 ms)."""
    said = hecads.machine.run(f"cat /proc/uptime; hecactl --socket /run/c/hecad.sock {arguments} >/tmp/said 2>&1 || "
                              "{ cat /tmp/said; exit 1; }; cat /proc/uptime", 300)
    lines = said.split("\n")
    times = [float(line.split()[0]) for line in lines if line.strip()]
    return times[-1] - times[0]


def faults(hecads: TwoHecads, rounds: int, raw: Path) -> dict[str, Any]:
    inside = Inside(hecads.machine, "bench_fault", str(FAULT_MIB), str(rounds))
    hecads.hecactl(f"attach --pid {inside.pid} --local {FAULT_LOCAL}MiB --name fault --map {inside.file}", 120)
    idle = idle_us(hecads)
    before = sponsor_us(hecads)
    inside.work("go", f"tail -n 1 {inside.log} | grep -q done", 600)
    used = sponsor_us(hecads) - before
    said = hecads.machine.run(f"cat {inside.log}", 60)
    samples = [[int(word) for word in line.split()] for line in said.splitlines() if line.count(" ") == 2]
    hecads.hecactl("detach fault", 120)
    inside.end()
    raw.write_text("".join(f"{' '.join(map(str, row))}\n" for row in samples))
    moved = sum(row[2] > NO_FAULT_NS for row in samples)
    warm = [row for row in samples[len(samples) // 10:] if row[2] > NO_FAULT_NS]

    def figures(index: int) -> dict[str, float]:
        column = [row[index] / 1000 for row in warm]
        return {"p50": percentile(column, 0.50), "p99": percentile(column, 0.99)}

    return {"rounds": len(warm), "floor_us": figures(0), "tcp_us": figures(1), "heca_us": figures(2),
            "sponsor_us_per_fault": used / moved, "sponsor_idle_us_per_s": idle}


def bulk(hecads: TwoHecads, mib: int) -> dict[str, float]:
    """MB/s."""
    inside = Inside(hecads.machine, "bench_workload", str(mib), "scan")
    hecads.hecactl(f"attach --pid {inside.pid} --local {mib}MiB --name bulk --map {inside.file}", 120)
    nothing = sorted(call_seconds(hecads, "regions") for _ in range(3))[1]
    leaving = (mib - BULK_LOCAL) * 1.048576
    first = leaving / (call_seconds(hecads, f"limit bulk {BULK_LOCAL}MiB") - nothing)
    before = sponsor_us(hecads)
    call_seconds(hecads, f"limit bulk {mib}MiB")
    growing = leaving / inside.timed("write")
    write_back = leaving / (call_seconds(hecads, f"limit bulk {BULK_LOCAL}MiB") - nothing)
    prefetch = mib * 1.048576 / inside.timed("go")
    away = int(hecads.hecactl("regions")["regions"][0]["away_bytes"]) / 1e6
    home = away / (call_seconds(hecads, "detach bulk") - nothing)
    pages = (2 * leaving + mib * 1.048576 + away) / PAGE_MB
    used = sponsor_us(hecads) - before
    inside.end()
    return {"first": first, "growing": growing, "write_back": write_back, "prefetch": prefetch, "home": home,
            "hecactl_s": nothing, "sponsor_us_per_page": used / pages}


def over(machine: RdmaMachine, transport: str, device: str, quick: bool) -> dict[str, Any]:
    """What heca does over that transport; its hecads are gone afterwards."""
    hecads = TwoHecads(machine, ADDRESS, f"--transport {transport}")
    found = faults(hecads, 600 if quick else 4000, RAW / f"rdma.{device}.{transport}.raw")
    rounds = [bulk(hecads, 32 if quick else 96) for _ in range(1 if quick else 3)]
    hecads.end()
    return {"faults": found, "bulk": rounds}


def median(rows: list[dict[str, float]], name: str) -> float:
    return sorted(row[name] for row in rows)[len(rows) // 2]


def row_of(device: str, heca: dict[str, Any], wire: dict[str, float], read: float, write: float) -> dict[str, Any]:
    found, rounds = heca["faults"], heca["bulk"]
    return {"device": device, "floor_us": found["floor_us"], "wire_us": wire, "heca_us": found["heca_us"],
            "ratio_p50": found["heca_us"]["p50"] / (found["floor_us"]["p50"] + wire["p50"]),
            "bulk_read_ratio": median(rounds, "home") / read, "prefetch_ratio": median(rounds, "prefetch") / read,
            "growing_ratio": median(rounds, "growing") / read, "bulk_write_ratio": median(rounds, "write_back") / write,
            "sponsor_cpu_us_per_page": found["sponsor_us_per_fault"],
            "sponsor_cpu_us_per_bulk_page": median(rounds, "sponsor_us_per_page"),
            "sponsor_idle_us_per_s": found["sponsor_idle_us_per_s"]}


def iperf3(machine: Machine) -> float:
    """MB/s of one TCP stream to the machine's own address."""
    tool = program("iperf3")
    machine.start(f"{tool} -s -1 --forceflush", "/tmp/iperf3.log")
    machine.wait("grep -q listening /tmp/iperf3.log", 20)
    said = machine.run(f"{tool} -c {ADDRESS} -t 3 -f K | grep receiver")
    return float(said.split("KBytes/sec")[0].split()[-1]) * 1024 / 1e6


def one_device(device: str, quick: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    bench = Bench(f"bench-rdma-{device}")
    try:
        tools = [program(name) for name in (*perftest.TOOLS, "iperf3")]
        machine = RdmaMachine(bench, device, PROGRAMS, 1024, more=tools, counted=True)
        sizes = SIZES_QUICK if quick else SIZES
        wire = [perftest.read_latency(machine, 500 if quick else 2000)]
        heca = over(machine, "rdma", device, quick)
        wire.append(perftest.read_latency(machine, 500 if quick else 2000))
        read, write = (perftest.bandwidth(machine, tool, sizes) for tool in ("ib_read_bw", "ib_write_bw"))
        tcp = over(machine, "tcp", device, quick)
        stream = iperf3(machine)
    finally:
        bench.close()
    mean = {name: sum(one[name] for one in wire) / len(wire) for name in ("p50", "p99")}
    raw = {"ib_read_lat": wire, "ib_read_bw": read, "ib_write_bw": write, "iperf3": stream, "rdma": heca, "tcp": tcp}
    return [row_of(device, heca, mean, read["best"], write["best"]),
            row_of(f"tcp beside {device}", tcp, tcp["faults"]["tcp_us"], stream, stream)], raw


def run(quick: bool) -> dict[str, Any]:
    rows, raw = [], {}
    for device in ("rxe", "siw"):
        found, raw[device] = one_device(device, quick)
        rows += found
    return {"boundary": __doc__, "rows": rows, "raw": raw}


def table(result: dict[str, Any]) -> str:
    columns = {"device": "device", "floor": "floor p50 us", "wire": "wire p50", "heca": "heca p50", "p99": "p99",
               "ratio_p50": "ratio p50", "bulk_read_ratio": "home", "prefetch_ratio": "prefetch", "growing_ratio": "growing",
               "bulk_write_ratio": "write-back", "sponsor_cpu_us_per_page": "sponsor us/fault",
               "sponsor_cpu_us_per_bulk_page": "us/bulk page", "sponsor_idle_us_per_s": "idle us/s"}
    shown = [{**row, "floor": row["floor_us"]["p50"], "wire": row["wire_us"]["p50"], "heca": row["heca_us"]["p50"],
              "p99": row["heca_us"]["p99"]} for row in result["rows"]]
    lines = [rows_as_table(shown, columns), ""]
    for device, raw in result["raw"].items():
        for tool in ("ib_read_bw", "ib_write_bw"):
            sizes = ", ".join(f"{size} B {rate:.0f}" for size, rate in raw[tool]["by_size"].items())
            lines.append(f"{device} {tool} MB/s: {sizes}; iperf3 {raw['iperf3']:.0f}")
    lines.append("to reach: ratio p50 = heca / (floor + wire) at most 1.3; home and write-back at least 0.8 of perftest's best "
                 "size (TCP: of iperf3)\nan emulated CPU whose clock counts instructions: only ratios mean something")
    return "\n".join(lines)
