# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process in a machine whose memory is governed by one hecad there and lent by another."""

from __future__ import annotations

import json
import re
from typing import Any

from lab.deadline import LabError
from lab.machine import Machine


class GovernedProcess:
    """Two hecads and a self-verifying process in a machine; words for what a test does with them. Pages travel between the
    hecads by the machine's address `host` and what `options` say of it."""

    def __init__(self, machine: Machine, mib: int, host: str = "127.0.0.1", options: str = "") -> None:
        self.machine, self._host, self._options = machine, host, options
        machine.run("mkdir -p /run/s /run/c && mkfifo /tmp/verifier.in")
        self.start_sponsor()
        self.start_compute()
        self.pid = machine.start(f"memverify mib={mib} threads=3 slices=1 rate=2000 file=/dev/shm/verified "
                                 "<>/tmp/verifier.in", "/tmp/verifier.log")
        machine.wait("grep -q 'MEMVERIFY tick=1 ' /tmp/verifier.log", 60)

    def start_sponsor(self) -> None:
        self.sponsor = self.machine.start(
            f"hecad --name s --compute off --donate 400MiB --metrics-listen off --run-dir /run/s "
            f"--socket /run/s/hecad.sock --slab-dir /dev/shm --control-listen {self._host}:7300 "
            f"--data-listen {self._host}:7301 {self._options}", "/tmp/s.log")

    def start_compute(self, fail: str = "") -> None:
        self.compute = self.machine.start(
            f"HECA_FAIL={fail} hecad --name c --peer s={self._host}:7300 --metrics-listen off --run-dir /run/c "
            f"--socket /run/c/hecad.sock --slab-dir /dev/shm/c --control-listen {self._host}:7310 "
            f"--data-listen {self._host}:7311 {self._options}", "/tmp/c.log")
        try:
            self.machine.wait("hecactl --socket /run/c/hecad.sock status", 60)
        except LabError as error:
            raise LabError(f"{error}; it said:\n{self.machine.attempt('tail -n 20 /tmp/c.log')[1]}") from error

    def crash(self, fail: str = "") -> None:
        """The next hecad has that fail point armed."""
        self._kill(self.compute)
        self.start_compute(fail)
        self.goes_on()

    def sponsor_crash(self) -> None:
        self._kill(self.sponsor)
        self.start_sponsor()
        self.goes_on()

    def told(self, options: str) -> None:
        """Both hecads anew, with other options."""
        self._options = options
        self.crash()
        self.sponsor_crash()

    def _kill(self, pid: int) -> None:
        self.machine.run(f"kill -9 {pid}")
        self.machine.wait(f"! grep -q hecad /proc/{pid}/cmdline", 20)

    def hecactl(self, arguments: str, seconds: float = 60) -> Any:
        said = self.machine.run(f"hecactl --socket /run/c/hecad.sock --json {arguments} 2>/tmp/error "
                                "|| { cat /tmp/error; exit 1; }", seconds)
        return json.loads(said)

    def goes_on(self) -> None:
        """More ticks with progress, and no error in any."""
        last = "grep tick= /tmp/verifier.log | tail -n 1 | sed 's/.*verified=//; s/ .*//'"
        before = int(self.machine.run(last))
        self.machine.wait(f"[ $({last}) -gt {before} ]", 60)
        self.machine.run("! grep -E 'MEMVERIFY (ERROR|FATAL)' /tmp/verifier.log")

    def verify(self) -> int:
        """Every cell is looked at; how many errors there were since the start."""
        before = int(self.machine.attempt("grep -c FINAL /tmp/verifier.log")[1])
        self.machine.run("echo verify >/tmp/verifier.in")
        self.machine.wait(f"[ $(grep -c FINAL /tmp/verifier.log) -gt {before} ]", 120)
        found = re.findall(r"FINAL errors=(\d+)", self.machine.run("grep FINAL /tmp/verifier.log"))
        return int(found[-1])
