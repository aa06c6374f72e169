# SPDX-License-Identifier: Apache-2.0
"""Runs Nova's own unit tests of its libvirt driver twice, side by side, with LibvirtDriver and with HecaLibvirtDriver in its
place, and compares: what passes for the parent has to pass for us.

    python -m tests.nova_own.compare [--why] [PATTERN]

The tests are those of the Nova that is installed (Debian's package and PyPI's wheel both have them). Servers in them have no
heca: specs, and there is no hecad: this shows that ordinary servers are LibvirtDriver's, to the letter. Exit code 1: a test
that is not in EXCEPTIONS fails for us only. PATTERN: only tests with that in their names.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# Ends of test ids, each with its reason.
EXCEPTIONS: dict[str, str] = {}

PLUGIN = Path(__file__).resolve().parents[2]
LIMIT_S = 3600


def run(directory: Path, pattern: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Outcomes of the parent and ours."""
    started = []
    for how in ("keep", "swap"):
        log = (directory / f"{how}.log").open("wb")
        started.append(subprocess.Popen([sys.executable, "-W", "ignore", "-m", "tests.nova_own.run",
                                         str(directory / how), how, *pattern], cwd=PLUGIN, stdout=log,
                                        stderr=subprocess.STDOUT))
    try:
        for process in started:
            process.wait(LIMIT_S)
    finally:
        for process in started:
            process.kill()
    found = []
    for how in ("keep", "swap"):
        if not (directory / how).exists():
            raise SystemExit((directory / f"{how}.log").read_text(encoding="utf-8", errors="replace")[-4000:])
        found.append(json.loads((directory / how).read_text(encoding="utf-8")))
    return found[0], found[1]


def count(seen: dict[str, str]) -> str:
    return ", ".join(f"{sum(o == word for o in seen.values())} {word}" for word in ("passed", "failed", "skipped"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--why", action="store_true", help="print how they failed")
    parser.add_argument("pattern", nargs="*")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        parent, ours = run(Path(directory), arguments.pattern)
    print(f"LibvirtDriver:     {count(parent['seen'])}\nHecaLibvirtDriver: {count(ours['seen'])}")
    if not parent["seen"]:
        raise SystemExit("no test has run")
    worse = sorted(test for test, outcome in parent["seen"].items()
                   if outcome == "passed" and ours["seen"].get(test) != "passed")
    unexcused = 0
    for test in worse:
        reason = next((why for end, why in EXCEPTIONS.items() if test.endswith(end)), None)
        unexcused += reason is None
        print(f"{'excepted' if reason else 'WORSE'}: {test}{': ' + reason if reason else ''}")
        if arguments.why:
            print(ours["why"].get(test, ours["seen"].get(test, "has not run")))
    print(f"{unexcused} pass for the parent only, {len(worse) - unexcused} more are excepted")
    return 1 if unexcused else 0


if __name__ == "__main__":
    sys.exit(main())
