# SPDX-License-Identifier: LGPL-2.1-or-later
"""When a VM stopped on one host and went on on another, told by both QEMUs.

QEMU itself puts the time on an event, from the clock of the machine (microseconds). Both QEMUs are on one machine, so
their times can be compared, however late they are read. The guest's own clock cannot tell: it stands still while the VM
is stopped, and goes on with the value that the source sent.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.deadline import LabError, wait_until
from lab.qmp import Qmp

SOURCE, DESTINATION = "source", "destination"
WATCHED = {"STOP", "RESUME", "MIGRATION"}


@dataclass(frozen=True)
class Moment:
    """`status` is that of a MIGRATION event (setup, active, device, completed, failed ...), else empty; `at_s` counts
    from 1970."""

    side: str
    event: str
    status: str
    at_s: float


class MigrationClock:
    """Records from the constructor, which waits for the source's monitor, to close(). The destination's monitor is
    looked for all the time, since its QEMU does not exist yet. Each monitor takes one client."""

    def __init__(self, source: Path, destination: Path) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._moments: list[Moment] = []
        self._listeners = [threading.Thread(target=self._listen, args=(SOURCE, Qmp(source)), daemon=True),
                           threading.Thread(target=self._await_destination, args=(destination,), daemon=True)]
        for listener in self._listeners:
            listener.start()

    def _await_destination(self, path: Path) -> None:
        while not self._over.is_set():
            try:
                self._listen(DESTINATION, Qmp(path, seconds=0.2))
                return
            except LabError:  # not there yet
                pass

    def _listen(self, side: str, qmp: Qmp) -> None:
        try:
            while not self._over.is_set():
                event = qmp.next_event(0.1)
                if event is not None and event["event"] in WATCHED:
                    self._note(side, event)
        except (LabError, OSError):  # that QEMU has ended
            pass
        finally:
            qmp.close()

    def _note(self, side: str, event: dict[str, Any]) -> None:
        at = event["timestamp"]
        status = str(event.get("data", {}).get("status", "")) if event["event"] == "MIGRATION" else ""
        with self._lock:
            self._moments.append(Moment(side, event["event"], status, at["seconds"] + at["microseconds"] / 1e6))

    def moments(self) -> list[Moment]:
        """In the order of their times."""
        with self._lock:
            return sorted(self._moments, key=lambda moment: moment.at_s)

    def last(self, side: str, event: str, status: str = "") -> Moment | None:
        return next((moment for moment in reversed(self.moments())
                     if (moment.side, moment.event, moment.status) == (side, event, status)), None)

    def wait(self, side: str, event: str, status: str = "", seconds: float = 60) -> Moment:
        return wait_until(lambda: self.last(side, event, status), seconds,
                          f"{event} {status} of the {side}; seen: {self.moments()}")

    def downtime_s(self) -> float:
        """From the source's last STOP to the destination's RESUME."""
        return self.wait(DESTINATION, "RESUME").at_s - self.wait(SOURCE, "STOP").at_s

    def timeline(self) -> str:
        """For people: milliseconds since the first moment."""
        moments = self.moments()
        return "\n".join(f"{(moment.at_s - moments[0].at_s) * 1000:9.1f} ms  {moment.side:11} {moment.event} "
                         f"{moment.status}" for moment in moments)

    def close(self) -> None:
        """Twice is fine."""
        self._over.set()
        for listener in self._listeners:
            listener.join(30)
