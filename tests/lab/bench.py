# SPDX-License-Identifier: LGPL-2.1-or-later
"""One test's equipment: everything made through it is taken down in reverse order, whatever happens."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar

from lab.hecad import Hecad
from lab.hosts import Hosts
from lab.hugepages import HugePages
from lab.libvirt_host import LibvirtHost
from lab.links import CuttableLink
from lab.memory_group import MemoryGroup
from lab.namespace import Place
from lab.page_probe import PageProbe
from lab.paths import LAB
from lab.qemu import Qemu, make_disk
from lab.slow_disk import SlowDisk
from lab.small_tmpfs import SmallTmpfs
from lab.switch import Switch
from lab.workload import NativeWorkload


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


class Bench:
    """`logs` keeps what the parts said; it is emptied when the test of that name runs again."""

    def __init__(self, name: str) -> None:
        self.logs = LAB / "run" / name
        self.logs.mkdir(parents=True, exist_ok=True)
        for old in self.logs.iterdir():
            old.unlink()
        self._stack = ExitStack()

    def keep(self, part: C) -> C:
        self._stack.callback(part.close)
        return part

    def close(self) -> None:
        self._stack.close()

    def qemu(self, name: str = "guest", **options: Any) -> Qemu:
        return self.keep(Qemu(name, self.logs, **options).start())

    def native(self, mib: int, directory: Path = Path("/dev/shm"), name: str = "process",
               **options: Any) -> NativeWorkload:
        file = directory / f"heca-lab-{self.logs.name[:60]}-{name}"
        return self.keep(NativeWorkload(file, mib, self.logs / f"{name}.log", **options))

    def probe(self, pages: int) -> PageProbe:
        return self.keep(PageProbe(Path(f"/dev/shm/heca-lab-{self.logs.name[:60]}-probe"), pages,
                                   self.logs / "probe.log"))

    def link(self) -> CuttableLink:
        return self.keep(CuttableLink())

    def switch(self) -> Switch:
        return self.keep(Switch())

    def libvirt_host(self, place: Place, name: str = "host", **options: Any) -> LibvirtHost:
        return self.keep(LibvirtHost(name, self.logs, place, **options))

    def hosts(self, **options: Any) -> Hosts:
        return self.keep(Hosts(self.logs, **options))

    def huge_pages(self, mib: int) -> HugePages:
        return self.keep(HugePages(mib))

    def tmpfs(self, mib: int) -> SmallTmpfs:
        return self.keep(SmallTmpfs(mib))

    def memory_group(self) -> MemoryGroup:
        return self.keep(MemoryGroup(f"heca-lab-{self.logs.name[:60]}"))

    def slow_disk(self, path: Path, pid: int, bytes_per_second: int) -> SlowDisk:
        return self.keep(SlowDisk(path, pid, bytes_per_second))

    def disk(self, mib: int, seed: int) -> Path:
        path = LAB / "disks" / f"{mib}-{seed}.img"
        return path if path.exists() else make_disk(path, mib, seed)

    def sponsor(self, donate: str = "2GiB", link: Place | None = None, name: str = "sponsor",
                **options: Any) -> Hecad:
        return self.keep(Hecad(name, self.logs, donate=donate, link=link, compute=False, **options)).start()

    def compute(self, *sponsors: Hecad, name: str = "compute", **options: Any) -> Hecad:
        return self.keep(Hecad(name, self.logs, peers=sponsors, **options)).start()
