# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network link of the lab's own: a namespace behind a veth pair, that can be cut. Several hosts: lab/switch.py."""

from __future__ import annotations

import itertools
import os
import subprocess

from lab.namespace import Namespace, ip

_numbers = itertools.count()


class CuttableLink(Namespace):
    """`far` is the address inside the namespace, `near` ours."""

    def __init__(self) -> None:
        number = (os.getpid() * 8 + next(_numbers)) % 16000
        self._outer = f"hl{number}o"
        net, last = f"10.213.{number // 64}", number % 64 * 4
        self.near = f"{net}.{last + 1}"
        super().__init__(f"heca-lab-{number}", f"hl{number}i", f"{net}.{last + 2}")
        try:
            ip("link", "add", self._outer, "type", "veth", "peer", "name", self._interface, "netns", self.namespace)
            ip("addr", "add", f"{self.near}/30", "dev", self._outer)
            ip("link", "set", self._outer, "up")
            self.open(30)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        super().close()
        subprocess.run(["ip", "link", "del", self._outer], timeout=20, capture_output=True)
