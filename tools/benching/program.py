# SPDX-License-Identifier: LGPL-2.1-or-later
"""A benchmark's own C++ program: it says `ready PID`, works on a line from us, and answers in lines."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Sequence

from lab.deadline import LabError
from lab.paths import binary
from lab.processes import spawn, stop


class Program:
    """Closes its process and removes its memory file."""

    def __init__(self, name: str, file: Path, *arguments: str, prefix: Sequence[str] = ()) -> None:
        self.file = file
        self.process = spawn([*prefix, str(binary(name)), str(file), *arguments], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
        first = self.line().split()
        if len(first) != 2 or first[0] != "ready":
            raise LabError(f"{name} said {first}")
        self.pid = int(first[1])

    def line(self) -> str:
        assert self.process.stdout is not None
        text = self.process.stdout.readline().decode()
        if not text:
            raise LabError(f"{self.process.args}: ended with {self.process.wait(10)}")
        return text.strip()

    def say(self, text: str = "go") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())
        self.process.stdin.flush()

    def timed(self, what: str = "go") -> float:
        """One run; seconds as the program measured them."""
        self.say(what)
        return float(self.line().split()[1])

    def close(self) -> None:
        stop(self.process)
        self.file.unlink(missing_ok=True)
