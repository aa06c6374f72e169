# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a VM that has left must not leave behind where it was."""

from __future__ import annotations

from pathlib import Path

from lab.deadline import wait_until
from lab.hecad import Hecad
from lab.hosts import Hosts
from lab.ignore_shared import ignore_shared
from lab.libvirt_host import LibvirtHost
from lab.moving_guest import MovingGuest
from lab.processes import open_files


def _traces(host: LibvirtHost, hecad: Hecad) -> list[str]:
    """Domains, RAM files and second names of them, memory, the journal's records, leases, and files that hecad has open."""
    found = [f"domain {name}" for name in host.running()]
    found += [f"file {name}" for name in host.memory_files()]
    found += [f"{host.memory_used()} bytes"] if host.memory_used() > 1 << 20 else []
    found += [f"record {path.name}" for path in host.outside(Path("/run/heca/departures")).iterdir()]
    found += [f"lease {lease['id']}" for lease in hecad.leases()]
    found += [f"open {path}" for path in open_files(hecad.pid) if path.startswith(str(host.memory)) or "[userfaultfd]" in path]
    return found


def nothing_left(hosts: Hosts, guest: MovingGuest, seconds: float = 30) -> None:
    """The guest is where it is, whole, and nowhere else; no hecad has anything to do with it any more."""
    for host, hecad in zip(hosts.hosts, hosts.hecads):
        wait_until(lambda: hecad.regions() == [], seconds, f"no region on {host.name}")
        assert all(migration["over"] for migration in hecad.ctl("migrations")["migrations"])
        if host is not guest.host:
            last = [""]

            def clean() -> bool:
                last[:] = _traces(host, hecad)
                return last == []

            try:
                wait_until(clean, 10, f"{host.name} keeps nothing of the VM")
            finally:
                if last:
                    print(f"{host.name} has kept: {last}")
    wait_until(lambda: not ignore_shared(guest.host, guest.name), 10, "x-ignore-shared is off")
