# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of the cloud on a host: a daemon that runs until it is closed, a job that ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.deadline import LabError
from lab.host import Host
from lab.processes import spawn, stop, tail


class Program:
    """Starts at once; what it says is appended to `log`. It is killed when the thread that made it ends."""

    def __init__(self, name: str, host: Host, command: Sequence[str], log: Path,
                 environment: Mapping[str, str] | None = None) -> None:
        self.name, self.log = name, log
        with log.open("ab") as out:
            self._process = spawn(host.inside(command), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  env={**os.environ, "PYTHONWARNINGS": "ignore", **(environment or {})})

    @property
    def pid(self) -> int:
        return self._process.pid


class Daemon(Program):
    def alive_or_raise(self) -> None:
        code = self._process.poll()
        if code is not None:
            raise LabError(f"{self.name} ended with {code}:\n{tail(self.log)}")

    def close(self, grace: float = 5) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds. Twice is fine."""
        stop(self._process, grace)

    def freeze(self) -> None:
        """It does nothing any more, not even end, until it is killed."""
        os.kill(self.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """As a crash."""
        stop(self._process)


class Job(Program):
    def __init__(self, name: str, host: Host, command: Sequence[str], log: Path,
                 environment: Mapping[str, str] | None = None) -> None:
        super().__init__(name, host, command, log, environment)
        self._began = time.monotonic()

    def wait(self, seconds: float) -> None:
        """Until it has ended well; `seconds` count from its start."""
        try:
            code = self._process.wait(max(0.1, self._began + seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            stop(self._process)
            raise LabError(f"{self.name}: not done within {seconds:g} s:\n{tail(self.log)}") from None
        if code != 0:
            raise LabError(f"{self.name}: exit {code}:\n{tail(self.log)}")
