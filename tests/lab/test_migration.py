# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM moves from one QEMU to another, its memory by hecad: it verifies itself before and after."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab.bench import Bench
from lab.deadline import wait_until
from lab.hecad import CommandFailed, Hecad, Peer
from lab.qemu import Qemu

WORKLOAD = {"mib": 300, "threads": 2, "rate": 20000}


def pair(bench: Bench, **options: Any) -> tuple[Qemu, Qemu]:
    """A guest that verifies itself, and the QEMU that waits for it: both unprivileged, as under libvirt."""
    options = {"mib": 512, "sandbox": True, "user": "libvirt-qemu", "workload": WORKLOAD, **options}
    source = bench.qemu("source", **options)
    source.guest.wait_ready()
    return source, bench.qemu("destination", incoming=True, **options)


def two_nodes(bench: Bench, **options: Any) -> tuple[Hecad, Hecad]:
    there = bench.compute(name="there", **options)
    return bench.compute(there, name="here"), there


def left_cleanly(source: Qemu, destination: Qemu, here: Hecad, there: Hecad) -> None:
    assert source.run_state() == "postmigrate"
    assert destination.run_state() == "running"
    assert not source.ignores_shared_ram()
    wait_until(lambda: not destination.ignores_shared_ram(), 5, "x-ignore-shared off at the destination")
    wait_until(lambda: here.regions() == [] and there.regions() == [], 10, "no region left")


def stays_here(source: Qemu, here: Hecad, there: Hecad) -> None:
    """As if nothing had happened."""
    source.guest.wait_ticks(3, 60)
    assert source.run_state() == "running"
    wait_until(lambda: not source.ignores_shared_ram(), 20, "x-ignore-shared off at the source")
    assert source.guest.verify() == 0
    source.guest.check()
    wait_until(lambda: here.regions() == [] and there.regions() == [], 20, "no region left")
    assert second_names(source) == []


def second_names(source: Qemu) -> list[Path]:
    """hecad's own names of the RAM files, which must be gone once the memory is not needed any more."""
    inodes = {path.stat().st_ino for path in source.ram_files()}
    return [path for path in Path("/dev/shm").glob(".heca-departure-*") if path.stat().st_ino in inodes]


def test_a_vm_moves_and_verifies_itself(bench: Bench) -> None:
    here, there = two_nodes(bench)
    source, destination = pair(bench)
    before = source.guest.ticks()[-1]
    summary = here.migrate(source, destination, "there")
    ticks = destination.guest.wait_ticks(3, 60)
    assert ticks[0].number > before.number, "it goes on where it was"
    assert destination.guest.verify() == 0
    destination.guest.check()
    left_cleanly(source, destination, here, there)
    assert 0 < summary["downtime_ns"] < 2e9
    assert summary["moved_bytes"] + summary["zero_bytes"] >= 0.9 * (512 << 20)
    assert summary["zero_bytes"] > 50 << 20, "memory that was never touched costs nothing"
    assert second_names(source) == []


def test_a_destination_with_other_memory_is_refused_and_the_vm_runs_on(bench: Bench) -> None:
    here, _ = two_nodes(bench)
    source = bench.qemu("source", mib=512, workload=WORKLOAD)
    source.guest.wait_ready()
    destination = bench.qemu("destination", mib=384, incoming=True)
    with pytest.raises(CommandFailed, match="other RAM"):
        here.migrate(source, destination, "there")
    source.guest.wait_ticks(2, 30)
    assert source.run_state() == "running"
    assert not source.ignores_shared_ram() and not destination.ignores_shared_ram()
    assert source.guest.verify() == 0


def test_the_destinations_hecad_crashes_while_memory_follows(bench: Bench) -> None:
    here, there = two_nodes(bench, fail="crash-after-copy=crash@300")
    source, destination = pair(bench)
    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(here.migrate, source, destination, "there")
        there.wait_exit(60)
        there.fail = ""
        there.start()
        migration.result(120)
    destination.guest.wait_ticks(2, 60)
    assert destination.guest.verify() == 0
    left_cleanly(source, destination, here, there)


def test_the_sources_hecad_crashes_while_memory_follows(bench: Bench) -> None:
    there = bench.compute(name="there")
    here = bench.compute(there, name="here", fail="crash-serving-image=crash@5000")
    source, destination = pair(bench)
    with pytest.raises(CommandFailed):
        here.migrate(source, destination, "there")
    here.wait_exit()
    source.process.kill()  # and its QEMU too: the memory has a name of hecad's own
    assert len(second_names(source)) == 1
    here.fail = ""
    here.start()
    destination.guest.wait_ticks(2, 60)
    assert destination.guest.verify() == 0
    destination.guest.check()
    wait_until(lambda: there.regions() == [], 60, "all memory has come")
    wait_until(lambda: second_names(source) == [], 10, "the source keeps nothing")


@pytest.mark.parametrize("moment", ["crash-while-streaming", "crash-at-switch-over"])
def test_the_sources_hecad_crashes_before_the_switch(bench: Bench, moment: str) -> None:
    there = bench.compute(name="there")
    here = bench.compute(there, name="here", fail=f"{moment}=crash")
    source, destination = pair(bench)
    with pytest.raises(CommandFailed):
        here.migrate(source, destination, "there")
    here.wait_exit()
    here.fail = ""
    here.start()
    stays_here(source, here, there)


def test_the_destinations_hecad_crashes_at_the_switch(bench: Bench) -> None:
    here, there = two_nodes(bench, fail="crash-at-open=crash")
    source, destination = pair(bench)
    with pytest.raises(CommandFailed):
        here.migrate(source, destination, "there")
    there.wait_exit()
    there.fail = ""
    there.start()
    stays_here(source, here, there)
    assert destination.process.wait(10) != 0, "QEMU ends where its stream ends before its time"


def test_a_destination_qemu_that_is_gone_costs_the_vm_nothing(bench: Bench) -> None:
    here, there = two_nodes(bench)
    source, destination = pair(bench)
    destination.process.kill()
    destination.process.wait(10)
    with pytest.raises(CommandFailed):
        here.migrate(source, destination, "there")
    stays_here(source, here, there)


def test_a_vm_that_dies_at_its_destination_is_reported_and_not_brought_back(bench: Bench) -> None:
    there = bench.compute(name="there")
    here = bench.compute(there, name="here")
    source, destination = pair(bench)
    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(here.migrate, source, destination, "there")
        wait_until(lambda: destination.run_state() == "running", 30, "it runs there", poll=0.002)
        destination.process.kill()
        try:
            migration.result(60)
        except CommandFailed as failure:
            assert "died at its destination" in failure.text
    assert source.run_state() == "postmigrate", "nobody lets it run again"
    assert not source.ignores_shared_ram()
    wait_until(lambda: there.regions() == [], 30, "nothing left at the destination")


def test_a_qemu_that_runs_a_vm_of_its_own_is_refused_and_unharmed(bench: Bench) -> None:
    here, there = two_nodes(bench)
    source, _ = pair(bench)
    other = bench.qemu("other", mib=512, workload=WORKLOAD)
    other.guest.wait_ready()
    with pytest.raises(CommandFailed, match="does not wait for a VM"):
        here.migrate(source, other, "there")
    stays_here(source, here, there)
    assert other.guest.verify() == 0
    other.guest.check()


def test_a_vm_that_has_left_does_not_run_when_it_is_continued_by_mistake(bench: Bench) -> None:
    here, there = two_nodes(bench)
    source, destination = pair(bench)
    here.migrate(source, destination, "there")
    source.qmp.execute("cont")
    before = source.guest.ticks()
    destination.guest.wait_ticks(4, 60)
    assert source.guest.ticks()[len(before):] == [], "it goes on where it has left"
    assert destination.guest.verify() == 0
    destination.guest.check()


def test_a_link_that_is_cut_while_memory_follows_is_waited_out(bench: Bench, long_form: bool) -> None:
    link = bench.link()
    there = bench.compute(name="there", control_listen=f"{link.near}:7400", data_listen=f"{link.near}:7401")
    here = bench.keep(Hecad("here", bench.logs, peers=[Peer("there", link.near, 7400)], link=link)).start()
    source, destination = pair(bench, mib=1024, workload={"mib": 800, "threads": 2, "rate": 20000})
    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(here.migrate, source, destination, "there", seconds=300)
        wait_until(lambda: destination.run_state() == "running", 60, "it runs there", poll=0.002)
        link.cut()
        left = int(there.regions()[0]["away_bytes"])
        assert left > 100 << 20, "the cut came too late to be one"
        time.sleep(30 if long_form else 5)  # the length of the cut is the thing tested
        assert int(there.regions()[0]["away_bytes"]) > left - (64 << 20), "nothing came, for nothing can"
        link.mend()
        migration.result(300)
    destination.guest.wait_ticks(2, 60)
    assert destination.guest.verify() == 0
    left_cleanly(source, destination, here, there)
