# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network of several hosts: each has a namespace with an address, and all reach each other over one bridge.

The bridge lies in a namespace too, so nothing of this is on the machine's own network.
"""

from __future__ import annotations

import itertools
import os
import subprocess

from lab.namespace import Namespace, ip

PREFIX_LENGTH = 24
_numbers = itertools.count()


def plug(switch: str, number: int, namespace: str, interface: str) -> None:
    """A cable from that port of the switch to a new interface."""
    ip("-n", switch, "link", "add", f"port{number}", "type", "veth", "peer", "name", interface, "netns", namespace)
    ip("-n", switch, "link", "set", f"port{number}", "master", "bridge", "up")


class Member(Namespace):
    """A host's place in the network: `far` is its address."""

    def __init__(self, switch: str, subnet: str, number: int) -> None:
        super().__init__(f"{switch}-{number}", "eth0", f"{subnet}.{number}")
        try:
            plug(switch, number, self.namespace, "eth0")
            self.open(PREFIX_LENGTH)
        except BaseException:
            self.close()
            raise


class Switch:
    def __init__(self) -> None:
        number = (os.getpid() * 8 + next(_numbers)) % 16000
        self.namespace = f"heca-switch-{number}"
        self._subnet = f"10.{214 + number // 8000}.{number % 250}"
        self._members: list[Member] = []
        self._ports = itertools.count(1)
        ip("netns", "add", self.namespace)
        try:
            ip("-n", self.namespace, "link", "add", "bridge", "type", "bridge")
            ip("-n", self.namespace, "link", "set", "bridge", "up")
        except BaseException:
            self.close()
            raise

    def join(self) -> Member:
        member = Member(self.namespace, self._subnet, next(self._ports))
        self._members.append(member)
        return member

    def reach(self, other: Namespace) -> str:
        """Gives a member of another network an address in this one, which it returns; cutting or slowing that member leaves
        this way as it is."""
        number = next(self._ports)
        address = f"{self._subnet}.{number}"
        plug(self.namespace, number, other.namespace, "eth1")
        ip("-n", other.namespace, "addr", "add", f"{address}/{PREFIX_LENGTH}", "dev", "eth1")
        ip("-n", other.namespace, "link", "set", "eth1", "up")
        return address

    def close(self) -> None:
        for member in self._members:
            member.close()
        subprocess.run(["ip", "netns", "del", self.namespace], timeout=20, capture_output=True)
