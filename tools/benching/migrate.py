# SPDX-License-Identifier: LGPL-2.1-or-later
"""Live migration between two QEMUs on this machine: QEMU's own modes beside ours, the same guest, the same boundary.

total:   from QMP's `migrate` (ours: the hecactl call, which begins a little earlier) until nothing is left at the source.
gap:     the source's STOP to the destination's RESUME, by QEMU's own time stamps.
bytes:   what QEMU counts as transferred, ours: pages copied and device state left out (under 1 MB).
requests: pages that the destination asked for; request p50, p99: ours only, QEMU does not tell.
hybrid:  QEMU changes over after it has gone through its memory once; ours by itself.
blocked: how long the vCPUs waited for pages, added up. QEMU: by the capability postcopy-blocktime; ours: vcpu_blocked_ms.
         Pre-copy has none.
work:    operations of the guest's workload a second, over the migration and two seconds more, against before.
errors:  what the guest finds wrong when it looks at all of its memory afterwards.
QEMU runs as root under TCG with max-bandwidth out of the way and a downtime limit of 300 ms. A mode that does not converge
within its time is ended and has no figures. Idle CPUs are kept awake (idle_cpus.py).
"""

from __future__ import annotations

import time
from typing import Any

from idle_cpus import AwakeCpus
from lab.bench import Bench
from lab.deadline import LabError
from lab.hecad import CommandFailed
from lab.qemu import Qemu
from machine import rows_as_table
from migrate_charts import files

SUMMARY = "total time, gap, bytes and page requests of a live migration, beside QEMU's own modes"
SECONDS = 90
TIMED_OUT = 5  # hecactl(1)
# Operations a second of each of two threads, and what they dirty, one page each.
RATES = {"0": 1, "100": 12800, "max": 0}
QEMU_MODES = ["pre-copy", "post-copy", "post-copy-preempt", "hybrid"]
HECA_MODES = ["post-copy", "hybrid", "pre-copy"]


def capabilities(qemu: Qemu, names: list[str]) -> None:
    qemu.qmp.execute("migrate-set-capabilities",
                     capabilities=[{"capability": name, "state": True} for name in ["events", *names]])


def moment(qemu: Qemu, name: str) -> float:
    """When QEMU said so, in seconds."""
    while (event := qemu.qmp.next_event(1)) is not None:
        if event["event"] == name:
            stamp = event["timestamp"]
            return float(stamp["seconds"]) + float(stamp["microseconds"]) / 1e6
    raise LabError(f"{qemu.name} never said {name}")


def blocked_ms(info: dict[str, Any]) -> float | None:
    """Of the destination's query-migrate: its vCPUs' waits, added up; None where QEMU does not tell."""
    waits = info.get("postcopy-vcpu-blocktime")
    return None if waits is None else float(sum(waits))


def by_qemu(source: Qemu, destination: Qemu, mode: str) -> dict[str, Any]:
    extra = {"pre-copy": [], "post-copy": ["postcopy-ram"], "post-copy-preempt": ["postcopy-ram", "postcopy-preempt"],
             "hybrid": ["postcopy-ram"]}[mode]
    for qemu in (source, destination):
        capabilities(qemu, extra)
        qemu.qmp.execute("migrate-set-parameters", max_bandwidth=16 << 30, downtime_limit=300)
    if mode != "pre-copy":
        capabilities(destination, ["postcopy-blocktime"])
    destination.qmp.execute("migrate-incoming", uri=destination.incoming_uri)
    began = time.monotonic()
    source.qmp.execute("migrate", uri=destination.incoming_uri)
    if mode != "pre-copy":
        # hybrid: once it has gone through all of the memory
        while ((info := source.qmp.execute("query-migrate")).get("status") != "active"
               or (mode == "hybrid" and info["ram"]["dirty-sync-count"] < 2)):
            time.sleep(0.002)
        source.qmp.execute("migrate-start-postcopy")
    while (status := source.qmp.execute("query-migrate"))["status"] != "completed":
        if status["status"] in ("failed", "cancelled"):
            raise LabError(f"QEMU's {mode}: {status}")
        if time.monotonic() - began > SECONDS:
            source.qmp.execute("migrate_cancel")
            return {"total_ms": None}
        time.sleep(0.005)
    return {"total_ms": (time.monotonic() - began) * 1000, "bytes": status["ram"]["transferred"],
            "requests": status["ram"].get("postcopy-requests"),
            "blocked_ms": blocked_ms(destination.qmp.execute("query-migrate"))}


def by_heca(bench: Bench, source: Qemu, destination: Qemu, mode: str) -> dict[str, Any]:
    there = bench.compute(name="there", log_level="info")
    here = bench.compute(there, name="here", log_level="info")
    try:
        summary = here.migrate(source, destination, "there", "--mode", mode, "--timeout", str(SECONDS))
    except CommandFailed as failure:
        if failure.code != TIMED_OUT:
            raise
        return {"total_ms": None}
    return {"total_ms": summary["total_ms"], "bytes": summary["moved_bytes"], "requests": summary["faults"],
            "blocked_ms": None if summary["vcpu_blocked_ms"] is None else sum(summary["vcpu_blocked_ms"]),
            "request_us": {"p50": summary["fault_p50_ns"] / 1000, "p99": summary["fault_p99_ns"] / 1000}}


def one(system: str, mode: str, ram_mib: int, dirty: str) -> dict[str, Any]:
    bench = Bench("bench-migrate")
    row: dict[str, Any] = {"system": system, "mode": mode, "ram_mib": ram_mib, "dirty_mbps": dirty}
    try:
        options: dict[str, Any] = {"mib": ram_mib, "workload": {"mib": ram_mib * 6 // 10, "threads": 2,
                                                                "rate": RATES[dirty]}}
        source = bench.qemu("source", **options)
        source.guest.wait_ready(180)
        destination = bench.qemu("destination", incoming=True, **options)
        before = source.guest.wait_ticks(3, 60)
        alone = (before[-1].operations - before[0].operations) / (len(before) - 1)
        row.update(by_heca(bench, source, destination, mode) if system == "heca" else by_qemu(source, destination, mode))
        if row["total_ms"] is None:
            return row
        row["gap_ms"] = (moment(destination, "RESUME") - moment(source, "STOP")) * 1000
        after = destination.guest.wait_ticks(3, 60)
        row["work"] = (after[-1].operations - before[-1].operations) / max(1, after[-1].number - before[-1].number) / alone
        row["errors"] = destination.guest.verify()
        return row
    finally:
        bench.close()


def run(quick: bool) -> dict[str, Any]:
    sizes = [512] if quick else [512, 1024, 2048]
    systems = [*(("qemu", mode) for mode in QEMU_MODES), *(("heca", mode) for mode in HECA_MODES)]
    with AwakeCpus():
        rows = [one(system, mode, ram_mib, dirty) for ram_mib in sizes for dirty in RATES for system, mode in systems]
    return {"boundary": __doc__, "rows": rows}


def table(result: dict[str, Any]) -> str:
    rows = [{**row, "p50": row.get("request_us", {}).get("p50"), "p99": row.get("request_us", {}).get("p99"),
             "mb": row["bytes"] / 1e6 if row.get("bytes") is not None else None} for row in result["rows"]]
    return rows_as_table(rows, {
        "system": "system", "mode": "mode", "ram_mib": "RAM MiB", "dirty_mbps": "dirty MB/s", "total_ms": "total ms",
        "gap_ms": "gap ms", "mb": "MB", "requests": "requests", "p50": "request p50 us", "p99": "p99 us",
        "blocked_ms": "blocked ms", "work": "work", "errors": "errors"})


def pictures(result: dict[str, Any]) -> dict[str, str]:
    return files(result)
