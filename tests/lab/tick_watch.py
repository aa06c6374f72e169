# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a guest was not to be heard, by our clock: when each tick of its workload reached the console's log."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from lab.workload import TICK

POLL_SECONDS = 0.005


class TickWatch:
    """Watches from the constructor to close(). With ticks each N ms (memverify's option tick_ms) a pause of the guest
    is seen as itself plus at most N ms; a busy machine adds to that."""

    def __init__(self, log: Path) -> None:
        self._file = log.open("rb")
        self._file.seek(0, 2)
        self._over = threading.Event()
        self._arrivals: list[float] = []  # time.monotonic()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        unread = b""
        while not self._over.wait(POLL_SECONDS):
            *lines, unread = (unread + self._file.read()).split(b"\n")
            now = time.monotonic()
            self._arrivals += [now for line in lines if TICK.search(line.decode(errors="replace"))]

    def longest_gap_s(self) -> float:
        """Between two ticks that came one after the other; 0 before the second one."""
        arrivals = list(self._arrivals)
        return max((after - before for before, after in zip(arrivals, arrivals[1:], strict=False)), default=0.0)

    def close(self) -> None:
        """Twice is fine."""
        self._over.set()
        self._thread.join(10)
        self._file.close()
