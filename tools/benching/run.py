# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/bench: runs benchmarks, keeps their numbers in build/bench/NAME.json, prints them as tables and draws some."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RELEASE = ROOT / "build" / "release"
RESULTS = ROOT / "build" / "bench"
os.environ["HECA_BUILD"] = str(RELEASE)
sys.path.insert(0, str(ROOT / "tests"))

import aggregate  # noqa: E402  (the lab package is found by the path above)
import bulk  # noqa: E402
import fault  # noqa: E402
import migrate  # noqa: E402
import native  # noqa: E402
import rdma  # noqa: E402
import scale  # noqa: E402
from machine import describe  # noqa: E402

BENCHMARKS = {
    "fault": fault, "bulk": bulk, "aggregate": aggregate, "scale": scale, "migrate": migrate, "rdma": rdma,
    "policy": native.Native("policy", "bench_policy", "miss rates of eviction policies on recorded traces"),
}


def build() -> None:
    for command in (["cmake", "--preset", "release"], ["cmake", "--build", "--preset", "release"]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-4000:]}")


def draw(name: str, result: dict[str, Any]) -> None:
    """Pictures beside the numbers, where the benchmark has some."""
    pictures = getattr(BENCHMARKS[name], "pictures", None)
    for file, content in (pictures(result) if pictures else {}).items():
        (RESULTS / file).write_text(content)
        if file.endswith(".html"):
            print(f"drawn: {(RESULTS / file).relative_to(ROOT)}", flush=True)


def main() -> int:
    names = "\n".join(f"  {name:10} {part.SUMMARY}" for name, part in BENCHMARKS.items())
    parser = argparse.ArgumentParser(prog="tools/bench", formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog=f"benchmarks:\n{names}\n\nnumbers go to build/bench/NAME.json, "
                                            "pictures of migrate beside them (migrate.html)")
    parser.add_argument("name", nargs="+", choices=[*BENCHMARKS, "all"])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes, for a look; not for figures")
    parser.add_argument("--no-build", action="store_true", help="use build/release as it is")
    parser.add_argument("--draw", action="store_true", help="measure nothing: draw what was measured before")
    arguments = parser.parse_args()
    chosen = list(BENCHMARKS) if "all" in arguments.name else arguments.name
    if arguments.draw:
        for name in chosen:
            draw(name, json.loads((RESULTS / f"{name}.json").read_text()))
        return 0
    if not arguments.no_build:
        build()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        begin = time.monotonic()
        result = BENCHMARKS[name].run(arguments.quick)
        result = {"benchmark": name, "quick": arguments.quick, "machine": describe(), **result}
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(f"\n== {name} ({time.monotonic() - begin:.0f} s; {result['machine']})\n{BENCHMARKS[name].table(result)}",
              flush=True)
        draw(name, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
