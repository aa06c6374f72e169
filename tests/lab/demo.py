# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job, to watch: a stock QEMU guest of 1 GiB at 256 MiB, through a crash of hecad and a change of its limit.

Prints a table of what happened and writes build/demo/summary.json. Ends with 1 if a single byte was wrong.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from lab.bench import Bench
from lab.deadline import LabError
from lab.hardship import MIB
from lab.paths import ROOT
from lab.qemu import Qemu

GUEST_MIB, VERIFIED_MIB, LOCAL_MIB, SMALLER_MIB = 1024, 800, 256, 192
REGION = "demo"


class Story:
    """Rows of the table; each says what was done, how long it took and what the guest did meanwhile."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._began = time.monotonic()

    def tell(self, what: str, seconds: float, guest: Qemu | None, note: str = "") -> None:
        ticks = guest.guest.ticks() if guest else []
        row = {"at_s": round(time.monotonic() - self._began, 1), "what": what, "took_s": round(seconds, 3),
               "resident_mib": guest.resident_bytes() // MIB if guest else None,
               "verified": ticks[-1].verified if ticks else 0, "errors": ticks[-1].errors if ticks else 0,
               "note": note}
        self.rows.append(row)
        print(f"{row['at_s']:7.1f}  {what:44} {seconds:8.2f}  {row['resident_mib'] or '':>8}  {row['verified']:>10}  "
              f"{row['errors']:>6}  {note}", flush=True)

    @staticmethod
    def heading() -> None:
        print(f"{'at s':>7}  {'what':44} {'took s':>8}  {'here MiB':>8}  {'verified':>10}  {'errors':>6}")


def rate_over(guest: Qemu, seconds: int) -> tuple[float, int]:
    """Verifications a second, and the longest gap in ms, over so many ticks."""
    ticks = guest.guest.wait_ticks(seconds, seconds * 3 + 60)
    guest.guest.check()
    return (ticks[-1].verified - ticks[0].verified) / max(1, len(ticks) - 1), max(tick.max_gap_ms for tick in ticks)


def run(bench: Bench, story: Story) -> dict[str, Any]:
    began = time.monotonic()
    sponsor = bench.sponsor("1536MiB")
    compute = bench.compute(sponsor)
    story.tell("two hecads are up, one lends 1.5 GiB", time.monotonic() - began, None)

    began = time.monotonic()
    guest = bench.qemu(mib=GUEST_MIB, sandbox=True, user="libvirt-qemu",
                       workload={"mib": VERIFIED_MIB, "threads": 2, "rate": 20000})
    guest.guest.wait_ready()
    story.tell(f"guest of {GUEST_MIB} MiB booted, verifies {VERIFIED_MIB} MiB", time.monotonic() - began, guest)
    alone, _ = rate_over(guest, 5)
    story.tell("ran alone", 5, guest, f"{alone:.0f} verified/s")

    began = time.monotonic()
    compute.attach(guest.pid, REGION, f"{LOCAL_MIB}MiB", qmp=guest.heca_qmp)
    compute.wait_resident_below(REGION, LOCAL_MIB * MIB)
    stop_us = int(compute.region(REGION).get("capture_stop_ns", 0)) // 1000
    story.tell(f"attached, {LOCAL_MIB} MiB stay here", time.monotonic() - began, guest, f"guest stopped {stop_us} us")
    governed, gap = rate_over(guest, 15)
    story.tell("ran governed", 15, guest, f"{governed:.0f} verified/s, longest gap {gap} ms")

    began = time.monotonic()
    compute.kill()
    compute.start()
    compute.wait_active(REGION)
    restart = time.monotonic() - began
    _, crash_gap = rate_over(guest, 10)
    story.tell("hecad killed (SIGKILL), restarted, ran on", restart, guest, f"longest gap {crash_gap} ms")

    began = time.monotonic()
    compute.limit(REGION, f"{SMALLER_MIB}MiB")
    compute.wait_resident_below(REGION, SMALLER_MIB * MIB)
    shrink = time.monotonic() - began
    smaller, _ = rate_over(guest, 15)
    story.tell(f"limit lowered to {SMALLER_MIB} MiB, ran on", shrink, guest, f"{smaller:.0f} verified/s")

    began = time.monotonic()
    compute.detach(REGION)
    detach = time.monotonic() - began
    story.tell("detached: all pages are home", detach, guest)
    compute.terminate()
    sponsor.terminate()
    rate_over(guest, 5)
    errors = guest.guest.verify()
    story.tell("both hecads gone, guest looked at every page", 0, guest, f"{errors} wrong pages")
    return {"errors": errors, "guest_mib": GUEST_MIB, "verified_mib": VERIFIED_MIB, "local_mib": LOCAL_MIB,
            "attach_stop_us": stop_us, "restart_s": round(restart, 3), "detach_s": round(detach, 3),
            "verified_per_s": {"alone": round(alone), "governed": round(governed), "smaller": round(smaller)},
            "longest_gap_ms": {"governed": gap, "over_the_crash": crash_gap}}


def main() -> int:
    out = ROOT / "build" / "demo"
    out.mkdir(parents=True, exist_ok=True)
    bench, story = Bench("demo"), Story()
    story.heading()
    summary: dict[str, Any] = {}
    try:
        summary = run(bench, story)
        summary["ok"] = summary["errors"] == 0
    except LabError as error:
        summary = {"ok": False, "error": str(error)}
        print(f"failed: {error}", file=sys.stderr)
    finally:
        bench.close()
    summary["rows"] = story.rows
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\n{'no byte was wrong' if summary['ok'] else 'NOT GOOD'}; summary in build/demo/summary.json, "
          "logs in build/lab/run/demo")
    return 0 if summary["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
