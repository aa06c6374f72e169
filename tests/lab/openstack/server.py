# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server of the cloud with a guest that verifies its own memory, wherever it runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.deadline import LabError, wait_until
from lab.libvirt_host import LibvirtHost
from lab.openstack.api import Refused
from lab.openstack.cloud import Cloud
from lab.openstack.console import Console
from lab.openstack.images import console_file
from lab.workload import Workload

UNDER_WAY = ("accepted", "queued", "preparing", "running", "post-migrating", "pre-migrating", "migrating")


def described(server: dict[str, Any]) -> str:
    fault = server.get("fault", {}).get("message", "")
    return f"{server['status']}, task {server['OS-EXT-STS:task_state']}" + (f", fault: {fault}" if fault else "")


class Server:
    """Made by `openstack server create`; once it runs, find() gives `host`, `guest` and its domain's `name` and `pid` there.
    What is done to it is done by the client, what is waited for is asked of the API."""

    def __init__(self, cloud: Cloud, title: str, flavor: str, image: str, *options: str) -> None:
        self.cloud, self.title, self.image = cloud, title, image
        made = cloud.client.ask("server", "create", "--flavor", flavor, "--image", image, "--nic", "none", *options,
                                title)
        self.id = str(made["id"])
        self._console: Console | None = None
        self.host: LibvirtHost
        self.name = ""
        self.guest: Workload
        self.pid = 0

    # -- what Nova says

    def look(self) -> dict[str, Any]:
        server: dict[str, Any] = self.cloud.api.get("compute", f"/v2.1/servers/{self.id}")["server"]
        return server

    def wait(self, status: str, seconds: float = 120) -> dict[str, Any]:
        """Until Nova calls it so and has no task with it; at once an error if it says ERROR instead."""
        last: list[dict[str, Any]] = []

        def there() -> dict[str, Any] | None:
            last[:] = [self.look()]
            if last[0]["OS-EXT-STS:task_state"] is not None:
                return None
            if last[0]["status"] == "ERROR" != status:
                raise LabError(f"server {self.title}: {described(last[0])}")
            return last[0] if last[0]["status"] == status else None

        try:
            return wait_until(there, seconds, f"server {self.title} is {status}", poll=0.2)
        except LabError as error:
            raise LabError(f"{error}; it is {described(last[0])}" if last else str(error)) from None

    def migrations(self) -> list[dict[str, Any]]:
        """The oldest first."""
        found = self.cloud.api.get("compute", f"/v2.1/os-migrations?instance_uuid={self.id}")["migrations"]
        return sorted(found, key=lambda one: int(one["id"]))

    # -- where it runs

    def find(self) -> LibvirtHost:
        """Turns to the QEMU that has it now."""
        told = self.look()
        host = next(host for host in self.cloud.hosts.hosts if host.name == told["OS-EXT-SRV-ATTR:host"])
        name = str(told["OS-EXT-SRV-ATTR:instance_name"])
        pid = int((host.home / "run/libvirt/qemu" / f"{name}.pid").read_text())
        if pid != self.pid:
            self._leave()
            self.host, self.name, self.pid = host, name, pid
            self._console = Console(Path(host.virsh("ttyconsole", name).strip()))
            self.guest = Workload(self.title, self.state / console_file(self.id), self, self._console.type)
        return host

    @property
    def state(self) -> Path:
        """Nova's directory of the host that it is on."""
        return next(compute.state for compute in self.cloud.computes if compute.host is self.host)

    def poll(self) -> int | None:
        """For the workload: None while its QEMU lives."""
        try:
            return None if "qemu" in os.readlink(f"/proc/{self.pid}/exe") else -1
        except OSError:
            return -1

    def wait_boots(self, seconds: float = 240) -> None:
        self.wait("ACTIVE", seconds)
        self.find()
        self.guest.wait_ready(seconds)

    def runs_whole(self) -> None:
        """Its guest goes on, and every byte of it is right."""
        self.guest.wait_ticks(2, 60)
        if self.guest.verify() != 0:
            self.guest.check()
            raise LabError(f"server {self.title}: memverify counts errors and told of none")
        self.guest.check()

    # -- what is done to it

    def run(self, *words: str, seconds: float = 300) -> None:
        """`openstack server WORDS ID`."""
        self.cloud.client.run("server", *words, self.id, seconds=seconds)

    def live_migrate(self, to: str, seconds: float = 300, meanwhile: Callable[[], None] | None = None) -> dict[str, Any]:
        """Nova's record of it once it is over, well or not; the server has no task then, and runs. `meanwhile` is called once
        it has begun."""
        record = self.live_migration(to, seconds, meanwhile)
        self.find()
        return record

    def live_migration(self, to: str, seconds: float = 300, meanwhile: Callable[[], None] | None = None) -> dict[str, Any]:
        """The same of one that it may not outlive."""
        before = len(self.migrations())
        self.run("migrate", "--live-migration", "--host", to)
        wait_until(lambda: len(self.migrations()) > before, 60, f"a migration of {self.title} to {to}", poll=0.2)
        if meanwhile:
            meanwhile()
        wait_until(lambda: self.migrations()[-1]["status"] not in UNDER_WAY
                   and self.look()["OS-EXT-STS:task_state"] is None, seconds,
                   f"end of the migration of {self.title} to {to}", poll=0.2)
        return self.migrations()[-1]

    def delete(self, seconds: float = 120) -> None:
        self.run("delete")
        wait_until(lambda: self._gone(), seconds, f"end of server {self.title}", poll=0.2)
        self._leave()

    def _gone(self) -> bool:
        try:
            self.look()
            return False
        except Refused as refused:
            if refused.status != 404:
                raise
            return True

    def _leave(self) -> None:
        if self._console:
            self._console.close()
            self._console = None

    def close(self) -> None:
        """Deletes it if it is still there. Twice is fine."""
        self._leave()
        if not self._gone():
            self.delete()
