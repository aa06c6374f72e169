# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM moves from one QEMU to another by two hecads whose pages travel by RDMA. All of it is in one machine: a QEMU under
TCG in a guest under TCG, where a kernel boots for two minutes. So it has booted outside, and comes in as a file. Guest memory
is not registered: the source is asked for each page.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.bench import Bench
from lab.deadline import wait_until
from lab.guest_image import guest_image
from lab.machine_process import hecactl
from lab.qemu import Qemu
from lab.rdma.machine import ADDRESS, RdmaMachine, program

QEMU = program("qemu-system-x86_64")
ROMS = [Path("/usr/share/seabios/bios-256k.bin"), Path("/usr/share/qemu/pvh.bin"), Path("/usr/share/qemu/kvmvapic.bin")]
ACCELERATOR = Path("/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so")
MIB = 128
PORTS = {"one": 7320, "other": 7330, "lender": 7340}


OPTIONS: dict[str, Any] = {"mib": MIB, "cpus": 1, "workload": {"mib": 48, "threads": 1, "rate": 2000}}


def booted_outside(bench: Bench) -> Path:
    """The state of a VM that verifies its memory."""
    vm, state = bench.qemu("origin", **OPTIONS), bench.logs / "origin.state"
    vm.guest.wait_ticks(2, 90)
    vm.qmp.execute("migrate", uri=f"exec:cat >{state}")
    wait_until(lambda: vm.qmp.execute("query-migrate").get("status") == "completed", 60, "the state of a VM in a file")
    vm.close()
    return state


class NestedVm:
    """A QEMU in the machine, into which a VM comes. `serial.log` there is what its guest says."""

    def __init__(self, machine: RdmaMachine, name: str, incoming: str) -> None:
        self.machine = machine
        self.home, ram = Path(f"/tmp/{name}"), Path(f"/dev/shm/{name}")
        qemu = Qemu(name, Path(), serial="pipe", extra=["-incoming", incoming], **OPTIONS)
        machine.run(f"mkdir {self.home} {ram} && mkfifo {self.home}/serial.in {self.home}/serial.out")
        machine.start(f"cat {self.home}/serial.out", "/dev/null")
        command = [str(QEMU), *qemu.command(self.home, ram)[1:]]
        self.pid = machine.start(shlex.join(command), f"{self.home}/qemu.log")
        machine.wait(f"[ -S {self.home}/heca.qmp ] || {{ cat {self.home}/qemu.log; exit 1; }}", 60)

    def said(self) -> str:
        return self.machine.run(f"cat {self.home}/serial.log")

    def ticks(self) -> list[int]:
        return [int(number) for number in re.findall(r"MEMVERIFY tick=(\d+)", self.said())]

    def goes_on(self) -> None:
        self._wait_for("MEMVERIFY tick=", len(self.ticks()) + 2, 120)

    def verify(self) -> int:
        """All of its memory is looked at; errors since it has booted."""
        self.machine.run(f"echo verify >{self.home}/serial.in")
        self._wait_for("MEMVERIFY FINAL", 1, 120)
        found = re.search(r"FINAL errors=(\d+)", self.said())
        assert found
        return int(found.group(1))

    def _wait_for(self, pattern: str, count: int, seconds: float) -> None:
        self.machine.wait(f"[ $(grep -c '{pattern}' {self.home}/serial.log) -ge {count} ]", seconds)


class Node:
    def __init__(self, machine: RdmaMachine, name: str, port: int, options: str) -> None:
        self.machine, self.name = machine, name
        self.socket, self.log = f"/run/{name}/hecad.sock", f"/tmp/{name}.log"
        machine.run(f"mkdir /run/{name}")
        self.pid = machine.start(f"hecad --name {name} --transport rdma --metrics-listen off --run-dir /run/{name} --socket {self.socket} "
                                 f"--slab-dir /dev/shm/{name} --control-listen {ADDRESS}:{port} --data-listen {ADDRESS}:{port + 1} "
                                 f"{options}", self.log)
        machine.wait(f"hecactl --socket {self.socket} status", 60)

    def hecactl(self, arguments: str, seconds: float = 60) -> Any:
        return hecactl(self.machine, self.socket, arguments, seconds)

    def regions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.hecactl("regions")["regions"]
        return found

    def came_by(self) -> set[str]:
        """What carried the data connections to it that have ended."""
        return set(re.findall(r"data connection from (\S+)", self.machine.run(f"cat {self.log}")))


class PinnedMemory:
    """Of some of the machine's processes, looked at five times a second while others work."""

    def __init__(self, machine: RdmaMachine, pids: Sequence[int]) -> None:
        self._machine = machine
        files = " ".join(f"/proc/{pid}/status" for pid in pids)
        self._watch = machine.start(f"while sleep 0.2; do grep -H VmPin: {files}; done", "/tmp/pinned")

    def most(self) -> dict[int, int]:
        """MiB of each at its highest; nobody looks any more."""
        self._machine.run(f"kill {self._watch}")
        most: dict[int, int] = {}
        for pid, kib in re.findall(r"/proc/(\d+)/status:VmPin:\s+(\d+) kB", self._machine.run("cat /tmp/pinned")):
            most[int(pid)] = max(most.get(int(pid), 0), int(kib) >> 10)
        return most


def peers(of: str) -> str:
    return " ".join(f"--peer {name}={ADDRESS}:{port}" for name, port in PORTS.items() if name != of)


class Story:
    """Three hecads in a machine, and a VM that moves between two of them; its RAM is `vm`'s now, on `here`."""

    def __init__(self, machine: RdmaMachine, state: Path) -> None:
        self.machine = machine
        self.lender = Node(machine, "lender", PORTS["lender"], f"--compute off --donate {2 * MIB}MiB")
        self.here, self.there = (Node(machine, name, PORTS[name], peers(name)) for name in ("one", "other"))
        self.vm = NestedVm(machine, "first", incoming=f"exec:cat {state}")
        self.vm.goes_on()

    def moves(self, name: str) -> dict[str, Any]:
        """Into a QEMU of that name at the other hecad; what is said of it."""
        source, destination = self.vm, NestedVm(self.machine, name, incoming="defer")
        before = source.ticks()[-1]
        hecads, vms = (self.here.pid, self.there.pid), (source.pid, destination.pid)
        pinned = PinnedMemory(self.machine, [*hecads, *vms])
        said: dict[str, Any] = self.here.hecactl(
            f"migrate --pid {source.pid} --qmp {source.home}/heca.qmp {self.there.name} --dest-pid {destination.pid} "
            f"--dest-qmp {destination.home}/heca.qmp --uri unix:{destination.home}/incoming --mode post-copy", 240)["migration"]
        most = pinned.most()
        assert [most[pid] for pid in vms] == [0, 0]
        assert all(0 < most[pid] < MIB / 2 for pid in hecads), f"rings of connections and no memory of the VM: {most}"
        assert self.here.regions() == []
        assert self.here.came_by() == {f"{self.machine.device}0/1"}, "by RDMA, and nothing else"
        self.vm, self.here, self.there = destination, self.there, self.here
        self.vm.goes_on()
        assert self.vm.ticks()[0] > before, "it goes on where it was"
        return said

    def is_whole(self) -> None:
        assert self.vm.verify() == 0
        assert not re.search("MEMVERIFY (ERROR|FATAL)|Kernel panic", self.vm.said())


@pytest.fixture(scope="module", params=["rxe", "siw"])
def story(request: pytest.FixtureRequest) -> Iterator[Story]:
    bench = Bench(f"rdma-migration-{request.param}")
    try:
        image, state = guest_image(), booted_outside(bench)
        machine = RdmaMachine(bench, request.param, ["hecad", "hecactl"], 2048,
                              more=[QEMU, ACCELERATOR, *ROMS, image.kernel, image.initrd, state])
        state.unlink()  # it is large
        yield Story(machine, state)
    finally:
        bench.close()


def test_a_vm_moves_and_its_memory_follows(story: Story) -> None:
    said = story.moves("second")
    assert said["moved_bytes"] + said["zero_bytes"] >= 0.9 * (MIB << 20)
    assert said["moved_bytes"] > OPTIONS["workload"]["mib"] << 20
    story.is_whole()
    assert story.here.regions() == []


def test_a_vm_whose_memory_is_elsewhere_moves_with_its_lease(story: Story) -> None:
    limit = MIB // 4
    story.here.hecactl(f"attach --pid {story.vm.pid} --qmp {story.vm.home}/heca.qmp --local {limit}MiB --name vm", 120)
    story.is_whole()
    [lease] = [store["lease"] for store in story.here.regions()[0]["stores"]]
    said = story.moves("third")
    assert said["moved_bytes"] + said["zero_bytes"] < (MIB << 20) / 2, "what is elsewhere stays there"
    story.is_whole()
    [region] = story.here.regions()
    assert [(store["lease"], store["transport"]) for store in region["stores"]] == [(lease, "rdma")]
    assert int(region["resident_bytes"]) <= (limit + 16) << 20
    story.here.hecactl(f"detach {region['name']}", 120)
    story.is_whole()
    story.machine.wait(f"hecactl --socket {story.lender.socket} --json leases | grep -q '\"leases\": *\\[\\]'", 60)
