# SPDX-License-Identifier: LGPL-2.1-or-later
"""Attaches that must be refused: a clear error in good time, and the guest untouched."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.bench import Bench
from lab.deadline import LabError, wait_until
from lab.hardship import MIB
from lab.hecad import CommandFailed, Hecad
from lab.processes import userfaultfds
from lab.qemu import Qemu

SMALL = {"mib": 96, "rate": 2000}


def assert_untouched(guest: Qemu) -> None:
    guest.guest.wait_ticks(1, 20)
    assert guest.guest.verify() == 0
    guest.guest.check()
    assert userfaultfds(guest.pid) == 0


def refused(compute: Hecad, pid: int, qmp: Path | None = None, local: str = "64MiB", name: str = "r1") -> str:
    with pytest.raises(CommandFailed) as caught:
        compute.attach(pid, name, local, qmp=qmp, seconds=30)
    assert len(caught.value.text.strip()) > 20, "an error says what and why"
    return caught.value.text


def test_pids_that_are_no_vm(bench: Bench) -> None:
    compute = bench.compute(bench.sponsor("256MiB"))
    dead = subprocess.Popen(["true"])
    dead.wait(10)
    assert str(dead.pid) in refused(compute, dead.pid)
    plain = subprocess.Popen(["sleep", "600"])
    try:
        refused(compute, plain.pid)
        assert plain.poll() is None
    finally:
        plain.kill()
        plain.wait(10)
    refused(compute, 1)
    assert compute.regions() == []
    assert compute.alive()


def test_private_memory_is_refused(bench: Bench) -> None:
    compute = bench.compute(bench.sponsor("512MiB"))
    guest = bench.qemu(mib=192, ram_backend="private", workload=SMALL)
    guest.guest.wait_ready()
    text = refused(compute, guest.pid, guest.heca_qmp)
    assert "shar" in text  # share=on, shared: the remedy is named
    assert_untouched(guest)


def test_memory_on_a_disk_is_refused(bench: Bench, tmp_path: Path) -> None:
    compute = bench.compute(bench.sponsor("512MiB"))
    guest = bench.qemu(mib=192, ram_dir=bench.logs, workload=SMALL)
    guest.guest.wait_ready()
    assert "tmpfs" in refused(compute, guest.pid, guest.heca_qmp)
    assert_untouched(guest)


def test_second_attach_and_small_sponsor(bench: Bench) -> None:
    compute = bench.compute(bench.sponsor("256MiB"))
    guest = bench.qemu(mib=192, workload=SMALL)
    large = bench.qemu("large", mib=512, workload=SMALL)
    for vm in (guest, large):
        vm.guest.wait_ready()
    refused(compute, large.pid, large.heca_qmp)  # 512 MiB cannot be backed by 256 MiB
    assert_untouched(large)
    compute.attach(guest.pid, "r1", "64MiB", qmp=guest.heca_qmp)
    refused(compute, guest.pid, guest.heca_qmp, name="r2")
    refused(compute, large.pid, large.heca_qmp, name="r1")
    compute.wait_resident_below("r1", 64 * MIB)
    compute.detach("r1")
    guest.guest.wait_ticks(1, 20)
    assert guest.guest.verify() == 0


def test_sponsor_gone_in_the_middle_of_attach(bench: Bench) -> None:
    """The link dies before attach asks for memory: an error within the deadline, and a second try works."""
    link = bench.link()
    compute = bench.compute(bench.sponsor("512MiB", link=link))
    guest = bench.qemu(mib=192, workload=SMALL)
    guest.guest.wait_ready()
    link.cut()
    refused(compute, guest.pid, guest.heca_qmp)
    assert_untouched(guest)
    link.mend()

    def attach() -> bool:
        try:
            compute.attach(guest.pid, "r1", "64MiB", qmp=guest.heca_qmp)
            return True
        except LabError:
            return False

    wait_until(attach, 60, "attach once the link is back")
    compute.detach("r1")
    assert guest.guest.verify() == 0
