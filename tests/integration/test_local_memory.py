# SPDX-License-Identifier: LGPL-2.1-or-later
"""Local memory runs out under a governed process: its threads wait, an event says so, nothing is lost, and it goes on
when there is memory again."""

from __future__ import annotations

import time
from typing import Protocol

import pytest
from lab.bench import Bench
from lab.deadline import wait_until
from lab.hardship import MIB, Account, come_home
from lab.hecad import CommandFailed, Hecad
from lab.hogs import FileHog, GroupHog
from lab.workload import NativeWorkload


class Hog(Protocol):
    def grab(self) -> None: ...
    def let_go(self) -> None: ...


def governed(compute: Hecad, process: NativeWorkload, local_mib: int) -> NativeWorkload:
    process.wait_ready()
    compute.attach(process.pid, "p1", f"{local_mib}MiB")
    compute.wait_resident_below("p1", local_mib * MIB)
    return process


def goes_hungry(compute: Hecad, process: NativeWorkload, hog: Hog, seconds: float) -> None:
    before = compute.metric("heca_local_enomem_total")
    hog.grab()
    event = compute.wait_event("out-of-memory")
    assert "no local memory for a page" in event["text"]
    wait_until(lambda: compute.metric("heca_local_enomem_total") > before + 10, 30, "placings that find no memory")
    time.sleep(seconds)  # hungry for so long
    process.check()
    hog.let_go()
    process.wait_ticks(2, 60)
    assert come_home(compute, {"p1": process}, Account()).errors == 0


def test_full_tmpfs(bench: Bench, long_form: bool) -> None:
    tmpfs = bench.tmpfs(160)
    compute = bench.compute(bench.sponsor("256MiB"), metrics=True)
    process = governed(compute, bench.native(mib=96, directory=tmpfs.path, threads=8, rate=1000), 48)
    goes_hungry(compute, process, bench.keep(FileHog(tmpfs.path, 64 << 10)), 30 if long_form else 1)


def test_huge_pages_taken_by_another(bench: Bench, long_form: bool) -> None:
    pages = bench.huge_pages(320)
    compute = bench.compute(bench.sponsor("512MiB"), metrics=True)
    process = governed(compute, bench.native(mib=192, directory=pages.path, threads=8, rate=200), 136)
    goes_hungry(compute, process, bench.keep(FileHog(pages.path, 2 << 20)), 30 if long_form else 1)


def test_full_memory_cgroup(bench: Bench, long_form: bool) -> None:
    """Where the group may not kill: else the kernel does so, before anybody hears of it (docs/limits.md)."""
    group = bench.memory_group()
    try:
        group.never_kill()
    except OSError:
        pytest.skip("a memory cgroup of version 2 always kills")
    compute = bench.compute(bench.sponsor("256MiB"), metrics=True)
    process = governed(compute, bench.native(mib=96, threads=8, rate=1000, prefix=group.command_prefix()), 48)
    goes_hungry(compute, process, bench.keep(GroupHog(group, spare=4 * MIB)), 30 if long_form else 1)


def test_memory_cgroup_that_is_too_small_is_refused(bench: Bench) -> None:
    """Up front, by numbers: at attach, at a higher limit, and at detach. The kernel would kill the process."""
    group = bench.memory_group()
    compute = bench.compute(bench.sponsor("256MiB"))
    process = bench.native(mib=96, threads=4, rate=1000, prefix=group.command_prefix())
    process.wait_ready()
    governed(compute, process, 32)
    group.set_limit(64 * MIB)
    for refuse in (lambda: compute.limit("p1", "90MiB"), lambda: compute.detach("p1")):
        with pytest.raises(CommandFailed) as refused:
            refuse()
        assert "but its memory cgroup has room for" in refused.value.text
        assert f"raise the limit of {group.path}" in refused.value.text
    process.wait_ticks(2, 30)
    group.set_limit(256 * MIB)
    compute.limit("p1", "90MiB")
    compute.detach("p1")
    assert process.verify() == 0
    group.set_limit(104 * MIB)  # all of it is here: that fits
    compute.attach(process.pid, "p2", "48MiB")
    compute.detach("p2")
    assert process.verify() == 0
    process.check()
