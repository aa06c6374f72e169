# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab itself, without hecad: guests verify, and damage that the lab does to memory is found."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from lab.bench import Bench
from lab.deadline import LabError, wait_until
from lab.hecad import Hecad
from lab.machine import Machine
from lab.qemu import Disk, Qemu
from lab.workload import NativeWorkload

MIB = 1 << 20


def assert_healthy(guest: Qemu, ticks: int = 3) -> None:
    guest.guest.wait_ready()
    guest.guest.wait_ticks(ticks, 30)
    assert guest.guest.verify() == 0
    guest.guest.check()


def test_guest_verifies_in_libvirts_sandbox_without_privilege(bench: Bench) -> None:
    guest = bench.qemu(mib=256, sandbox=True, user="libvirt-qemu", workload={"mib": 128})
    assert_healthy(guest)
    assert guest.resident_bytes() > 128 * MIB
    assert os.stat(f"/proc/{guest.pid}").st_uid != 0


def test_numa_guest_with_balloon(bench: Bench) -> None:
    guest = bench.qemu(mib=384, nodes=2, balloon=True, free_page_reporting=True,
                       workload={"mib": 160, "rate": 4000})
    assert_healthy(guest)
    assert len(guest.ram_files()) == 2
    guest.inflate_to(280)
    guest.inflate_to(384)
    assert_healthy(guest, ticks=1)


@pytest.mark.parametrize("cache", ["none", "writeback"])
def test_guest_verifies_its_disk(bench: Bench, cache: str) -> None:
    disk = Disk(bench.disk(mib=64, seed=7), cache)
    assert_healthy(bench.qemu(mib=256, disk=disk, workload={"mode": "disk", "mib": 96, "seed": 7}))


def test_guest_finds_a_wrong_disk(bench: Bench) -> None:
    disk = Disk(bench.disk(mib=64, seed=7))
    guest = bench.qemu(mib=256, disk=disk, workload={"mode": "disk", "mib": 96, "seed": 8})
    guest.guest.wait_ready()
    with pytest.raises(LabError, match="kind=other"):
        guest.guest.wait_for("MEMVERIFY ERROR", 10)
        guest.guest.check()


def test_guest_in_huge_pages(bench: Bench) -> None:
    pages = bench.huge_pages(256)
    assert_healthy(bench.qemu(mib=256, ram_dir=pages.path, workload={"mib": 128}))


def damage(process: NativeWorkload, change: str) -> None:
    """Takes 64 pages away from under the process, or puts old bytes of them back."""
    with process.file.open("r+b") as file:
        old = [os.pread(file.fileno(), 4096, page * 4096) for page in range(64)]
        process.wait_ticks(2, 20)
        if change == "zero":
            fallocate = ctypes.CDLL(None, use_errno=True).fallocate
            assert fallocate(file.fileno(), 3, ctypes.c_long(0), ctypes.c_long(64 * 4096)) == 0  # punch, keep size
        else:
            for page, content in enumerate(old):
                os.pwrite(file.fileno(), content, page * 4096)


@pytest.mark.parametrize("change", ["zero", "stale"])
def test_damage_is_found_and_named(bench: Bench, change: str) -> None:
    process = bench.native(mib=8, threads=4, slices=True, rate=2000)
    process.wait_ready()
    damage(process, change)
    assert process.verify() > 0
    assert any(f"kind={change}" in line for line in process.errors())


def test_link_loses_packets_while_cut(bench: Bench) -> None:
    link = bench.link()
    listener = subprocess.Popen(
        link.inside(["/usr/bin/python3", "-c",
                     f"import socket; s = socket.create_server(('{link.far}', 7777)); c = s.accept()[0]\n"
                     "while c.recv(1): c.send(b'y')"]))
    try:
        def connect() -> socket.socket | None:
            try:
                return socket.create_connection((link.far, 7777), timeout=1)
            except OSError:
                return None

        peer = wait_until(connect, 10, "peer in the namespace")
        peer.sendall(b"x")
        assert peer.recv(1) == b"y"
        link.cut()
        peer.sendall(b"x")
        peer.settimeout(0.5)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        link.mend()
        peer.settimeout(20)
        began = time.monotonic()
        assert peer.recv(1) == b"y", f"after {time.monotonic() - began:.1f} s"
        peer.close()
    finally:
        listener.kill()
        listener.wait(10)


class InTwoParts:
    """What is sent on that connection arrives so, a moment apart."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def sendall(self, data: bytes) -> None:
        half = len(data) // 2
        self._connection.sendall(data[:half])
        time.sleep(0.05)
        self._connection.sendall(data[half:])

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


def test_a_machine_hears_all_of_a_command_while_orphans_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first process is told of each, at any moment: also in the middle of a line."""
    machine = Machine(bench, [], mib=256)
    machine.start("while :; do (sleep 0 &); done", "/dev/null")
    monkeypatch.setattr(machine, "_console", InTwoParts(machine._console))
    for number in range(10):
        word = f"{number}-{'x' * 200}-end"
        assert machine.attempt(f"echo {word}") == (0, f"{word}\n")


def test_closing_leaves_nothing(bench: Bench) -> None:
    guest = bench.qemu(name="short", mib=128, workload={"mib": 16})
    files = guest.ram_files()
    assert files
    guest.close()
    assert guest.process.poll() is not None
    assert not any(path.exists() for path in files)
    assert not Path(f"/proc/{guest.pid}/exe").exists()


@pytest.mark.parametrize(("said", "found"), [
    ("==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x602", True),
    ("==7==ERROR: LeakSanitizer: detected memory leaks", True),
    ("WARNING: ThreadSanitizer: data race (pid=7)", True),
    ("core/x.cc:3:5: runtime error: signed integer overflow", True),
    ("2026-01-01 warning a peer says: no AddressSanitizer here", False)])
def test_what_a_sanitizer_says_of_hecad_is_not_overheard(tmp_path: Path, said: str, found: bool) -> None:
    hecad = Hecad("quiet", tmp_path)
    hecad.log.write_text(f"before\n{said}\nafter\n")
    if not found:
        hecad.close()
        return
    with pytest.raises(LabError, match="its sanitizer") as raised:
        hecad.close()
    assert said in str(raised.value) and "after" in str(raised.value)
