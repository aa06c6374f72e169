# SPDX-License-Identifier: LGPL-2.1-or-later
"""Attaches of plain processes that must be refused: a clear error with a remedy, and the process untouched."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from lab.bench import Bench
from lab.deadline import wait_until
from lab.hardship import MIB
from lab.hecad import CommandFailed, Hecad
from lab.processes import spawn, userfaultfds
from lab.sysctl import Sysctl
from lab.workload import NativeWorkload

USER = "nobody"
UNPRIVILEGED_UFFD = Path("/proc/sys/vm/unprivileged_userfaultfd")


def target(bench: Bench, mib: int = 64, **options: object) -> NativeWorkload:
    process = bench.native(mib=mib, threads=4, rate=1000, **options)
    process.wait_ready()
    return process


def refused(compute: Hecad, pid: int, says: str, local: str = "32MiB", name: str = "p1") -> None:
    """`says`: a pattern of the reason and the remedy."""
    with pytest.raises(CommandFailed) as caught:
        compute.attach(pid, name, local, seconds=30)
    assert re.search(says, caught.value.text), caught.value.text
    assert compute.alive()


def untouched(process: NativeWorkload) -> None:
    process.wait_ticks(1, 20)
    assert process.verify() == 0
    process.check()
    assert userfaultfds(process.pid) == 0


def lent(sponsor: Hecad) -> int:
    return sum(int(lease["reserved_bytes"]) for lease in sponsor.leases())


def test_pids_that_cannot_be_meant(bench: Bench) -> None:
    sponsor = bench.sponsor("256MiB")
    compute = bench.compute(sponsor)
    dead = subprocess.Popen(["true"])
    dead.wait(10)
    refused(compute, dead.pid, f"no process {dead.pid}")
    zombie = subprocess.Popen(["true"])  # not waited for yet
    wait_until(lambda: Path(f"/proc/{zombie.pid}/stat").read_text().split()[2] == "Z", 10, "a zombie")
    refused(compute, zombie.pid, "has no memory: a kernel thread or a zombie")
    zombie.wait(10)
    process = target(bench)
    thread = max(int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir())
    refused(compute, thread, f"is a thread of process {process.pid}; name the process")
    refused(compute, 1, "process 1 has no shared writable mapping|cannot open /proc/1/")
    refused(compute, sponsor.pid, "a hecad: .*; remedy: name the process")
    refused(compute, compute.pid, "a hecad: .*; remedy: name the process|cannot inject into itself")
    plain = spawn(["sleep", "600"])
    try:
        refused(compute, plain.pid, "no shared writable mapping .* map its memory from a file on /dev/shm with MAP_SHARED")
        assert plain.poll() is None
    finally:
        plain.kill()
        plain.wait(10)
    os.kill(process.pid, signal.SIGSTOP)
    refused(compute, process.pid, rf"stopped by a signal; continue it first \(kill -CONT {process.pid}\)")
    os.kill(process.pid, signal.SIGCONT)
    untouched(process)
    assert compute.regions() == []
    assert lent(sponsor) == 0


def test_twice(bench: Bench) -> None:
    """By the same hecad, under both names, and by another hecad of this host."""
    sponsor = bench.sponsor("512MiB")
    compute, other = bench.compute(sponsor), bench.compute(sponsor, name="other")
    process, second = target(bench), target(bench, name="second")
    compute.attach(process.pid, "p1", "32MiB")
    before = lent(sponsor)
    refused(compute, process.pid, f"process {process.pid} is governed already, as region 'p1'", name="p2")
    refused(compute, second.pid, "a region 'p1' exists already; choose another --name")
    refused(other, process.pid, "has a userfaultfd already .* detach what governs this memory")
    assert other.regions() == [] and lent(sponsor) == before
    untouched(second)
    compute.wait_resident_below("p1", 32 * MIB)
    process.wait_ticks(2, 30)
    assert process.verify() == 0
    compute.detach("p1")
    untouched(process)


def test_a_sponsor_that_is_too_small(bench: Bench) -> None:
    sponsor = bench.sponsor("64MiB")
    compute = bench.compute(sponsor)
    process = target(bench, mib=256)
    refused(compute, process.pid, "no sponsor lends what region 'p1' needs: .*(64MiB|64 MiB)")
    untouched(process)
    assert lent(sponsor) == 0
    compute.attach(process.pid, "p1", "220MiB")  # what is asked for may be less
    compute.detach("p1")
    untouched(process)


@pytest.mark.parametrize("connection", [1, 3])
def test_a_sponsor_that_dies_in_the_middle(bench: Bench, connection: int) -> None:
    """The lease is granted, and SIGKILL meets the sponsor when the first or the last connection is asked for."""
    sponsor = bench.sponsor("128MiB", slab_size="16MiB", fail=f"crash-at-open-data=crash@{connection}")
    compute = bench.compute(sponsor)
    process = target(bench)
    refused(compute, process.pid, "no data connection to sponsor sponsor within .* is its data port reachable")
    assert sponsor.wait_exit(20) == -9
    untouched(process)
    # Nobody else may end a lease that was opened: its owner gives it back once the sponsor is there again.
    assert [region["state"] for region in compute.regions()] == ["ending"]
    sponsor.fail = ""
    sponsor.start()
    wait_until(lambda: lent(sponsor) == 0, 20, "the lease of the attach that failed given back", poll=0.2)
    wait_until(lambda: compute.regions() == [], 20, "nothing left to do", poll=0.2)
    compute.attach_when_known(process.pid, "p1", "32MiB")
    compute.detach("p1")
    untouched(process)


def test_hecad_without_privilege(bench: Bench) -> None:
    """One that governs does not start; one that only lends says so, and touches nobody, of its own user or another."""
    process, own = target(bench), target(bench, name="own", user=USER)
    hecad = Hecad("unprivileged", bench.logs, user=USER)
    bench.keep(hecad).start(wait=False)
    assert hecad.wait_exit(20) == 3
    assert "missing privilege: CAP_DAC_OVERRIDE" in hecad.log.read_text()
    lender = bench.keep(Hecad("lender", bench.logs, donate="64MiB", user=USER, compute=False)).start()
    for pid in (process.pid, own.pid):
        refused(lender, pid, "this hecad only lends memory; set compute = true")
    untouched(process)
    untouched(own)


@pytest.mark.parametrize("allowed", [False, True])
def test_process_of_another_user(bench: Bench, allowed: bool) -> None:
    """Its own userfaultfd serves the kernel only with CAP_SYS_PTRACE or by a sysctl: refused by name, else governed."""
    bench.keep(Sysctl(UNPRIVILEGED_UFFD, int(allowed)))
    sponsor = bench.sponsor("256MiB")
    compute = bench.compute(sponsor)
    process = target(bench, user=USER)
    if not allowed:
        refused(compute, process.pid, "may not make a userfaultfd .* run it with CAP_SYS_PTRACE or set sysctl")
        untouched(process)
        assert lent(sponsor) == 0
        return
    compute.attach(process.pid, "p1", "32MiB")
    compute.wait_resident_below("p1", 32 * MIB)
    process.wait_ticks(2, 30)
    assert process.verify() == 0
    compute.detach("p1")
    untouched(process)
