# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real RDMA device of this host, for the tests that otherwise run in a guest: `tools/test rdma --device NAME`."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.bench import Bench
from lab.deadline import LabError
from lab.guest_image import WORKLOAD_SOURCES, native_program
from lab.machine import Console
from lab.paths import GUEST_SOURCES, binary
from lab.processes import stop
from lab.rdma.machine import Port, program, resources

DEVICES = Path("/sys/class/infiniband")
UNLIMITED = "(ulimit -l unlimited) 2>/dev/null && ulimit -l unlimited"  # where it may be raised: dash ends where it may not


def interface_of(device: str, devices: Path = DEVICES) -> str:
    """The first network device below it."""
    for entry in sorted(devices.glob(f"{device}/ports/*/gid_attrs/ndevs/*")):
        try:
            return entry.read_text().strip()
        except OSError:  # a place for a GID that is not set
            continue
    for entry in sorted(devices.glob(f"{device}/device/net/*")):  # IP over InfiniBand
        return entry.name
    raise LabError(f"RDMA device {device} has no network interface: load ib_ipoib, or see `rdma link show`")


def port_of(device: str) -> Port:
    interface = interface_of(device)
    shown = json.loads(subprocess.run(["ip", "-json", "address", "show", "dev", interface], check=True, capture_output=True,
                                      text=True, timeout=20).stdout)
    addresses = [one["local"] for one in shown[0]["addr_info"] if one["family"] == "inet"]
    if not addresses:
        raise LabError(f"{interface} of RDMA device {device} has no IPv4 address: ip address add ADDRESS/24 dev {interface}")
    return Port(addresses[0], interface)


class DeviceMachine(Console):
    """This host, by a shell whose /run, /tmp, /dev/shm and processes are its own: all of it ends with the shell."""

    def __init__(self, bench: Bench, port: Port, programs: Sequence[str]) -> None:
        self.port, self.rdma = port, str(program("rdma"))
        known = {name: binary(name) for name in programs}
        known["memverify"] = native_program("memverify", WORKLOAD_SOURCES)
        commands = shlex.quote((GUEST_SOURCES / "machine-commands").read_text())
        copies = " && ".join(f"cp {shlex.quote(str(path))} /run/bin/{name}" for name, path in known.items())
        # /tmp last: the programs may come from there.
        script = (f"mount -t tmpfs none /run && mkdir /run/bin && {copies} && mount -t tmpfs none /dev/shm && "
                  f"mount -t tmpfs none /tmp && {{ {UNLIMITED}; eval {commands}; }}")
        ours, theirs = socket.socketpair()
        self._shell = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script],
            stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=theirs.fileno(), cwd="/",
            env={**os.environ, "PATH": f"/run/bin:{os.environ['PATH']}"})
        theirs.close()
        super().__init__(ours, bench.logs / "machine.log", lambda: None)
        bench.keep(self)
        self.await_ready(20)
        self.idle_resources = resources(self, self.rdma)

    def close(self) -> None:
        super().close()
        stop(self._shell)

    @property
    def is_way_out(self) -> bool:
        """Whether others are reached by its interface, which must stay up then."""
        return self.run(f"ip route show default dev {self.port.interface}").strip() != ""

    def renew_device(self) -> None:
        """It is the host's: it stays."""

    @property
    def environment(self) -> str:
        return f"HECA_TEST_RDMA={self.port.address},{self.port.interface}"
