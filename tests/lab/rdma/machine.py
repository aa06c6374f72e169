# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine with a software RDMA device, on Linux 6.1: this host's kernel has none and loads no modules."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import guest_image
from lab.bench import Bench
from lab.deadline import LabError
from lab.machine import Console, Furniture, Machine
from lab.rdma import siw

ADDRESS, INTERFACE = "10.9.0.1", "dummy0"

# In the order of loading; each needs the ones before it.
MODULES = (
    *guest_image.MODULES,
    "crypto/crc32_generic", "arch/x86/crypto/crc32-pclmul", "crypto/crc32c_generic", "arch/x86/crypto/crc32c-intel",
    "lib/libcrc32c", "drivers/net/dummy", "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net",
    "drivers/infiniband/core/ib_core", "drivers/infiniband/core/ib_uverbs", "fs/configfs/configfs",
    "drivers/infiniband/core/ib_cm", "drivers/infiniband/core/iw_cm", "drivers/infiniband/core/rdma_cm",
    "drivers/infiniband/core/rdma_ucm", "net/ipv4/udp_tunnel", "net/ipv6/ip6_udp_tunnel",
    "drivers/infiniband/sw/rxe/rdma_rxe",
)
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu/libibverbs")


def program(name: str) -> Path:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not found:
        raise LabError(f"{name} is not installed: tools/install-packages")
    return Path(found).resolve()


def furniture(device: str, more: Sequence[Path] = ()) -> Furniture:
    """rdma of iproute2, the devices' userspace drivers (which ldd does not show), what they load by name, and `more` files."""
    with guest_image.cache_locked():
        built = [siw.module()] if device == "siw" else []
    drivers = [LIBRARIES / f"lib{name}-rdmav34.so" for name in ("rxe", "siw")]
    names = [Path(f"/etc/libibverbs.d/{name}.driver") for name in ("rxe", "siw")]
    loaded = Path("/usr/lib/x86_64-linux-gnu/libgcc_s.so.1")  # by pthread_cancel
    return Furniture(MODULES, "vmlinux-rdma", [program("rdma"), *drivers, *names, loaded, *more], built)


@dataclass(frozen=True)
class Port:
    """The network device below a machine's RDMA device, and what of QEMU's it needs."""

    address: str = ADDRESS
    interface: str = INTERFACE
    extra: Sequence[str] = ()


ON_A_DUMMY = Port()


def resources(machine: Console, rdma: str) -> dict[str, int]:
    """What programs hold of all devices: queue pairs, completion queues, registered memory; nothing where there is no RDMA."""
    said = machine.attempt(f"{rdma} resource show")[1]
    return {kind: sum(int(count) for count in re.findall(rf" {kind} (\d+) ", said)) for kind in ("qp", "cq", "mr")}


class RdmaMachine(Machine):
    """`device` is rxe or siw, on the port's network device; an MTU at which a page travels in one packet. `more` files are in
    it beside the programs; `options` are QEMU's."""

    def __init__(self, bench: Bench, device: str, programs: Sequence[str], mib: int = 1536, name: str = "machine",
                 port: Port = ON_A_DUMMY, more: Sequence[Path] = (), **options: Any) -> None:
        super().__init__(bench, programs, mib, furniture(device, more), name, extra=list(port.extra), **options)
        self.device, self.rdma, self.port = device, str(program("rdma")), port
        self.run(f"ifconfig {port.interface} {port.address} netmask 255.255.255.0 mtu 4200 up")
        self._add_device()
        self.idle_resources = resources(self, self.rdma)

    def _add_device(self) -> None:
        self.run(f"{self.rdma} link add {self.device}0 type {self.device} netdev {self.port.interface}")
        self.wait(f"{self.rdma} link show | grep -q ACTIVE", 20)

    def renew_device(self) -> None:
        """Taken away from under its connections, and returned."""
        self.run(f"{self.rdma} link delete {self.device}0")
        self._add_device()

    @property
    def is_way_out(self) -> bool:
        return False

    @property
    def environment(self) -> str:
        """Before a test program of this build."""
        return f"HECA_TEST_RDMA={self.port.address},{self.port.interface}"
