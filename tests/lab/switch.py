# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network of several hosts: each has a namespace with an address, and all reach each other over one bridge.

The bridge lies in a namespace too, so nothing of this is on the machine's own network.
"""

from __future__ import annotations

import itertools
import os
import subprocess

from lab.namespace import Namespace, ip

_numbers = itertools.count()


class Member(Namespace):
    """A host's place in the network: `far` is its address."""

    def __init__(self, switch: str, subnet: str, number: int) -> None:
        super().__init__(f"{switch}-{number}", "eth0", f"{subnet}.{number}")
        try:
            ip("-n", switch, "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns",
               self.namespace)
            ip("-n", switch, "link", "set", f"port{number}", "master", "bridge", "up")
            self.open(24)
        except BaseException:
            self.close()
            raise


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
