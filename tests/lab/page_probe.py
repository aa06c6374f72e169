# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process whose pages are looked at one by one (tests/lab/guest/pageprobe.c)."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path

from lab import guest_image
from lab.commanded import CommandedProcess
from lab.deadline import LabError, wait_until

PAGE = 4096


class PageProbe(CommandedProcess):
    def __init__(self, file: Path, pages: int, log: Path) -> None:
        self.pages = pages
        self._ids = itertools.count(1)
        program = guest_image.native_program("pageprobe", ["pageprobe.c"])
        super().__init__([str(program), str(file), str(pages)], file, log)
        wait_until(lambda: "READY" in self._text(), 30, "pageprobe ready", poll=0.05)

    def _text(self) -> str:
        code = self.child.poll()
        if code is not None:
            raise LabError(f"pageprobe ended with {code}")
        return self.log.read_text()

    def ask(self, command: str, pages: Iterable[int]) -> list[int]:
        """`command`: read or write. The ids of the answers, in the order of `pages`."""
        lines = [f"{command} {next(self._ids)} {page}\n" for page in pages]
        self.type("".join(lines))
        return [int(line.split()[1]) for line in lines]

    def answers(self) -> dict[int, str]:
        return {int(number): answer for number, answer in re.findall(r"^(\d+) (\w+)$", self._text(), re.MULTILINE)}

    def wait_answers(self, ids: list[int], seconds: float = 30) -> list[str]:
        def look() -> list[str] | None:
            known = self.answers()
            return [known[number] for number in ids] if all(number in known for number in ids) else None

        return wait_until(look, seconds, f"{len(ids)} answers", poll=0.05)

    def read(self, pages: Iterable[int], seconds: float = 30) -> set[str]:
        """The different answers about pages that must be answered."""
        return set(self.wait_answers(self.ask("read", pages), seconds))

    def here(self) -> list[bool]:
        """Which pages the RAM file holds, without touching one."""
        held = [False] * self.pages
        with self.file.open("rb") as file:
            at, end = 0, self.pages * PAGE
            while at < end:
                try:
                    at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                except OSError:  # no data behind `at`
                    break
                hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
                for page in range(at // PAGE, -(-hole // PAGE)):
                    held[page] = True
                at = hole
        return held
