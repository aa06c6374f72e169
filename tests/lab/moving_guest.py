# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest that verifies itself and can be on any of several hosts; its console is one log wherever it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.deadline import LabError
from lab.libvirt_host import LibvirtHost
from lab.migration_clock import MigrationClock, Moment
from lab.tick_watch import TickWatch
from lab.workload import Tick, Workload

MIGRATE = ("migrate", "--live", "--p2p", "--persistent", "--undefinesource")
TICK_MS = 50


@dataclass(frozen=True)
class Migration:
    """What one migration cost. `virsh_s`: the whole command; `downtime_s`: STOP of the source to RESUME of the
    destination; `silence_s`: longest time without a tick as heard from outside, where ticks come each TICK_MS;
    `guest_gap_ms`: longest time between two operations of the workload by the guest's clock, which the downtime is not
    on."""

    virsh_s: float
    downtime_s: float
    silence_s: float
    guest_gap_ms: int
    moments: list[Moment]
    timeline: str

    def __str__(self) -> str:
        return (f"virsh {self.virsh_s:.2f} s, downtime {self.downtime_s * 1000:.1f} ms, silence "
                f"{self.silence_s * 1000:.0f} ms, gap in the guest {self.guest_gap_ms} ms\n{self.timeline}")


class MovingGuest:
    """Starts on the first host. `host` and `domain` are where it is by what find() last saw, `guest` its workload;
    migrate() keeps them right; `console` is its log. The hosts own the domain and end it."""

    def __init__(self, name: str, hosts: Sequence[LibvirtHost], logs: Path, mib: int,
                 workload: dict[str, Any], **options: Any) -> None:
        self.name, self._hosts = name, hosts
        self.console = logs / f"{name}.serial.log"
        for host in hosts[1:]:
            host.prepare_domain(name)
        self.host = hosts[0]
        self.domain = self.host.start_domain(name, mib, {"tick_ms": TICK_MS, **workload}, console=self.console,
                                             **options)
        self.guest = Workload(name, self.console, self, self._type)

    def poll(self) -> int | None:
        """For the workload: whether the QEMU that has it lives."""
        return self.domain.poll()

    def _type(self, command: str) -> None:
        self.domain.type(command)

    def where(self) -> LibvirtHost:
        """The one host whose libvirt says that it runs there; an error if none or several do."""
        running = [host for host in self._hosts if self.name in host.running()
                   and host.virsh("domstate", self.name).strip() == "running"]
        if len(running) != 1:
            raise LabError(f"{self.name} runs on {[host.name for host in running]}")
        return running[0]

    def find(self) -> LibvirtHost:
        """Turns to where it runs now."""
        host = self.where()
        if host is not self.host:
            self.renew(host)
        return host

    def renew(self, host: LibvirtHost | None = None) -> None:
        """Turns to the QEMU that has it now, after a `virsh restore` say."""
        self.domain.close()
        self.host = host or self.host
        self.domain = self.host.adopt(self.name, self.console)

    def migrate(self, to: LibvirtHost, *flags: str, seconds: float = 300) -> Migration:
        """libvirt's own live migration, managed by the source's libvirtd; `flags` are more words for virsh. An error of
        virsh passes through, with the guest found first."""
        ticks = len(self.guest.ticks())
        with closing(MigrationClock(self.domain.lab_qmp, to.domain_home(self.name) / "lab.qmp")) as clock, \
                closing(TickWatch(self.console)) as watch:
            began = time.monotonic()
            try:
                self.host.virsh(*MIGRATE, *flags, self.name, to.uri, seconds=seconds)
            finally:
                took = time.monotonic() - began
                self.find()
            downtime = clock.downtime_s()
            self.guest.wait_ticks(5, 120)  # the first ones after the gap
            fresh: list[Tick] = self.guest.ticks()[ticks:]
            return Migration(took, downtime, watch.longest_gap_s(), max(tick.max_gap_ms for tick in fresh),
                             clock.moments(), clock.timeline())
