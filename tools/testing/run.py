# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/test: runs tiers, cheapest first, and closes with one line of counts."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import traceback

from results import Results
from tiers import DEVICE_VARIABLE, LOGS, TIERS, BuildFailed, build_seconds, why_not_device


class BuildsAhead:
    """What later tiers need is built behind those that mostly wait. Failures are not told here: the tier that needs the build
    makes it again, and tells."""

    def __init__(self, chosen: list[str]) -> None:
        self._left = [TIERS[name].ahead for name in chosen if TIERS[name].ahead]
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        if self._left and not self._thread:
            self._thread = threading.Thread(target=self._build, daemon=True)
            self._thread.start()

    def _build(self) -> None:
        for ahead in self._left:
            try:
                ahead()
            except BuildFailed:
                pass

    def wait(self) -> None:
        """Two builds of one directory at once would spoil it."""
        if self._thread:
            self._thread.join()


def run_tier(name: str) -> Results:
    tier = TIERS[name]
    print(f"\n== {name}: needs {tier.needs}", flush=True)
    began = time.monotonic()
    build_seconds.clear()
    try:
        results = tier.run()
    except BuildFailed as failure:
        print(failure)
        results = Results(failures=[f"{name}: the build failed"])
    except Exception:  # a tier that cannot run is a failure, and the others still run
        traceback.print_exc()
        results = Results(failures=[f"{name}: could not be run"])
    for failure_text in results.failures:
        print(f"   failed: {failure_text}")
    for skip in results.skip_lines():
        print(f"   {skip}")
    built = f", {sum(build_seconds):.0f} s of them building" if sum(build_seconds) > 1 else ""
    print(f"== {name}: {time.monotonic() - began:.0f} s{built}: {results.line()}", flush=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/test", formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="tiers:\n" + "\n".join(f"  {name:16} needs {tier.needs}"
                                                                   for name, tier in TIERS.items()))
    parser.add_argument("tier", nargs="*", help="default: all but long, its parts, and those of OpenStack and RDMA")
    parser.add_argument("--ci", action="store_true", help="by default those of OpenStack and RDMA too")
    parser.add_argument("--device", metavar="NAME", help="the RDMA device of tier rdma (mlx5_0)")
    given = parser.parse_args()
    chosen = given.tier or [name for name, tier in TIERS.items() if not tier.by_name or (given.ci and tier.in_ci)]
    unknown = [name for name in chosen if name not in TIERS]
    if unknown:
        parser.error(f"no tier {', '.join(unknown)}; there are: {', '.join(TIERS)}")
    if "rdma" in chosen:
        problem = why_not_device(given.device)
        if problem:
            parser.error(problem)
        os.environ[DEVICE_VARIABLE] = given.device
    elif given.device is not None:
        parser.error("--device is for tier rdma")
    LOGS.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    total = Results()
    ahead = BuildsAhead(chosen)
    for name in chosen:
        if TIERS[name].mostly_waits:
            ahead.begin()
        if TIERS[name].ahead:
            ahead.wait()
        total.add(run_tier(name))
    ahead.wait()
    print(f"\nall of {', '.join(chosen)} in {time.monotonic() - began:.0f} s; logs in build/test")
    print(total.line())
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
