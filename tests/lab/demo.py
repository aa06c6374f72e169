# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job, to watch: a stock QEMU guest of 1 GiB at 256 MiB, through a crash of hecad and a change of its limit.

Prints a table of what happened and writes build/demo/summary.json. Ends with 1 if a single byte was wrong.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from lab.bench import Bench
from lab.story import MIB, Story, perform, rate_over

GUEST_MIB, VERIFIED_MIB, LOCAL_MIB, SMALLER_MIB = 1024, 800, 256, 192
REGION = "demo"


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


if __name__ == "__main__":
    sys.exit(perform("demo", "summary.json", run))
