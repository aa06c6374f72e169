# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network link of the lab's own: a namespace behind a veth pair, that can be cut. Several hosts: lab/switch.py."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Sequence
from typing import Protocol

_numbers = itertools.count()


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=20, capture_output=True)


class Place(Protocol):
    """Where a hecad can run: `far` is its address, `inside` turns a command into one that runs there, same pid."""

    far: str

    def inside(self, command: Sequence[str]) -> list[str]: ...


class CuttableLink:
    """`far` is the address inside the namespace, `near` ours. While cut, packets vanish without an error."""

    def __init__(self) -> None:
        number = (os.getpid() * 8 + next(_numbers)) % 16000
        self.namespace = f"heca-lab-{number}"
        self._outer, self._inner = f"hl{number}o", f"hl{number}i"
        net = f"10.213.{number // 64}.{number % 64 * 4}"
        base, last = net.rsplit(".", 1)
        self.near, self.far = f"{base}.{int(last) + 1}", f"{base}.{int(last) + 2}"
        ip("netns", "add", self.namespace)
        try:
            ip("link", "add", self._outer, "type", "veth", "peer", "name", self._inner, "netns", self.namespace)
            ip("addr", "add", f"{self.near}/30", "dev", self._outer)
            ip("link", "set", self._outer, "up")
            ip("-n", self.namespace, "addr", "add", f"{self.far}/30", "dev", self._inner)
            ip("-n", self.namespace, "link", "set", self._inner, "up")
            ip("-n", self.namespace, "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command as run in the namespace; execs, so the pid stays."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def cut(self) -> None:
        ip("-n", self.namespace, "link", "set", self._inner, "down")

    def mend(self) -> None:
        ip("-n", self.namespace, "link", "set", self._inner, "up")

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.namespace], timeout=20, capture_output=True)
        subprocess.run(["ip", "link", "del", self._outer], timeout=20, capture_output=True)
