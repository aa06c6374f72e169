# SPDX-License-Identifier: LGPL-2.1-or-later
"""linux-rdma's perftest between two processes of a lab machine: what its device does when nothing else is asked of it."""

from __future__ import annotations

import re
import time
from typing import Any

from lab.deadline import LabError
from lab.rdma.machine import ADDRESS, RdmaMachine, program

TOOLS = ("ib_read_lat", "ib_read_bw", "ib_write_bw")
MIB = 1.048576  # what perftest calls MB, in MB


def row(machine: RdmaMachine, tool: str, size: int, iterations: int) -> list[float]:
    """The figures of its table's line, the size first. Both ends poll; the connection is made by rdma_cm, as iWARP needs it."""
    command = f"{program(tool)} -R -F -s {size} -n {iterations}"
    server = machine.start(command, "/tmp/perftest.log")
    deadline = time.monotonic() + 20
    while True:
        code, said = machine.attempt(f"{command} {ADDRESS}", 300)
        if code == 0:
            break
        if time.monotonic() > deadline:
            raise LabError(f"{tool}: exit {code}:\n{said[-2000:]}\n{machine.attempt('cat /tmp/perftest.log')[1][-2000:]}")
        time.sleep(0.2)  # its server does not listen yet
    machine.wait(f"! grep -q {tool} /proc/{server}/cmdline", 20)
    found = re.search(rf"^ *{size} +\d+ .*$", said, re.MULTILINE)
    if not found:
        raise LabError(f"{tool} said:\n{said[-2000:]}")
    return [float(word) for word in found.group().split()]


def read_latency(machine: RdmaMachine, iterations: int) -> dict[str, float]:
    """Of one READ of 4 KiB, us."""
    figures = row(machine, "ib_read_lat", 4096, iterations)
    return {"p50": figures[4], "p99": figures[7]}


def bandwidth(machine: RdmaMachine, tool: str, sizes: dict[int, int]) -> dict[str, Any]:
    """MB/s by the message's size; `sizes` are {bytes: iterations}."""
    by_size = {str(size): row(machine, tool, size, iterations)[3] * MIB for size, iterations in sizes.items()}
    best = max(by_size, key=lambda size: by_size[size])
    return {"by_size": by_size, "best_size": int(best), "best": by_size[best]}
