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

from programs import BUILD, SECONDS, program  # noqa: E402

PACKAGE = BUILD / "python"
sys.path.insert(0, str(PACKAGE))
BUILT = any((PACKAGE / "heca").glob("_core*.so"))

# What is not built is skipped: test_built.py says so.
collect_ignore_glob = [] if BUILT else ["test_[!b]*.py"]


class Fake:
    """A hecad that governs nothing (tests/programs/fake_hecad.cc says what its words do)."""

    def __init__(self, socket: Path, *words: str) -> None:
        self.socket = socket
        self.process = subprocess.Popen(
            [program("fake_hecad"), str(socket), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def stop_answering(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(SECONDS)
        self.process.stdout.close()


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
