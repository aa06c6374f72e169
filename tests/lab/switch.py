# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network of several hosts: each has a namespace with an address, and all reach each other over one bridge.

The bridge lies in a namespace too, so nothing of this is on the machine's own network.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Sequence

from lab.links import ip

_numbers = itertools.count()


class Member:
    """A host's place in the network: `far` is its address. While cut, packets vanish without an error."""

    def __init__(self, switch: str, subnet: str, number: int) -> None:
        self.namespace = f"{switch}-{number}"
        self.far = f"{subnet}.{number}"
        ip("netns", "add", self.namespace)
        try:
            ip("-n", switch, "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns",
               self.namespace)
            ip("-n", switch, "link", "set", f"port{number}", "master", "bridge", "up")
            ip("-n", self.namespace, "addr", "add", f"{self.far}/24", "dev", "eth0")
            self.mend()
            ip("-n", self.namespace, "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command as run in the namespace; execs, so the pid stays."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def cut(self) -> None:
        ip("-n", self.namespace, "link", "set", "eth0", "down")

    def mend(self) -> None:
        ip("-n", self.namespace, "link", "set", "eth0", "up")

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.namespace], timeout=20, capture_output=True)


class Switch:
    def __init__(self) -> None:
        number = (os.getpid() * 8 + next(_numbers)) % 16000
        self.namespace = f"heca-switch-{number}"
        self._subnet = f"10.{214 + number // 8000}.{number % 250}"
        self._members: list[Member] = []
        ip("netns", "add", self.namespace)
        try:
            ip("-n", self.namespace, "link", "add", "bridge", "type", "bridge")
            ip("-n", self.namespace, "link", "set", "bridge", "up")
        except BaseException:
            self.close()
            raise

    def join(self) -> Member:
        member = Member(self.namespace, self._subnet, len(self._members) + 1)
        self._members.append(member)
        return member

    def close(self) -> None:
        for member in self._members:
            member.close()
        subprocess.run(["ip", "netns", "del", self.namespace], timeout=20, capture_output=True)
