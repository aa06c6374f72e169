# SPDX-License-Identifier: LGPL-2.1-or-later
"""A child process that obeys lines: commands go to its stdin, answers to a log, its memory is a shared file."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.processes import spawn, stop


class CommandedProcess:
    """The program makes `file`; close() ends the program and removes it, and keeps `log`."""

    def __init__(self, command: Sequence[str], file: Path, log: Path, user: str | None = None) -> None:
        self.file, self.log = file, log
        self._out = log.open("wb")
        self.child: subprocess.Popen[bytes] = spawn(command, user, stdin=subprocess.PIPE, stdout=self._out,
                                                    stderr=subprocess.STDOUT)

    @property
    def pid(self) -> int:
        return self.child.pid

    def type(self, text: str) -> None:
        """Whole lines, each with its newline."""
        assert self.child.stdin is not None
        self.child.stdin.write(text.encode())
        self.child.stdin.flush()

    def close(self) -> None:
        stop(self.child)
        if self.child.stdin is not None:
            self.child.stdin.close()
        self._out.close()
        self.file.unlink(missing_ok=True)
