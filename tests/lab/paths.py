# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where things lie. HECA_BUILD chooses the build that is tested (default build/dev)."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HECA_BUILD", ROOT / "build" / "dev")).resolve()
LAB = ROOT / "build" / "lab"
CACHE = LAB / "cache"
GUEST_SOURCES = ROOT / "tests" / "lab" / "guest"


def binary(name: str) -> Path:
    """A program of the build under test, wherever CMake put it; it need not exist."""
    for place in (BUILD / name, BUILD / "tests" / "bench" / name, BUILD / "tests" / "integration" / name):
        if place.exists():
            return place
    return BUILD / name
