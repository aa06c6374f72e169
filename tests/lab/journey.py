# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest that tests send to and fro between two hosts, one after the other: each test finds a lab that is whole."""

from __future__ import annotations

from lab.hecad import Hecad
from lab.hosts import Hosts
from lab.left_behind import nothing_left
from lab.libvirt_host import LibvirtHost
from lab.moving_guest import MovingGuest


class Journey:
    """The guest and where it may go; `here` and `there` are numbers of hosts."""

    def __init__(self, hosts: Hosts, guest: MovingGuest) -> None:
        self.hosts, self.guest = hosts, guest

    @property
    def here(self) -> int:
        return self.hosts.hosts.index(self.guest.host)

    @property
    def there(self) -> int:
        return 1 - self.here

    def host(self, number: int) -> LibvirtHost:
        return self.hosts.hosts[number]

    def hecad(self, number: int) -> Hecad:
        return self.hosts.hecads[number]

    def runs_whole(self) -> None:
        self.guest.guest.wait_ticks(3, 60)
        assert self.guest.guest.verify() == 0
        self.guest.guest.check()
        nothing_left(self.hosts, self.guest)

    def mend(self) -> None:
        """After a test, so that one that fails is alone with it."""
        for number, hecad in enumerate(self.hosts.hecads):
            if not hecad.alive() or hecad.fail:
                self.hosts.restart_hecad(number)
        self.guest.find()
