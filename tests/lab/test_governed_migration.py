# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM whose memory is governed moves: what is here moves, what lies at its sponsor is handed over. It stays governed."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab.bench import Bench
from lab.deadline import wait_until
from lab.hecad import CommandFailed, Hecad
from lab.qemu import Qemu

WORKLOAD = {"mib": 300, "threads": 2, "rate": 20000}
MIB = 1 << 20
LOCAL = 128 * MIB


class Cluster:
    """Two hosts and a sponsor, and a VM on the first of them that is larger than its part of it."""

    def __init__(self, bench: Bench, here: str = "", there: str = "", mib: int = 512) -> None:
        self.bench = bench
        self.sponsor = bench.sponsor()
        self.there = bench.compute(self.sponsor, name="there", fail=there)
        self.here = bench.compute(self.there, self.sponsor, name="here", fail=here)
        self.options: dict[str, Any] = {"mib": mib, "sandbox": True, "user": "libvirt-qemu", "workload": WORKLOAD}
        self.source = bench.qemu("source", **self.options)
        self.source.guest.wait_ready(240)
        self.here.attach(self.source.pid, "vm", "128MiB", qmp=self.source.heca_qmp, seconds=120)
        self.destination = self.waiting("destination")

    def waiting(self, name: str) -> Qemu:
        return self.bench.qemu(name, incoming=True, **self.options)

    def leases(self) -> list[dict[str, Any]]:
        leases: list[dict[str, Any]] = self.sponsor.ctl("leases")["leases"]
        return leases


def governed(hecad: Hecad) -> dict[str, Any]:
    """The one region of a hecad, which keeps its limit and has pages at its sponsor."""
    def at_rest() -> dict[str, Any] | None:
        region = hecad.regions()[0]
        return region if region["state"] == "active" and int(region["resident_bytes"]) <= LOCAL else None

    region = wait_until(at_rest, 60, "the region is active and within its limit")
    assert int(region["limit_bytes"]) == LOCAL
    assert int(region["away_bytes"]) > 50 * MIB
    return region


def verified(vm: Qemu) -> None:
    vm.guest.wait_ticks(3, 120)
    assert vm.guest.verify() == 0
    vm.guest.check()


def forgotten(hecad: Hecad) -> None:
    """The host that the VM has left keeps nothing of it."""
    wait_until(lambda: hecad.regions() == [], 30, f"no region at {hecad.name}")
    wait_until(lambda: hecad.ctl("leases")["leases"] == [], 30, f"no image at {hecad.name}")


def stays(cluster: Cluster) -> None:
    """It runs where it was, governed as before, and nothing of it is lost."""
    verified(cluster.source)
    assert cluster.source.run_state() == "running"
    wait_until(lambda: not cluster.source.ignores_shared_ram(), 20, "x-ignore-shared off at the source")
    governed(cluster.here)
    assert len(cluster.leases()) == 1

    def nothing_there() -> bool:
        cluster.destination.process.poll()  # a QEMU that has ended is a zombie until it is asked for
        return cluster.there.regions() == []

    wait_until(nothing_there, 60, "no region at the destination")
    assert int(cluster.here.region("vm")["lost_bytes"]) == 0


@pytest.mark.parametrize("mode", ["post-copy", "hybrid", "pre-copy"])
def test_a_governed_vm_moves_there_and_back(bench: Bench, mode: str) -> None:
    cluster = Cluster(bench)
    options = ("--mode", mode, "--downtime-ms", "1000")
    lease = governed(cluster.here)["stores"][0]["lease"]
    summary = cluster.here.migrate(cluster.source, cluster.destination, "there", *options, seconds=300)
    print(summary)
    assert summary["mode"] == mode
    assert (summary["ahead_bytes"] > 50 * MIB and summary["rounds"] > 0) == (mode != "post-copy")
    verified(cluster.destination)
    assert governed(cluster.there)["stores"][0]["lease"] == lease
    assert cluster.source.run_state() == "postmigrate"
    forgotten(cluster.here)
    cluster.source.process.kill()
    back = cluster.waiting("back")
    to = f"127.0.0.1:{cluster.here.control_port}"
    print(cluster.there.migrate(cluster.destination, back, to, *options, seconds=300))
    verified(back)
    assert governed(cluster.here)["stores"][0]["lease"] == lease
    forgotten(cluster.there)
    assert len(cluster.leases()) == 1, "it was neither given back nor was there ever another one"
    cluster.here.detach(cluster.here.regions()[0]["name"])
    assert back.guest.verify() == 0
    wait_until(lambda: cluster.leases() == [], 20, "the lease is given back when it is detached")


def test_called_off_in_pre_copy_it_goes_on_and_moves_the_next_time(bench: Bench) -> None:
    cluster = Cluster(bench)
    with pytest.raises(CommandFailed):  # at this speed it would take a quarter of a minute, and more for what is written
        cluster.here.migrate(cluster.source, cluster.destination, "there", "--mode", "pre-copy", "--bandwidth", "8MiB",
                             "--timeout", "3")
    stays(cluster)
    cluster.destination.process.kill()
    cluster.destination = cluster.waiting("next")
    cluster.here.migrate(cluster.source, cluster.destination, "there", "--mode", "hybrid", seconds=300)
    verified(cluster.destination)
    governed(cluster.there)
    forgotten(cluster.here)


def test_the_destinations_hecad_crashes_in_pre_copy(bench: Bench) -> None:
    cluster = Cluster(bench, there="crash-after-copy=crash@300")
    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(cluster.here.migrate, cluster.source, cluster.destination, "there", "--mode", "pre-copy")
        cluster.there.wait_exit(60)
        cluster.there.fail = ""
        cluster.there.start()  # it knows nothing of the VM
        with pytest.raises(CommandFailed, match="on its way"):
            migration.result(120)
    stays(cluster)


def test_a_destination_that_is_gone_costs_nothing(bench: Bench) -> None:
    cluster = Cluster(bench)
    cluster.destination.process.kill()
    cluster.destination.process.wait(10)
    with pytest.raises(CommandFailed):
        cluster.here.migrate(cluster.source, cluster.destination, "there")
    stays(cluster)


@pytest.mark.parametrize("moment", [
    "crash-after-copy=crash@300", "crash-after-arrival=crash",
    pytest.param("crash-before-punch=crash@20", marks=pytest.mark.long)])
def test_the_destinations_hecad_crashes_while_memory_follows(bench: Bench, moment: str) -> None:
    cluster = Cluster(bench, there=moment)
    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(cluster.here.migrate, cluster.source, cluster.destination, "there", seconds=300)
        cluster.there.wait_exit(120)
        cluster.there.fail = ""
        cluster.there.start()
        migration.result(300)
    verified(cluster.destination)
    wait_until(lambda: not cluster.destination.ignores_shared_ram(), 20, "x-ignore-shared off at the destination")
    governed(cluster.there)
    forgotten(cluster.here)


def test_the_sources_hecad_crashes_while_memory_follows(bench: Bench) -> None:
    cluster = Cluster(bench, here="crash-serving-image=crash@2000")
    with pytest.raises(CommandFailed):
        cluster.here.migrate(cluster.source, cluster.destination, "there", seconds=300)
    cluster.here.wait_exit()
    cluster.source.process.kill()
    cluster.here.fail = ""
    cluster.here.start()
    verified(cluster.destination)
    governed(cluster.there)
    forgotten(cluster.here)
    assert len(cluster.leases()) == 1, "the source has not given it back"


@pytest.mark.parametrize("moment, mode", [
    pytest.param("crash-while-streaming=crash", "post-copy", marks=pytest.mark.long),
    ("crash-at-switch-over=crash", "post-copy"),
    ("crash-serving-image=crash@2000", "pre-copy"),  # what was armed is for the next one to answer
    pytest.param("crash-at-switch-over=crash", "hybrid", marks=pytest.mark.long)])
def test_the_sources_hecad_crashes_before_the_switch(bench: Bench, moment: str, mode: str) -> None:
    cluster = Cluster(bench, here=moment)
    with pytest.raises(CommandFailed):
        cluster.here.migrate(cluster.source, cluster.destination, "there", "--mode", mode)
    cluster.here.wait_exit()
    cluster.here.fail = ""
    cluster.here.start()
    stays(cluster)


@pytest.mark.parametrize("moment", [
    pytest.param("crash-at-open=crash", marks=pytest.mark.long), "fail-after-take-over=crash"])
def test_the_destinations_hecad_crashes_at_the_switch(bench: Bench, moment: str) -> None:
    cluster = Cluster(bench, there=moment)
    with pytest.raises(CommandFailed):
        cluster.here.migrate(cluster.source, cluster.destination, "there")
    cluster.there.wait_exit()
    cluster.there.fail = ""
    cluster.there.start()
    stays(cluster)


def test_a_destination_that_cannot_serve_the_memory_leaves_the_lease_alone(bench: Bench) -> None:
    """Whatever it gives back of what it had prepared, the pages at the sponsor are those of a VM that runs."""
    cluster = Cluster(bench, there="fail-after-capture=on")
    with pytest.raises(CommandFailed, match="a test wants it so"):
        cluster.here.migrate(cluster.source, cluster.destination, "there")
    stays(cluster)
    assert "given back later" not in cluster.there.log.read_text()


def test_a_migration_that_fails_after_the_lease_was_taken_over_costs_the_vm_nothing(bench: Bench) -> None:
    cluster = Cluster(bench, there="fail-after-take-over=on")
    with pytest.raises(CommandFailed, match="could not be told to go on"):
        cluster.here.migrate(cluster.source, cluster.destination, "there")
    stays(cluster)


def test_a_destination_that_has_to_be_killed_leaves_the_lease_alone(bench: Bench) -> None:
    """Its end is seen while its arrival is being called off: that both let go of the lease at once must not give it back."""
    cluster = Cluster(bench, there="fail-after-take-over=on,slow-leave-lease=on")
    with ThreadPoolExecutor(1) as pool:
        moves = pool.submit(cluster.here.migrate, cluster.source, cluster.destination, "there")
        wait_until(lambda: any("is to come" in event["text"] for event in cluster.there.events()), 30, "it is prepared")
        cluster.destination.process.send_signal(signal.SIGSTOP)
        with pytest.raises(CommandFailed, match="could not be told to go on"):
            moves.result(60)
    stays(cluster)
    log = cluster.there.log.read_text()
    assert "the VM does not come" in log
    assert "not given back yet" not in log, "it asked the sponsor to free the lease of a VM that runs elsewhere"


def test_a_vm_that_has_left_does_not_run_when_it_is_continued_by_mistake(bench: Bench) -> None:
    cluster = Cluster(bench)
    cluster.here.migrate(cluster.source, cluster.destination, "there", seconds=300)
    cluster.source.continue_by_mistake()
    before = cluster.source.guest.ticks()
    cluster.destination.guest.wait_ticks(4, 60)
    assert cluster.source.guest.ticks()[len(before):] == [], "it goes on where it has left"
    verified(cluster.destination)
