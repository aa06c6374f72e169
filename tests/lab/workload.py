# SPDX-License-Identifier: LGPL-2.1-or-later
"""Talking to memverify: its lines, its commands. The same for a guest's serial console and for a plain process."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab import guest_image
from lab.commanded import CommandedProcess
from lab.deadline import LabError, TooLate, wait_until


class Process(Protocol):
    def poll(self) -> int | None: ...


@dataclass(frozen=True)
class Tick:
    number: int
    operations: int
    errors: int
    verified: int
    max_gap_ms: int


TICK = re.compile(r"MEMVERIFY tick=(\d+) ops=(\d+) errors=(\d+) verified=(\d+) maxgap_ms=(\d+)")
FINAL = re.compile(r"MEMVERIFY FINAL errors=(\d+) cells=(\d+)")
PANIC = "Kernel panic"
# What a guest's kernel says when its memory was damaged under it.
KERNEL_TROUBLE = re.compile(PANIC + r"|Oops|BUG:|general protection|segfault|Bad page|list_(add|del) corruption")


class Workload:
    """One memverify. `log` grows by its lines; `send` passes it a command; `explain` says more of one that is late."""

    def __init__(self, name: str, log: Path, process: Process, send: Callable[[str], None],
                 explain: Callable[[], str] = lambda: "") -> None:
        self.name, self.log, self.process, self.send, self.explain = name, log, process, send, explain

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def alive_or_raise(self) -> None:
        code = self.process.poll()
        if code is not None:
            raise LabError(f"{self.name} ended with {code}; last lines:\n{self.last_lines()}")

    def last_lines(self) -> str:
        return "\n".join(self.text().splitlines()[-15:])

    def ticks(self) -> list[Tick]:
        return [Tick(*map(int, found.groups())) for found in TICK.finditer(self.text())]

    def errors(self) -> list[str]:
        """Every line that tells of damage: memverify's own and the guest kernel's."""
        return [line for line in self.text().splitlines()
                if line.startswith(("MEMVERIFY ERROR", "MEMVERIFY FATAL")) or KERNEL_TROUBLE.search(line)]

    def wait_for(self, pattern: str, seconds: float, after: int = 0) -> re.Match[str]:
        compiled = re.compile(pattern)

        def look() -> re.Match[str] | None:
            text = self.text()
            found = compiled.search(text, after)
            if found is None:
                self.alive_or_raise()
                if PANIC in text:
                    raise LabError(f"{self.name}: {text[text.index(PANIC):][:1000]}")
            return found

        try:
            return wait_until(look, seconds, f"{self.name}: '{pattern}'", poll=0.05)
        except TooLate as error:
            raise TooLate(f"{error}; last lines:\n{self.last_lines()}\n{self.explain()}") from None

    def wait_ready(self, seconds: float = 90) -> None:
        self.wait_for(r"MEMVERIFY READY", seconds)
        self.wait_for(TICK.pattern, 30)

    def wait_ticks(self, count: int, seconds: float) -> list[Tick]:
        """Until `count` more ticks with progress were printed; those ticks."""
        seen = len(self.ticks())

        def look() -> list[Tick] | None:
            self.alive_or_raise()
            ticks = self.ticks()
            before = ticks[seen - 1].operations if seen else 0
            fresh = ticks[seen:]
            worked = [tick for i, tick in enumerate(fresh)
                      if tick.operations > (fresh[i - 1].operations if i else before)]
            return worked if len(worked) >= count else None

        return wait_until(look, seconds, f"{self.name}: {count} ticks with progress", poll=0.05)

    def ask(self, command: str, answer: str, seconds: float) -> re.Match[str]:
        after = len(self.text())
        self.send(command)
        return self.wait_for(answer, seconds, after)

    def verify(self, seconds: float = 120) -> int:
        """Has everything looked at; the number of errors since the start, and raises if damage was seen."""
        found = self.ask("verify", FINAL.pattern, seconds)
        return int(found.group(1))

    def load_disk(self, on: bool) -> None:
        """Of a memory workload with disk_threads: whether those read."""
        word = "on" if on else "off"
        self.ask(f"disk {word}", f"MEMVERIFY DISK {word}", 60)

    def check(self) -> None:
        self.alive_or_raise()
        damage = self.errors()
        if damage:
            raise LabError(f"{self.name}: {len(damage)} lines of damage, first:\n" + "\n".join(damage[:10]))


class NativeWorkload(CommandedProcess, Workload):
    """memverify as a plain process whose memory is a shared mapping of `file`; slices: all threads share each page.

    `prefix`: a command that runs the rest of its line by exec, in a cgroup say.
    """

    def __init__(self, file: Path, mib: int, log: Path, threads: int = 8, slices: bool = True, rate: int = 0,
                 seed: int = 1, user: str | None = None, prefix: Sequence[str] = ()) -> None:
        program = guest_image.native_program("memverify", guest_image.WORKLOAD_SOURCES)
        command = [*prefix, str(program), f"mib={mib}", f"threads={threads}", f"slices={int(slices)}", f"rate={rate}",
                   f"seed={seed}", f"file={file}"]
        CommandedProcess.__init__(self, command, file, log, user)
        Workload.__init__(self, f"memverify[{self.pid}]", log, self.child, lambda text: self.type(f"{text}\n"))
