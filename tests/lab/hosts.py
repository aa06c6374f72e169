# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several libvirt hosts on one machine, with a hecad on each: what a live migration needs.

The hosts meet over a switch of their own, by their names. hecad is where its package puts it: /run/heca, its socket and
its slabs on the host's own /dev/shm. Processes are started one after the other by one thread, because they die with the
thread that started them.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.deadline import LabError, wait_until
from lab.hecad import Hecad, Node, Peer
from lab.libvirt_host import LibvirtHost
from lab.moving_guest import MovingGuest
from lab.paths import binary
from lab.switch import Switch

HECAD_PLACES = {"run_dir": "/run/heca", "socket": "/run/heca/hecad.sock", "slab_dir": "/dev/shm/heca/slabs"}


def sees_its_peers(hecad: Hecad) -> bool:
    return all(node["health"] in ("self", "alive") for node in hecad.ctl("nodes")["nodes"])


class Hosts:
    """`hosts[i]` and `hecads[i]` belong together and have one name: host1, host2, ..., and `places[i]` is their place in the
    network, which can be cut. The constructor returns when
    every libvirtd answers and every hecad sees every other one, after `ready_s` seconds. close() takes all of it down,
    and so does a constructor that fails. `donate`: what each hecad lends; `lender`: what one more host lends, `sponsor`,
    that runs nothing but a hecad; `memory_mib`: guest RAM a host has room for; `hook`: with heca's hook in libvirt.
    """

    def __init__(self, logs: Path, count: int = 2, donate: str = "512MiB", memory_mib: int = 1024,
                 hook: bool = False, lender: str = "", **hecad_options: Any) -> None:
        if hook and not all(binary(name).exists() for name in ("heca-hook", "heca-hook-tell")):
            raise LabError("heca-hook or heca-hook-tell is not built: libvirt would migrate by itself")
        self._logs = logs
        self._hook = binary("heca-hook") if hook else None
        self._stack = ExitStack()
        self.hosts: list[LibvirtHost] = []
        self.hecads: list[Hecad] = []
        self.sponsor: Hecad | None = None
        began = time.monotonic()
        try:
            self._start_hosts(count, memory_mib)
            if lender:
                self._start_sponsor(lender)
            self._start_hecads(donate, hecad_options)
        except BaseException:
            self.close()
            raise
        self.ready_s = time.monotonic() - began

    def _start_hosts(self, count: int, memory_mib: int) -> None:
        self.switch = Switch()
        self._stack.callback(self.switch.close)
        self.places = [self.switch.join() for _ in range(count)]
        places = {f"host{number}": place for number, place in enumerate(self.places, 1)}
        addresses = {name: place.far for name, place in places.items()}
        for name, place in places.items():
            host = LibvirtHost(name, self._logs, place, memory_mib=memory_mib, neighbours=addresses,
                               hook=self._hook)
            self._stack.callback(host.close)
            self.hosts.append(host)

    def _start_sponsor(self, lends: str) -> None:
        self.sponsor = Hecad("sponsor", self._logs, lends, link=self.switch.join(), compute=False)
        self._stack.callback(self.sponsor.close)
        self.sponsor.start(wait=False)

    def _start_hecads(self, donate: str, options: dict[str, Any]) -> None:
        lenders = [self.sponsor] if self.sponsor else []
        for host in self.hosts:
            peers: list[Node] = [*(Peer(other.name, other.far) for other in self.hosts if other is not host), *lenders]
            hecad = Hecad(host.name, self._logs, donate, peers, link=host, **{**HECAD_PLACES, **options})
            self._stack.callback(hecad.close)
            self.hecads.append(hecad)
            hecad.start(wait=False)
        self.wait_peers()

    def wait_peers(self) -> None:
        """Until every hecad answers and sees every other one."""
        for hecad in [*self.hecads, *([self.sponsor] if self.sponsor else [])]:
            hecad.wait_ready(60)
        for hecad in self.hecads:
            wait_until(partial(sees_its_peers, hecad), 60, f"hecad {hecad.name} sees its peers", poll=0.05)

    def restart_hecad(self, number: int, fail: str = "") -> None:
        """Another hecad on hosts[number], with a fail point armed; the one before may have ended already."""
        hecad = self.hecads[number]
        if hecad.process is not None:
            hecad.terminate()
        hecad.fail = fail
        hecad.start()
        self.wait_peers()

    def guest(self, name: str, mib: int, workload: dict[str, Any], on: int = 0, **options: Any) -> MovingGuest:
        """Defines and starts one on hosts[on]; it may go to any other. `options`: as LibvirtHost.start_domain."""
        first = self.hosts[on]
        others = [host for host in self.hosts if host is not first]
        return MovingGuest(name, [first, *others], self._logs, mib, workload, **options)

    def close(self) -> None:
        """Twice is fine."""
        self._stack.close()

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
