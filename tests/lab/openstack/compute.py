# SPDX-License-Identifier: LGPL-2.1-or-later
"""nova-compute on a host that has a libvirtd."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lab.libvirt_host import QEMU_GROUP, QEMU_USER, LibvirtHost
from lab.openstack import config
from lab.openstack.process import Daemon

STATE = Path("/var/lib/nova")  # the same on every host: its paths are in the XML of servers that move


class Compute:
    """One of a host that has libvirt. start(), kill(), start() again is the crash that users have. `environment`: more of
    it, for the process."""

    def __init__(self, host: LibvirtHost, control: str, driver: str, logs: Path,
                 environment: Mapping[str, str] | None = None) -> None:
        self.host, self._log = host, logs / f"{host.name}.nova-compute.log"
        self._environment = environment or {}
        self._daemon: Daemon | None = None
        self.state = host.own(STATE)
        for directory in ("lock", "instances"):
            (self.state / directory).mkdir()
        with (host.home / "etc-hosts").open("a") as hosts:
            hosts.write(f"{control} {config.CONTROL}\n")
        host.run("install", "-d", "-m", "0770", "-o", QEMU_USER, "-g", QEMU_GROUP, "/run/heca/qmp")
        self.driver = driver

    def start(self, mode: str = "hecad", **options: object) -> None:
        """`mode` is that of group [heca], `options` are more of group [DEFAULT]."""
        file = self.host.home / "nova.conf"
        config.write(file, {**config.nova_compute(file, STATE, self.host.far, self.driver, options), "heca": {"mode": mode}})
        self._daemon = Daemon(f"nova-compute of {self.host.name}", self.host,
                              ["nova-compute", "--config-file", str(file)], self._log, self._environment)

    def alive_or_raise(self) -> None:
        assert self._daemon
        self._daemon.alive_or_raise()

    def instances(self) -> list[str]:
        """Identities of the servers that have a directory here."""
        return sorted(path.name for path in (self.state / "instances").iterdir() if len(path.name) == 36)

    def freeze(self) -> None:
        """Until it is killed."""
        assert self._daemon
        self._daemon.freeze()

    def kill(self) -> None:
        if self._daemon:
            self._daemon.kill()

    def close(self) -> None:
        """Twice is fine."""
        if self._daemon:
            self._daemon.close()

    @property
    def pid(self) -> int:
        assert self._daemon
        return self._daemon.pid

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))
