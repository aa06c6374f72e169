# SPDX-License-Identifier: Apache-2.0
"""Runs Nova's own unit tests of its libvirt driver with HecaLibvirtDriver in place of LibvirtDriver, then those that do not
pass once more with LibvirtDriver: what passes for the parent has to pass for us.

    python -m tests.nova_own.compare [--why] [PATTERN...]

The tests are those of the Nova that is installed (Debian's package and PyPI's wheel both have them). Servers in them have no
heca: specs, and there is no hecad: this shows that ordinary servers are LibvirtDriver's, to the letter. Exit code 1: a test
that is not in EXCEPTIONS fails for us only. PATTERN: only tests with that in their names. 1500 tests, some minutes of CPU.
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
EXCEPTIONS: dict[str, str] = {
    ".LibvirtConnTestCase.test_public_api_signatures":
        "overrides take what a later Nova may add: (context, instance, *args, **kwargs)",
    ".VirtDriverLoaderTestCase.test_load_new_drivers": "compares the class's name",
}

PLUGIN = Path(__file__).resolve().parents[2]
LIMIT_S = 3600


def run(how: str, pattern: list[str]) -> dict[str, Any]:
    """What run.py found."""
    with tempfile.TemporaryDirectory() as directory:
        outcomes = Path(directory) / "outcomes"
        done = subprocess.run([sys.executable, "-W", "ignore", "-m", "tests.nova_own.run", str(outcomes), how, *pattern],
                              cwd=PLUGIN, timeout=LIMIT_S, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if not outcomes.exists():
            raise SystemExit(done.stdout.decode(errors="replace")[-4000:])
        return dict(json.loads(outcomes.read_text(encoding="utf-8")))


def count(seen: dict[str, str]) -> str:
    return ", ".join(f"{sum(o == word for o in seen.values())} {word}" for word in ("passed", "failed", "skipped"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--why", action="store_true", help="print how they failed")
    parser.add_argument("pattern", nargs="*")
    arguments = parser.parse_args()
    ours = run("swap", arguments.pattern)
    print(f"HecaLibvirtDriver: {count(ours['seen'])}; {ours['drivers']} drivers were made", flush=True)
    if "passed" not in ours["seen"].values() or not ours["drivers"]:
        raise SystemExit("nothing was tested")
    failed = {test for test, outcome in ours["seen"].items() if outcome != "passed"}
    parent = run("keep", sorted(failed)) if failed else {"seen": {}}
    worse = sorted(test for test in failed if parent["seen"].get(test) == "passed")
    print(f"of these pass with LibvirtDriver: {len(worse)}")
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
