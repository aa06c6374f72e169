# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two hecads in a machine, one of which governs a process there while the other lends the memory."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

from lab.deadline import LabError
from lab.machine import Console


def hecactl(machine: Console, socket: str, arguments: str, seconds: float = 60) -> Any:
    """The document that hecactl answers with in the machine."""
    return json.loads(machine.run(
        f"hecactl --socket {socket} --json {arguments} 2>/tmp/error || {{ cat /tmp/error; exit 1; }}", seconds))


def await_hecad(machine: Console, name: str) -> None:
    """Until it answers."""
    try:
        machine.wait(f"hecactl --socket /run/{name}/hecad.sock status", 60)
    except LabError as error:
        raise LabError(f"{error}; it said:\n{machine.attempt(f'tail -n 20 /tmp/{name}.log')[1]}") from error


class TwoHecads:
    """A compute host in a machine, and a sponsor there or in another one, the `lender`, given with its address. Pages travel
    between them by the machine's address `host` and by what `options` say of it."""

    def __init__(self, machine: Console, host: str = "127.0.0.1", options: str = "",
                 lender: tuple[Console, str] | None = None) -> None:
        self.machine, self._host, self._options = machine, host, options
        self._lender, self._lender_host = lender or (machine, host)
        machine.run("mkdir -p /run/c")
        self._lender.run("mkdir -p /run/s")
        self.start_sponsor()
        self.start_compute()

    def start_sponsor(self, fail: str = "", under: str = "") -> None:
        """`under` is a command that starts what stands behind it."""
        self.sponsor = self._lender.start(
            f"HECA_FAIL={fail} {under} hecad --name s --compute off --donate 400MiB --metrics-listen off --run-dir /run/s "
            f"--socket /run/s/hecad.sock --slab-dir /dev/shm --control-listen {self._lender_host}:7300 "
            f"--data-listen {self._lender_host}:7301 {self._options}", "/tmp/s.log")
        await_hecad(self._lender, "s")

    def start_compute(self, fail: str = "") -> None:
        self.compute = self.machine.start(
            f"HECA_FAIL={fail} hecad --name c --peer s={self._lender_host}:7300 --metrics-listen off --run-dir /run/c "
            f"--socket /run/c/hecad.sock --slab-dir /dev/shm/c --control-listen {self._host}:7310 "
            f"--data-listen {self._host}:7311 {self._options}", "/tmp/c.log")
        await_hecad(self.machine, "c")

    def kill_compute(self) -> None:
        kill(self.machine, self.compute)

    def kill_sponsor(self) -> None:
        kill(self._lender, self.sponsor)

    def hecactl(self, arguments: str, seconds: float = 60, end: str = "c") -> Any:
        """What the compute host says; with `end` s, the sponsor."""
        return hecactl(self.machine if end == "c" else self._lender, f"/run/{end}/hecad.sock", arguments, seconds)

    def detach_all(self) -> None:
        for region in self.hecactl("regions")["regions"]:
            self.hecactl(f"detach {region['name']}", 120)

    def connections(self, end: str = "c") -> list[dict[str, Any]]:
        """Each data connection to or from the other one."""
        return [one for node in self.hecactl("nodes", end=end)["nodes"] for one in node["connections"]]

    def explain(self) -> str:
        """What is known of them where something has not come."""
        threads = f"for t in /proc/{self.compute}/task/*; do cat $t/comm $t/wchan $t/syscall; echo; done"
        asked = [f"hecactl --socket /run/c/hecad.sock {words}" for words in ("regions", "nodes", "events")]
        here = [(self.machine, command) for command in ("tail -n 40 /tmp/c.log", *asked, threads)]
        return "\n".join(f"$ {command}\n{machine.attempt(f'timeout 10 sh -c {shlex.quote(command)}')[1]}"
                         for machine, command in [*here, (self._lender, "tail -n 40 /tmp/s.log")])

    def end(self) -> None:
        """Neither they nor their memory is left."""
        self.kill_compute()
        self.kill_sponsor()
        for machine in {self.machine, self._lender}:
            machine.run("rm -rf /run/s /run/c /dev/shm/*")


def kill(machine: Console, pid: int) -> None:
    machine.run(f"kill -9 {pid}")
    machine.wait(f"! grep -q hecad /proc/{pid}/cmdline", 20)


class GovernedProcess(TwoHecads):
    """A process that verifies its memory itself; words for what a test does with it and with its hecads."""

    def __init__(self, machine: Console, mib: int, host: str = "127.0.0.1", options: str = "",
                 lender: tuple[Console, str] | None = None) -> None:
        super().__init__(machine, host, options, lender)
        machine.run("mkfifo /tmp/verifier.in")
        self.pid = machine.start(f"memverify mib={mib} threads=3 slices=1 rate=2000 file=/dev/shm/verified "
                                 "<>/tmp/verifier.in", "/tmp/verifier.log")
        machine.wait("grep -q 'MEMVERIFY tick=1 ' /tmp/verifier.log", 60)

    def crash(self, fail: str = "") -> None:
        """The next hecad has that fail point armed."""
        self.kill_compute()
        self.start_compute(fail)
        self.goes_on()

    def sponsor_crash(self, fail: str = "") -> None:
        """The next one has that fail point armed."""
        self.kill_sponsor()
        self.start_sponsor(fail)
        self.goes_on()

    def told(self, options: str) -> None:
        """Both hecads anew, with other options."""
        self._options = options
        self.crash()
        self.sponsor_crash()

    def both_crash(self, meanwhile: Callable[[], None]) -> None:
        self.kill_compute()
        self.kill_sponsor()
        meanwhile()
        self.start_sponsor()
        self.start_compute()
        self.goes_on()

    def goes_on(self) -> None:
        """More ticks with progress, and no error in any."""
        last = "grep tick= /tmp/verifier.log | tail -n 1 | sed 's/.*verified=//; s/ .*//'"
        before = int(self.machine.run(last))
        try:
            self.machine.wait(f"[ $({last}) -gt {before} ]", 60)
        except LabError as error:
            raise LabError(f"{error}\n{self.explain()}") from error
        self.machine.run("! grep -E 'MEMVERIFY (ERROR|FATAL)' /tmp/verifier.log")

    def verify(self) -> int:
        """Every cell is looked at; how many errors there were since the start."""
        before = int(self.machine.attempt("grep -c FINAL /tmp/verifier.log")[1])
        self.machine.run("echo verify >/tmp/verifier.in")
        self.machine.wait(f"[ $(grep -c FINAL /tmp/verifier.log) -gt {before} ]", 120)
        found = re.findall(r"FINAL errors=(\d+)", self.machine.run("grep FINAL /tmp/verifier.log"))
        return int(found[-1])
