# SPDX-License-Identifier: Apache-2.0
"""Runs Nova's own unit tests of its libvirt driver twice, with LibvirtDriver and with HecaLibvirtDriver in its place, and
compares: what passes for the parent has to pass for us.

    python -m tests.nova_own.compare [--workers 2] [PYTEST ARGUMENTS...]

The tests are those of the Nova that is installed (Debian's package and PyPI's wheel both have them). Servers in them have
no heca: specs, and there is no hecad: this shows that ordinary servers are LibvirtDriver's, to the letter. Exit code 1: a
test that is not in EXCEPTIONS fails for us only. Ten minutes each on two CPUs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MODULES = ["nova.tests.unit.virt.libvirt.test_driver", "nova.tests.unit.virt.test_virt_drivers",
           "nova.tests.unit.virt.libvirt.test_migration", "nova.tests.unit.virt.libvirt.volume"]

# Ends of node ids, each with its reason.
EXCEPTIONS: dict[str, str] = {}

PLUGIN = Path(__file__).resolve().parents[2]
LIMIT_S = 3600


def files() -> list[str]:
    import importlib.util

    found = []
    for name in MODULES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise SystemExit(f"{name} is not installed: take a Nova that brings its tests")
        path = Path(spec.origin)
        found.append(str(path.parent if path.name == "__init__.py" else path))
    return found


def outcomes(swap: bool, workers: int, more: list[str]) -> dict[str, str]:
    """By node id; the worst of a test's phases."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "outcomes"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.nova_own.swap", "-p",
                   "no:cacheprovider", "-c", os.devnull, "--rootdir", directory, "--import-mode=importlib", *more, *files()]
        if workers > 1:
            command[3:3] = ["-n", str(workers)]
        done = subprocess.run(command, cwd=PLUGIN, timeout=LIMIT_S, check=False, stdout=subprocess.DEVNULL,
                              env={**os.environ, "HECA_SWAP": "1" if swap else "0", "HECA_OUTCOMES": str(file)})
        if not file.exists():
            raise SystemExit(f"pytest ran no test (exit code {done.returncode}): {' '.join(command)}")
        seen: dict[str, str] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            outcome, _, node = line.partition(" ")
            if seen.get(node) != "failed":
                seen[node] = outcome
        return seen


def count(seen: dict[str, str]) -> str:
    return ", ".join(f"{sum(o == word for o in seen.values())} {word}" for word in ("passed", "failed", "skipped"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    arguments, more = parser.parse_known_args()
    parent = outcomes(False, arguments.workers, more)
    print(f"LibvirtDriver:     {count(parent)}", flush=True)
    ours = outcomes(True, arguments.workers, more)
    print(f"HecaLibvirtDriver: {count(ours)}", flush=True)
    worse = sorted(node for node, outcome in parent.items() if outcome == "passed" and ours.get(node) != "passed")
    excused = [node for node in worse if any(node.endswith(end) for end in EXCEPTIONS)]
    for node in worse:
        reason = next((why for end, why in EXCEPTIONS.items() if node.endswith(end)), None)
        print(f"{'excepted' if reason else 'WORSE'}: {node}{': ' + reason if reason else ''}")
    print(f"{len(worse) - len(excused)} pass for the parent only, {len(excused)} more are excepted")
    return 1 if len(worse) > len(excused) else 0


if __name__ == "__main__":
    sys.exit(main())
