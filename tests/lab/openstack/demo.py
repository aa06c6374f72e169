# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cloud, to watch: two compute hosts and a memory server, on which `openstack server create` with a heca flavor gives a
server a quarter of its memory here and three quarters there; it moves, its hecad crashes, it is suspended, and is gone.

Prints a table of what happened and writes build/demo/openstack.json. Ends with 1 if a single byte was wrong.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from lab.bench import Bench
from lab.openstack.cloud import Cloud
from lab.openstack.governed import (
    LOCAL_MIB,
    RAM_MIB,
    REMOTE_MIB,
    WORKLOAD,
    create_flavor,
    hecad_of,
    is_aggregated,
    is_counted,
    nothing_is_left,
    other_host,
)
from lab.openstack.server import Server
from lab.story import Story, perform, rate_over
from lab.workload import Workload


class Watched:
    """The server, as the story looks at it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def guest(self) -> Workload:
        return self._server.guest

    def resident_bytes(self) -> int:
        return int(hecad_of(self._server).region(self._server.name)["resident_bytes"])


def move(server: Server, vm: Watched, story: Story) -> dict[str, Any]:
    destination = other_host(server)
    source = hecad_of(server)
    began = time.monotonic()
    record = server.live_migrate(destination)
    took = time.monotonic() - began
    is_aggregated(server)
    last = source.ctl("migrations")["migrations"][-1]
    stood_ms = int(last["downtime_ns"]) / 1e6
    story.tell(f"live-migrated to {destination}: {record['status']}", took, vm,
               f"stood still {stood_ms:.1f} ms, {last['faults']} faults served")
    return {"to": destination, "status": record["status"], "took_s": round(took, 3), "stood_still_ms": round(stood_ms, 2)}


def run(bench: Bench, story: Story) -> dict[str, Any]:
    cloud = bench.keep(Cloud(bench.logs))
    story.tell("OpenStack: 2 computes, 1 memory server", cloud.ready_s, None)

    began = time.monotonic()
    create_flavor(cloud, "demo")
    server = bench.keep(Server(cloud, "demo", "demo", cloud.images.add("demo", WORKLOAD)))
    server.wait_boots()
    vm = Watched(server)
    is_aggregated(server)
    is_counted(server)
    story.tell(f"server of {RAM_MIB} MiB booted on {server.host.name}", time.monotonic() - began, vm,
               f"placement: {LOCAL_MIB} MiB here, {REMOTE_MIB} at the memory server")
    rate, gap = rate_over(vm, 10)
    story.tell("ran", 10, vm, f"{rate:.0f} verified/s, longest gap {gap} ms")

    moves = [move(server, vm, story), move(server, vm, story)]

    began = time.monotonic()
    hecad = hecad_of(server)
    hecad.kill()
    hecad.start()
    hecad.wait_active(server.name, 60)
    restart = time.monotonic() - began
    _, crash_gap = rate_over(vm, 10)
    story.tell("hecad killed (SIGKILL), restarted, ran on", restart, vm, f"longest gap {crash_gap} ms")

    began = time.monotonic()
    server.run("suspend", seconds=300)
    server.wait("SUSPENDED", 300)
    server.run("resume")
    server.wait("ACTIVE", 300)
    server.find()
    is_aggregated(server)
    story.tell("suspended: all of it saved; and resumed", time.monotonic() - began, vm)

    errors = server.guest.verify()
    story.tell("the guest looked at every page", 0, vm, f"{errors} wrong pages")
    began = time.monotonic()
    server.delete()
    nothing_is_left(cloud)
    story.tell("deleted: nothing is left of it anywhere", time.monotonic() - began, None)
    return {"errors": errors, "ready_s": round(cloud.ready_s, 1), "ram_mib": RAM_MIB, "local_mib": LOCAL_MIB,
            "migrations": moves, "restart_s": round(restart, 3), "longest_gap_ms": {"ran": gap, "over_the_crash": crash_gap}}


if __name__ == "__main__":
    sys.exit(perform("demo-openstack", "openstack.json", run))
