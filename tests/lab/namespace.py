# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network namespace that has one interface to the rest of the lab, and can be cut off from it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=20, capture_output=True)


class Place(Protocol):
    """Where a hecad can run: `far` is its address, `inside` turns a command into one that runs there, same pid, and
    `outside` a path as seen there into one that leads to the same file from here."""

    far: str

    def inside(self, command: Sequence[str]) -> list[str]: ...

    def outside(self, path: Path) -> Path: ...


class Namespace:
    """The constructor makes it, empty; whoever derives from it adds the interface. While cut, packets vanish without an
    error. Files are those of the machine."""

    def __init__(self, name: str, interface: str, far: str) -> None:
        self.namespace, self._interface, self.far = name, interface, far
        ip("netns", "add", name)

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command as run in the namespace; execs, so the pid stays."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def outside(self, path: Path) -> Path:
        return path

    def open(self, prefix_length: int) -> None:
        """Gives the interface, which exists by now, its address, and sets it and loopback up."""
        ip("-n", self.namespace, "addr", "add", f"{self.far}/{prefix_length}", "dev", self._interface)
        self.mend()
        ip("-n", self.namespace, "link", "set", "lo", "up")

    def cut(self) -> None:
        ip("-n", self.namespace, "link", "set", self._interface, "down")

    def mend(self) -> None:
        ip("-n", self.namespace, "link", "set", self._interface, "up")

    def slow(self, mib_per_second: int) -> None:
        """What goes out of it is no faster than that, until quick()."""
        self._shape("tbf", "rate", f"{mib_per_second}mibps", "burst", "256kb", "latency", "50ms")

    def quick(self) -> None:
        """Twice is fine."""
        self._shape("noqueue")

    def _shape(self, *discipline: str) -> None:
        subprocess.run(self.inside(["tc", "qdisc", "replace", "dev", self._interface, "root", *discipline]), check=True,
                       timeout=20, capture_output=True)

    def close(self) -> None:
        """Twice is fine."""
        subprocess.run(["ip", "netns", "del", self.namespace], timeout=20, capture_output=True)
