# SPDX-License-Identifier: LGPL-2.1-or-later
"""A hecad that plays one."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from programs import SECONDS, program


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
