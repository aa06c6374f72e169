# SPDX-License-Identifier: LGPL-2.1-or-later
"""What hosts have on the machine, listed by looking: so that a test can tell that nothing of it was left."""

from __future__ import annotations

import os
from pathlib import Path

from lab.hosts import Hosts


def namespaces_in_use() -> dict[str, list[int]]:
    """Identity of every namespace that a process has (net, mnt, uts), and the processes. Zombies have none."""
    used: dict[str, list[int]] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            for kind in ("net", "mnt", "uts"):
                try:
                    used.setdefault(os.readlink(process / "ns" / kind), []).append(int(process.name))
                except OSError:  # gone, or a zombie
                    pass
    return used


class Footprint:
    """Taken while the hosts are up, even if only some are."""

    def __init__(self, hosts: Hosts) -> None:
        self.namespaces = {name for host in hosts.hosts for name in host.namespaces().values()}
        self.names = [place.name for place in Path("/run/netns").iterdir()
                      if place.name.startswith(hosts.switch.namespace)]
        self.files = [*(path for host in hosts.hosts for path in (host.home, host.volatile, host.memory)),
                      *(hecad.home for hecad in hosts.hecads)]
        if hosts.sponsor:
            self.files += [hosts.sponsor.home, hosts.sponsor.memory]

    def left(self) -> list[str]:
        """A line for each thing that is still there: processes, namespaces, mounts, files."""
        used = namespaces_in_use()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return [
            *(f"process {pid} in {name}" for name in sorted(self.namespaces) for pid in used.get(name, [])),
            *(f"namespace {name}" for name in self.names if (Path("/run/netns") / name).exists()),
            *(f"mount {line}" for line in mounts
              if any(name in line for name in [*self.names, *map(str, self.files)])),
            *(f"file {path}" for path in self.files if path.exists()),
        ]
