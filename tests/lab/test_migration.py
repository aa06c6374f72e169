# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM moves from one QEMU to another, its memory by hecad: it verifies itself before and after."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.bench import Bench
from lab.deadline import wait_until
from lab.hecad import CommandFailed, Hecad, Peer
from lab.processes import userfaultfds
from lab.qemu import Qemu
from lab.vm_pair import WORKLOAD, left_cleanly, pair, second_names, stays_here, two_nodes, verifying, waiting


# What a hybrid migration leaves can be there before the VM runs: no vCPU waits for it then, but where it is held back.
@pytest.mark.parametrize(("mode", "options"), [("post-copy", []), ("hybrid", ["--bandwidth", "128MiB"]), ("pre-copy", [])],
                         ids=["post-copy", "hybrid", "pre-copy"])
def test_a_vm_moves_and_verifies_itself(bench: Bench, mode: str, options: list[str]) -> None:
    here, there = two_nodes(bench)
    source, destination = pair(bench)
    before = source.guest.ticks()[-1]
    summary = here.migrate(source, destination, "there", "--mode", mode, "--downtime-ms", "500", *options)
    ticks = destination.guest.wait_ticks(3, 60)
    assert ticks[0].number > before.number, "it goes on where it was"
    assert destination.guest.verify() == 0
    destination.guest.check()
    left_cleanly(source, destination, here, there)
    assert 0 < summary["downtime_ns"] < 2e9
    assert summary["moved_bytes"] + summary["zero_bytes"] >= 0.9 * (512 << 20)
    assert summary["zero_bytes"] > 50 << 20, "memory that was never touched costs nothing"
    assert summary["mode"] == mode
    assert (summary["ahead_bytes"] > 200 << 20 and summary["rounds"] > 0) == (mode != "post-copy")
    blocked = summary["vcpu_blocked_ms"]
    assert len(blocked) == 2, "of each vCPU"
    assert 0 <= summary["all_vcpus_blocked_ms"] <= min(blocked) <= max(blocked) < summary["total_ms"] + 1000
    assert 0 <= summary["others_blocked_ms"]
    if mode == "pre-copy":
        assert summary["ahead_bytes"] == summary["moved_bytes"], "all of it was there before it ran"
    else:
        assert max(blocked) > 0
    assert second_names(source) == []
    assert userfaultfds(source.pid) == 1, "the fence, and nothing that notes writes"


@pytest.fixture(scope="module")
def standing(module_bench: Bench) -> Qemu:
    """A VM that no test of those that share it gets to leave."""
    return verifying(module_bench)


def test_a_destination_with_other_memory_is_refused_and_the_vm_runs_on(bench: Bench, standing: Qemu) -> None:
    here, _ = two_nodes(bench)
    source = standing
    destination = bench.qemu("destination", mib=384, incoming=True)
    with pytest.raises(CommandFailed, match="other RAM"):
        here.migrate(source, destination, "there")
    source.guest.wait_ticks(2, 30)
    assert source.run_state() == "running"
    assert not source.ignores_shared_ram() and not destination.ignores_shared_ram()
    assert source.guest.verify() == 0


@pytest.mark.parametrize("moment", ["crash-after-copy=crash@300", "crash-after-arrival=crash"], ids=["copied", "arrived"])
def test_the_destinations_hecad_crashes_while_memory_follows(bench: Bench, moment: str) -> None:
    here, there = two_nodes(bench, fail=moment)
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


def source_crashes(bench: Bench, fail: str, *options: str) -> tuple[Hecad, Hecad, Qemu, Qemu]:
    """The source's hecad has died at the fail point `fail`; the next one may be started."""
    there = bench.compute(name="there")
    here = bench.compute(there, name="here", fail=fail)
    source, destination = pair(bench)
    with pytest.raises(CommandFailed):
        here.migrate(source, destination, "there", *options)
    here.wait_exit()
    here.fail = ""
    return here, there, source, destination


def test_the_sources_hecad_crashes_while_memory_follows(bench: Bench) -> None:
    here, there, source, destination = source_crashes(bench, "crash-serving-image=crash@5000")
    source.process.kill()  # and its QEMU too: the memory has a name of hecad's own
    assert len(second_names(source)) == 1
    here.start()
    destination.guest.wait_ticks(2, 60)
    assert destination.guest.verify() == 0
    destination.guest.check()
    wait_until(lambda: there.regions() == [], 60, "all memory has come")
    wait_until(lambda: second_names(source) == [], 10, "the source keeps nothing")


@pytest.mark.parametrize("moment", [
    "crash-in-pre-copy", pytest.param("crash-while-streaming", marks=pytest.mark.long), "crash-at-switch-over"])
def test_the_sources_hecad_crashes_before_the_switch(bench: Bench, moment: str) -> None:
    here, there, source, _ = source_crashes(bench, f"{moment}=crash", "--mode", "hybrid")
    here.start()
    stays_here(source, here, there)


def test_a_thread_that_touches_memory_before_the_source_lets_go_is_told_of(bench: Bench) -> None:
    """A device model that reads guest memory too early, played by the monitor; and a source that falls silent."""
    here, there, source, destination = source_crashes(bench, "crash-while-streaming=crash")
    with ThreadPoolExecutor(1) as pool:
        touch = pool.submit(destination.qmp.execute, "human-monitor-command", 60, command_line="xp /1xw 0x123000")
        event = there.wait_event("early-fault")
        values = event["values"]
        assert values["offset"] == str(0x123000)
        assert values["block"] in event["text"] and values["thread"] in event["text"]
        assert int(values["thread"]) == destination.pid, "its main loop"
        assert values["name"] == Path(f"/proc/{destination.pid}/comm").read_text().strip()
        assert event["text"] in there.regions()[0]["trouble"]
        assert not touch.done()
        here.start()  # calls it off, while that thread waits
        touch.exception(60)  # its QEMU may end before it answers
    stays_here(source, here, there)
    assert [event["kind"] for event in there.events()].count("early-fault") == 1
    destination.process.wait(10)


def goes_on_by_itself(bench: Bench) -> tuple[Hecad, Hecad, Qemu, Qemu]:
    """The source's hecad has died at the switch-over, and QEMU goes on, as libvirt would have told it. Nobody has told the
    destination, whose QEMU waits for its first page."""
    here, there, source, destination = source_crashes(bench, "crash-at-switch-over=crash")
    source.qmp.execute("migrate-continue", state="pre-switchover")
    there.wait_event("early-fault")
    return here, there, source, destination


def test_a_vm_that_goes_on_without_hecads_word_arrives_when_hecad_is_back(bench: Bench) -> None:
    here, there, _, destination = goes_on_by_itself(bench)
    here.start()
    destination.guest.wait_ticks(2, 60)
    assert destination.guest.verify() == 0
    destination.guest.check()
    wait_until(lambda: there.regions() == [], 60, "all memory has come")


def test_a_vm_that_goes_on_without_hecads_word_never_runs_on_zeros(bench: Bench) -> None:
    """The next hecad of the destination knows of no Open: the QEMU ends, and runs nothing."""
    _, there, _, destination = goes_on_by_itself(bench)
    there.kill()
    there.start()
    assert destination.process.wait(20) == -signal.SIGKILL
    assert destination.guest.ticks() == []


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


def test_a_destination_qemu_that_is_gone_costs_the_vm_nothing(bench: Bench, standing: Qemu) -> None:
    here, there = two_nodes(bench)
    source, destination = standing, waiting(bench)
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


def test_a_qemu_that_runs_a_vm_of_its_own_is_refused_and_unharmed(bench: Bench, standing: Qemu) -> None:
    here, there = two_nodes(bench)
    source = standing
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
    source.continue_by_mistake()
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


def test_a_destination_without_room_is_refused_and_the_vm_runs_on(bench: Bench, standing: Qemu) -> None:
    here, there = two_nodes(bench)
    source = standing
    small = bench.tmpfs(200)
    destination = bench.qemu("small", mib=512, workload=WORKLOAD, incoming=True, ram_dir=small.path)
    with pytest.raises(CommandFailed, match="memory"):
        here.migrate(source, destination, "there")
    assert destination.run_state() == "inmigrate"
    stays_here(source, here, there)
