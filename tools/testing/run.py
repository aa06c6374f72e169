# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/test: runs tiers, cheapest first, and closes with one line of counts."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from results import Results
from tiers import LOGS, TIERS, BuildFailed


def run_tier(name: str) -> Results:
    tier = TIERS[name]
    print(f"\n== {name}: needs {tier.needs}", flush=True)
    began = time.monotonic()
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
    print(f"== {name}: {time.monotonic() - began:.0f} s: {results.line()}", flush=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/test", formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="tiers:\n" + "\n".join(f"  {name:16} needs {tier.needs}"
                                                                   for name, tier in TIERS.items()))
    parser.add_argument("tier", nargs="*", help="default: all but long and its parts")
    chosen = parser.parse_args().tier or [name for name in TIERS if not name.startswith("long")]
    unknown = [name for name in chosen if name not in TIERS]
    if unknown:
        parser.error(f"no tier {', '.join(unknown)}; there are: {', '.join(TIERS)}")
    LOGS.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    total = Results()
    for name in chosen:
        total.add(run_tier(name))
    print(f"\nall of {', '.join(chosen)} in {time.monotonic() - began:.0f} s; logs in build/test")
    print(total.line())
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
