# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel setting for the length of a test."""

from __future__ import annotations

from pathlib import Path


class Sysctl:
    def __init__(self, path: Path, value: int) -> None:
        self._path, self._before = path, path.read_text()
        path.write_text(str(value))

    def close(self) -> None:
        self._path.write_text(self._before)
