# SPDX-License-Identifier: LGPL-2.1-or-later
"""A lease that runs out while its owner's hecad is down and its process lives."""

from __future__ import annotations

import re

import pytest
from lab.bench import Bench
from lab.deadline import LabError, wait_until
from lab.hardship import MIB, Account, come_home
from lab.hecad import CommandFailed, Hecad
from lab.workload import NativeWorkload


class Scene:
    """A process with most of its memory away, and nobody who renews the lease."""

    def __init__(self, bench: Bench) -> None:
        self.sponsor: Hecad = bench.sponsor("128MiB", slab_size="16MiB", lease_seconds=1)
        self.compute: Hecad = bench.compute(self.sponsor)
        self.process: NativeWorkload = bench.native(mib=96, threads=4, rate=1000)
        self.process.wait_ready()
        self.compute.attach(self.process.pid, "p1", "32MiB")
        self.compute.wait_resident_below("p1", 32 * MIB)
        lease, = self.sponsor.leases()
        assert lease["state"] == "active"
        with pytest.raises(CommandFailed) as refused:
            self.sponsor.ctl("leases", "free", str(lease["id"]))
        assert "is in use by compute" in refused.value.text
        self.compute.kill()

        def quarantined() -> bool:
            return bool(self.sponsor.leases()[0]["state"] == "quarantined")

        wait_until(quarantined, 10, "lease quarantined", poll=0.1)
        self.lease = self.sponsor.leases()[0]
        assert (self.lease["id"], self.lease["owner_node"]) == (lease["id"], "compute")
        assert self.lease["written_bytes"] > 48 * MIB, "what is away is kept"
        assert self.sponsor.wait_event("lease-quarantined")["severity"] == "warning"
        self.other: Hecad = bench.compute(self.sponsor, name="other")
        self.second: NativeWorkload = bench.native(mib=96, name="second", threads=2, rate=500)
        self.second.wait_ready()

    def no_room_for_another(self) -> None:
        with pytest.raises(CommandFailed) as refused:
            self.other.attach(self.second.pid, "p2", "32MiB")
        assert re.search("no sponsor lends what region 'p2' needs: .*sponsor", refused.value.text)

    def room_for_another(self) -> None:
        self.other.attach_when_known(self.second.pid, "p2", "32MiB")
        self.second.wait_ticks(2, 30)
        assert self.second.verify() == 0
        self.other.detach("p2")
        assert self.second.verify() == 0


def test_expired_lease_is_kept_for_its_owner(bench: Bench) -> None:
    scene = Scene(bench)
    scene.no_room_for_another()
    scene.process.check()
    scene.compute.start()
    scene.compute.wait_active("p1")
    scene.process.wait_ticks(2, 60)
    lease, = scene.sponsor.leases()
    assert (lease["id"], lease["state"]) == (scene.lease["id"], "active")
    assert lease["epoch"] > scene.lease["epoch"], "the former hecad is shut out"
    scene.sponsor.wait_event("lease-revived")
    assert come_home(scene.compute, {"p1": scene.process}, Account()).errors == 0
    assert scene.sponsor.leases() == []
    scene.room_for_another()


def test_operator_frees_what_a_dead_owner_left(bench: Bench) -> None:
    scene = Scene(bench)
    scene.no_room_for_another()
    scene.process.close()
    scene.sponsor.ctl("leases", "free", str(scene.lease["id"]))
    assert scene.sponsor.leases() == []
    scene.sponsor.wait_event("lease-freed")
    scene.room_for_another()


def stands_still(process: NativeWorkload) -> bool:
    try:
        process.wait_ticks(1, 3)
        return False
    except LabError as error:
        return "not within" in str(error)


def test_a_lease_freed_by_mistake_never_reads_as_zeros(bench: Bench) -> None:
    scene = Scene(bench)
    scene.sponsor.ctl("leases", "free", str(scene.lease["id"]))
    scene.room_for_another()
    scene.compute.start()
    event = scene.compute.wait_event("sponsor-lost")
    assert "does not know lease" in event["text"] and "freed there" in event["text"]
    scene.compute.wait_event("pages-lost")
    wait_until(lambda: stands_still(scene.process), 30, "every thread waits for a page of its own")
    scene.process.check()
