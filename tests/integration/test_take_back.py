# SPDX-License-Identifier: LGPL-2.1-or-later
"""A restarted hecad and what can be in its way; detaches that nobody waits for; pages that are lost."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab.bench import Bench
from lab.deadline import wait_until
from lab.hardship import MIB, Account, come_home
from lab.hecad import CommandFailed, Hecad
from lab.paths import binary
from lab.processes import spawn, stop
from lab.workload import NativeWorkload


def governed(bench: Bench, compute: Hecad, name: str, mib: int = 96, local: str = "32MiB") -> NativeWorkload:
    process = bench.native(mib=mib, name=name, threads=4, slices=True, rate=2000)
    process.wait_ready()
    compute.attach(process.pid, name, local)
    return process


def has_event(hecad: Hecad, kind: str, region: str) -> bool:
    return any(event["kind"] == kind and event["region"] == region for event in hecad.events())


def wait_gone(compute: Hecad, sponsor: Hecad, seconds: float = 60) -> None:
    wait_until(lambda: compute.regions() == [], seconds, "no region left", poll=0.1)
    wait_until(lambda: sponsor.ctl("leases")["leases"] == [], 20, "every lease given back", poll=0.1)


@contextmanager
def tmpfs(directory: Path, size: str) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)], check=True, timeout=20)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True, timeout=20)


def fill(directory: Path) -> Path:
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return filler


@contextmanager
def detaching(compute: Hecad, name: str) -> Iterator[None]:
    """A `hecactl detach` that was begun, cannot end yet, and whose client is gone afterwards."""
    client = spawn([str(binary("hecactl")), "--socket", str(compute.socket), "detach", name],
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: compute.region(name)["state"] == "detaching", 20, "detach begun", poll=0.05)
        yield
    finally:
        stop(client)


def test_a_region_that_cannot_be_taken_back_is_tried_again_and_delays_no_other(bench: Bench) -> None:
    compute = bench.compute(bench.sponsor("512MiB"))
    first, second = governed(bench, compute, "p1"), governed(bench, compute, "p2")
    compute.kill()
    with (compute.memory / "run/regions/p1/pages").open("rb") as table:
        fcntl.flock(table, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as another hecad would hold it
        compute.start()
        compute.wait_active("p2")
        second.wait_ticks(2, 30)
        region = compute.region("p1")
        assert region["state"] == "resuming"
        assert "another hecad serves this region" in region["trouble"]
        assert region["pid"] == first.pid
        assert region["size_bytes"] == 96 * MIB
        assert has_event(compute, "resuming", "p1")
        for refused in (["limit", "p1", "64MiB"], ["detach", "p1"]):
            with pytest.raises(CommandFailed, match="being taken back"):
                compute.ctl(*refused)
        with pytest.raises(CommandFailed, match="governed already"):
            compute.attach(first.pid, "p3", "32MiB")
    compute.wait_active("p1", 30)
    assert compute.region("p1")["trouble"] == ""
    first.wait_ticks(2, 30)
    assert come_home(compute, {"p1": first, "p2": second}, Account()).errors == 0


def test_a_process_that_ends_while_its_region_cannot_be_taken_back(bench: Bench) -> None:
    sponsor = bench.sponsor("256MiB")
    compute = bench.compute(sponsor)
    process = governed(bench, compute, "p1")
    compute.kill()
    with (compute.memory / "run/regions/p1/pages").open("rb") as table:
        fcntl.flock(table, fcntl.LOCK_EX | fcntl.LOCK_NB)
        compute.start()
        assert compute.region("p1")["state"] == "resuming"
        process.close()
        wait_gone(compute, sponsor, 30)
    assert has_event(compute, "region-ended", "p1")


def test_a_detach_whose_client_went_away_is_carried_to_its_end(bench: Bench) -> None:
    link = bench.link()
    sponsor = bench.sponsor("256MiB", link=link)
    compute = bench.compute(sponsor)
    process = governed(bench, compute, "p1")
    compute.wait_resident_below("p1", 32 * MIB)
    link.cut()
    with detaching(compute, "p1"):
        pass
    assert compute.region("p1")["state"] == "detaching"
    link.mend()
    wait_gone(compute, sponsor)
    assert has_event(compute, "detached", "p1")
    assert process.verify() == 0
    process.check()


def test_hecad_restarted_in_the_middle_of_a_detach_goes_on_with_it(bench: Bench) -> None:
    link = bench.link()
    sponsor = bench.sponsor("256MiB", link=link)
    compute = bench.compute(sponsor)
    process = governed(bench, compute, "p1")
    compute.wait_resident_below("p1", 32 * MIB)
    link.cut()
    with detaching(compute, "p1"):
        compute.kill()
    compute.start()
    assert compute.region("p1")["state"] == "detaching"
    link.mend()
    wait_gone(compute, sponsor)
    assert has_event(compute, "detached", "p1")
    assert process.verify() == 0
    process.check()


def test_hecad_restarted_when_only_the_lease_is_left(bench: Bench) -> None:
    sponsor = bench.sponsor("256MiB")
    compute = bench.compute(sponsor)
    process = governed(bench, compute, "p1", local="96MiB")
    sponsor.kill()
    compute.detach("p1")
    assert process.verify() == 0
    compute.kill()
    compute.start()
    assert [region["state"] for region in compute.regions()] == ["ending"]
    assert has_event(compute, "detached", "p1")
    sponsor.start()
    wait_gone(compute, sponsor)
    process.wait_ticks(2, 30)
    process.check()


def test_a_full_run_dir_is_refused_at_attach_and_hurts_nobody_later(bench: Bench) -> None:
    sponsor = bench.sponsor("256MiB")
    compute = bench.keep(Hecad("compute", bench.logs, peers=[sponsor]))
    run = compute.memory / "run"
    with tmpfs(run, "192k"):
        compute.start()
        process = bench.native(mib=96, name="p1", threads=4, slices=True, rate=2000)
        process.wait_ready()
        with pytest.raises(CommandFailed) as caught:
            compute.attach(process.pid, "p1", "32MiB")
        assert "needs 2" in caught.value.text and "are free" in caught.value.text, caught.value.text
        assert caught.value.code == 4
        assert sponsor.ctl("leases")["leases"] == []
        assert list((run / "regions").iterdir()) == []
        subprocess.run(["mount", "-o", "remount,size=1M", str(run)], check=True, timeout=20)
        compute.attach(process.pid, "p1", "96MiB")
        filler = fill(run)
        compute.limit("p1", "32MiB")  # every page of the table is written, and the record
        compute.kill()
        compute.start()  # the take-over's claim has to be noted too
        compute.wait_active("p1")
        process.wait_ticks(2, 30)
        assert filler.exists()
        assert come_home(compute, {"p1": process}, Account()).errors == 0


def lose_everything(sponsor: Hecad) -> Path:
    """The sponsor comes back without its memory, which is kept aside."""
    sponsor.kill()
    aside = sponsor.memory / "aside"
    (sponsor.memory / "slabs").rename(aside)
    sponsor.start()
    return aside


def test_lost_pages_are_asked_for_again_when_their_sponsor_is_back(bench: Bench) -> None:
    sponsor = bench.sponsor("256MiB")
    compute = bench.compute(sponsor)
    process = governed(bench, compute, "p1")
    compute.wait_resident_below("p1", 32 * MIB)
    with pytest.raises(CommandFailed, match="no page of region 'p1' is known to be lost"):
        compute.ctl("resolve", "p1", "--lost", "ask-again")
    aside = lose_everything(sponsor)
    wait_until(lambda: compute.region("p1")["lost_bytes"] > 0, 60, "pages are found lost", poll=0.2)
    sponsor.kill()
    (sponsor.memory / "slabs").rename(sponsor.memory / "empty")
    aside.rename(sponsor.memory / "slabs")
    sponsor.start()
    compute.ctl("resolve", "p1", "--lost", "ask-again")
    compute.wait_active("p1", 60)
    process.wait_ticks(2, 60)
    assert compute.region("p1")["lost_bytes"] == 0
    assert come_home(compute, {"p1": process}, Account()).errors == 0


def test_lost_pages_become_zero_only_by_name_and_a_detach_can_end_then(bench: Bench) -> None:
    sponsor = bench.sponsor("256MiB")
    compute = bench.compute(sponsor)
    process = governed(bench, compute, "p1")
    compute.wait_resident_below("p1", 32 * MIB)
    lose_everything(sponsor)
    with pytest.raises(CommandFailed, match="resolve p1 --lost ask-again"):
        compute.detach("p1")  # asks for every page, and finds out that all are lost
    assert compute.region("p1")["lost_bytes"] > 0
    process.check()  # no page was zeroed yet
    with pytest.raises(CommandFailed, match="add --yes"):
        compute.ctl("resolve", "p1", "--lost", "zero")
    compute.ctl("resolve", "p1", "--lost", "zero", "--yes")
    wait_until(lambda: compute.regions() == [], 60, "the detach ends", poll=0.1)
    wait_until(lambda: process.errors() != [], 60, "the process finds the zeros that were asked for", poll=0.1)
    process.alive_or_raise()
