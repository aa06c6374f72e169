# SPDX-License-Identifier: LGPL-2.1-or-later
"""A whole OpenStack on one machine: a control plane, hosts with libvirt, hecad and nova-compute, and a host that lends memory.

```
 heca-switch-N (a bridge in a namespace of its own): memory and migrations
   ├── host1, host2: libvirtd, hecad, nova-compute, QEMUs as libvirt-qemu      (lab/hosts.py, compute.py)
   └── sponsor: hecad                                                          (lab/hosts.py)
 heca-switch-M: management
   ├── host1, host2
   └── control: MariaDB, RabbitMQ, keystone, placement, glance, nova           (control.py)
```

As in a real cloud the two are apart: what a test does to a migration's way does not delay what Nova's services tell each other.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from lab.deadline import wait_until
from lab.hosts import Hosts
from lab.openstack import plugins
from lab.openstack.client import Client
from lab.openstack.compute import Compute
from lab.openstack.control import ControlPlane
from lab.openstack.images import Images
from lab.openstack.ssh import Ssh
from lab.switch import Switch

STOCK = "libvirt.LibvirtDriver"
HECA = "heca.HecaLibvirtDriver"


class Cloud:
    """The constructor returns when both computes can be scheduled to, after `ready_s` seconds; `times` says when what was
    done. `lends`: what the sponsor has. close() takes all of it down, and so does a constructor that fails."""

    def __init__(self, logs: Path, driver: str = HECA, lends: str = "1GiB", memory_mib: int = 1024) -> None:
        self.logs = logs
        self.times: dict[str, float] = {}
        self._stack = ExitStack()
        self._began = time.monotonic()
        try:
            self._build(driver, lends, memory_mib)
        except BaseException:
            self.close()
            raise
        self.ready_s = time.monotonic() - self._began

    def _did(self, what: str) -> None:
        self.times[what] = round(time.monotonic() - self._began, 1)

    def _build(self, driver: str, lends: str, memory_mib: int) -> None:
        environment = plugins.install()
        self._did("heca's Python packages")
        self.hosts = Hosts(self.logs, count=2, donate="0", lender=lends, memory_mib=memory_mib, hook=True)
        self._stack.callback(self.hosts.close)
        self._did("hosts with libvirtd and hecad")
        management = Switch()
        self._stack.callback(management.close)
        control = management.join()
        neighbours = {host.name: management.reach(place)
                      for host, place in zip(self.hosts.hosts, self.hosts.places, strict=True)}
        self.control = ControlPlane(control, neighbours, self.logs, environment)
        self._stack.callback(self.control.close)
        self.control.start()
        self._did("control plane's programs started, databases made")
        self.api = self.control.api
        self.client = Client(self.control.host, environment)
        ssh = Ssh(self.hosts.hosts, self.logs)
        self._stack.callback(ssh.close)
        self.computes = [Compute(host, self.control.host.far, driver, self.logs, environment) for host in self.hosts.hosts]
        for compute in self.computes:
            self._stack.callback(compute.close)
            compute.start()
        self.control.wait_answers("image")
        self.images = Images(self.api)
        self._did("images")
        for service in ("placement", "compute"):
            self.control.wait_answers(service)
        self._did("services answer")
        self.wait_computes()
        self._did("computes known")

    def wait_computes(self, seconds: float = 300) -> None:
        """Until the scheduler can choose each of them."""
        def known() -> bool:
            self.control.check()
            for compute in self.computes:
                compute.alive_or_raise()
            hypervisors = self.api.get("compute", "/v2.1/os-hypervisors")["hypervisors"]
            up = {one["hypervisor_hostname"] for one in hypervisors if one["state"] == "up"}
            return up == {compute.host.name for compute in self.computes} == set(self.providers())

        wait_until(known, seconds, "computes are known to the scheduler", poll=0.3)

    def providers(self) -> dict[str, str]:
        """Names of placement's resource providers that have an inventory, and their identities."""
        found = self.api.get("placement", "/resource_providers?resources=MEMORY_MB:1")["resource_providers"]
        return {one["name"]: one["uuid"] for one in found}

    def usages(self, host: str) -> dict[str, int]:
        """What placement counts as used of a host."""
        usages: dict[str, int] = self.api.get("placement", f"/resource_providers/{self.providers()[host]}/usages")["usages"]
        return usages

    def inventory(self, host: str) -> dict[str, dict[str, int]]:
        path = f"/resource_providers/{self.providers()[host]}/inventories"
        inventories: dict[str, dict[str, int]] = self.api.get("placement", path)["inventories"]
        return inventories

    def close(self) -> None:
        """Twice is fine."""
        self._stack.close()
