# SPDX-License-Identifier: LGPL-2.1-or-later
"""The package heca of the build under test, and a hecad that plays one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from played_hecad import Fake  # noqa: E402
from programs import BUILD  # noqa: E402

PACKAGE = BUILD / "python"
sys.path.insert(0, str(PACKAGE))
BUILT = any((PACKAGE / "heca").glob("_core*.so"))

# What is not built is skipped: test_built.py says so.
collect_ignore_glob = [] if BUILT else ["test_[!b]*.py"]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Callable[..., Fake]]:
    """Starts one by its words; ended after the test."""
    started: list[Fake] = []

    def start(*words: str) -> Fake:
        started.append(Fake(tmp_path / f"hecad-{len(started)}.sock", *words))
        return started[-1]

    try:
        yield start
    finally:
        for one in started:
            one.close()


@pytest.fixture
def script() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a Python program that has heca; killed after the test, if it is still there."""
    started: list[subprocess.Popen[str]] = []

    def start(text: str, *arguments: object) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-W", "error::ResourceWarning", "-c", text, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(PACKAGE)},
                # Ignored where the tests run in the background of a shell, and Python then leaves it so.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        )
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.communicate()
