# SPDX-License-Identifier: LGPL-2.1-or-later
"""A benchmark that is one program: `PROGRAM PAGES FILE` prints its own table and writes its own JSON."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from lab.deadline import LabError
from lab.paths import binary


class Native:
    def __init__(self, name: str, program: str, summary: str) -> None:
        self.name, self.program, self.SUMMARY = name, program, summary
        self.text = ""

    def run(self, quick: bool) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "result.json"
            done = subprocess.run([str(binary(self.program)), "2048" if quick else "16384", str(file)],
                                  capture_output=True, text=True, timeout=1800)
            if done.returncode != 0:
                raise LabError(f"{self.program}: exit {done.returncode}: {done.stderr}")
            self.text = done.stdout
            result: dict[str, Any] = json.loads(file.read_text())
            return result

    def table(self, result: dict[str, Any]) -> str:
        return self.text
