# SPDX-License-Identifier: LGPL-2.1-or-later
"""What CPUs do while nothing runs on them. A remote fault is four short sleeps of three threads: in a virtual machine whose
idle CPUs halt at once, waking them is most of what is measured. Kept awake for every party alike, as hecad's
`cpu-latency-us = "0"` does on a host (and the kernel's haltpoll does by default in a guest)."""

from __future__ import annotations

import os

DEVICE = "/dev/cpu_dma_latency"


class AwakeCpus:
    """While it is open, idle CPUs poll: a PM QoS request for 0 us (Linux, pm_qos_interface.rst)."""

    def __init__(self) -> None:
        self.fd = os.open(DEVICE, os.O_WRONLY | os.O_CLOEXEC)
        os.write(self.fd, (0).to_bytes(4, "little"))

    def __enter__(self) -> AwakeCpus:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
