# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs under test, from HECA_BUILD or build/dev."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HECA_BUILD", ROOT / "build/dev"))
SECONDS = 20  # no call takes longer


def program(name: str) -> str:
    path = BUILD / name
    if not path.exists():
        pytest.skip(f"{path} is not built")
    return str(path)


@contextmanager
def fake_hecad(socket: Path, *words: str) -> Iterator[None]:
    """A hecad that governs nothing (tests/programs/fake_hecad.cc says what the words do)."""
    process = subprocess.Popen(
        [program("fake_hecad"), str(socket), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.stdin.close()
        process.wait(SECONDS)
        process.stdout.close()
