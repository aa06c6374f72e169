# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two QEMUs, one with a guest that verifies itself, the other one waiting for it; and what is to be true of them after a
migration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.bench import Bench
from lab.deadline import wait_until
from lab.hecad import Hecad
from lab.processes import userfaultfds
from lab.qemu import Qemu

WORKLOAD = {"mib": 300, "threads": 2, "rate": 20000}


LIKE_LIBVIRT: dict[str, Any] = {"mib": 512, "sandbox": True, "user": "libvirt-qemu", "workload": WORKLOAD}


def verifying(bench: Bench, **options: Any) -> Qemu:
    """A guest that verifies itself; QEMU is unprivileged, as under libvirt."""
    source = bench.qemu("source", **{**LIKE_LIBVIRT, **options})
    source.guest.wait_ready(240)
    return source


def waiting(bench: Bench, **options: Any) -> Qemu:
    """The QEMU that waits for it."""
    return bench.qemu("destination", incoming=True, **{**LIKE_LIBVIRT, **options})


def pair(bench: Bench, **options: Any) -> tuple[Qemu, Qemu]:
    return verifying(bench, **options), waiting(bench, **options)


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
    assert userfaultfds(source.pid) == 0


def second_names(source: Qemu) -> list[Path]:
    """hecad's own names of the RAM files, which must be gone once the memory is not needed any more."""
    inodes = {path.stat().st_ino for path in source.ram_files()}
    return [path for path in Path("/dev/shm").glob(".heca-departure-*") if path.stat().st_ino in inodes]
