# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host with a real libvirtd of its own: one or several on one machine, each in namespaces that hide the others.

A host has its own name, network (a Place), `/run/libvirt`, `/etc/libvirt` and the like, and a tmpfs for guest RAM
(`memory_backing_dir`). QEMU runs as the unprivileged user `libvirt-qemu`. A host is a Place itself: a hecad made with
`link=host` runs on it and meets its domains by name.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.deadline import LabError, wait_until
from lab.guest_image import guest_image
from lab.libvirt_domain import SHARED_FILE, LibvirtDomain, domain_xml
from lab.namespace import Place
from lab.paths import CACHE, LAB
from lab.processes import spawn, stop, tail

QEMU_USER, QEMU_GROUP = "libvirt-qemu", "kvm"
DOMAINS = Path("/var/lib/libvirt/heca-lab")  # the same on every host, so that a domain can move
PRIVATE = ("/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/run/libvirt")


class VirshFailed(LabError):
    """virsh refused; `text` is what it said."""

    def __init__(self, words: Sequence[str], text: str) -> None:
        super().__init__(f"virsh {' '.join(words)}: {text.strip()}")
        self.text = text


class LibvirtHost:
    """`memory`: "tmpfs", or "disk" for the mistake that hecad must refuse. The constructor returns when libvirtd
    answers; `hugetlbfs`: it has one of 2 MiB pages; close() ends the domains that are left, libvirtd, and the host."""

    def __init__(self, name: str, logs: Path, place: Place, memory: str = "tmpfs", memory_mib: int = 2048,
                 user: str = QEMU_USER, hugetlbfs: bool = False) -> None:
        self.name, self.logs, self.far, self._place = name, logs, place.far, place
        self._user = user
        self.home = Path(tempfile.mkdtemp(prefix=f"heca-{name}-", dir="/tmp"))
        self.home.chmod(0o755)  # QEMU, an unprivileged user, goes through it
        self.memory = Path(tempfile.mkdtemp(prefix="memory-", dir=self.home if memory == "tmpfs" else LAB))
        self.memory.chmod(0o755)
        self.log = logs / f"{name}.libvirtd.log"
        self._domains: list[LibvirtDomain] = []
        self._libvirtd: subprocess.Popen[bytes] | None = None
        self._holder = spawn(place.inside(["unshare", "--mount", "--uts", "--propagation", "private", "--",
                                           "sleep", "infinity"]))
        try:
            wait_until(lambda: Path(f"/proc/{self._holder.pid}/comm").read_text() == "sleep\n", 10,
                       f"namespaces of host {name}")
            self._furnish()
            if memory == "tmpfs":
                self.run("mount", "-t", "tmpfs", "-o", f"size={memory_mib}m,huge=never,mode=755", "heca-lab",
                         str(self.memory))
            if hugetlbfs:
                self.huge = self.home / "hugepages"
                self.huge.mkdir()
                self.run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "heca-lab", str(self.huge))
            self._configure()
            self.start_libvirtd()
        except BaseException:
            self.close()
            raise

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command as run on the host; execs, so the pid stays. Paths must be absolute: it starts in /."""
        return ["nsenter", "--target", str(self._holder.pid), "--mount", "--net", "--uts", "--", *command]

    def run(self, *command: str, seconds: float = 30) -> str:
        try:
            done = subprocess.run(self.inside(command), capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"host {self.name}: {' '.join(command)}: not done within {seconds:g} s") from None
        if done.returncode != 0:
            raise LabError(f"host {self.name}: {' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _furnish(self) -> None:
        self.run("hostname", self.name)
        self.run("mount", "-t", "sysfs", "sysfs", "/sys")  # shows the network interfaces of this host, not of ours
        for directory in PRIVATE:
            # What libvirt found out about this QEMU is kept for all hosts: it takes some ten seconds.
            own = CACHE / "libvirt" if directory == "/var/cache/libvirt" else self.home / directory.lstrip("/")
            own.mkdir(parents=True, exist_ok=True)
            Path(directory).mkdir(parents=True, exist_ok=True)
            self.run("mount", "--bind", str(own), directory)
        if Path("/dev/kvm").exists():
            # A /dev/kvm that opens and runs no guest makes libvirt ask QEMU anew at each start, twelve seconds long.
            no_kvm = self.home / "no-kvm"
            no_kvm.touch(mode=0)
            self.run("mount", "--bind", str(no_kvm), "/dev/kvm")
        hosts = self.home / "etc/hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{self.far} {self.name}\n")
        self.run("mount", "--bind", str(hosts), "/etc/hosts")

    def _configure(self) -> None:
        own = self.home / "etc/libvirt"
        (own / "libvirtd.conf").write_text(
            f'listen_tls = 0\nlisten_tcp = 1\nlisten_addr = "{self.far}"\nauth_tcp = "none"\nauth_unix_rw = "none"\n'
            f'host_uuid = "{uuid.uuid4()}"\nunix_sock_group = "root"\n')
        (own / "qemu.conf").write_text(
            f'user = "{self._user}"\ngroup = "{QEMU_GROUP}"\nsecurity_driver = "none"\ncgroup_controllers = []\n'
            f'namespaces = []\nremember_owner = 0\nstdio_handler = "file"\nmemory_backing_dir = "{self.memory}"\n'
            f'migration_address = "{self.far}"\n')

    def start_libvirtd(self) -> None:
        with self.log.open("ab") as out:
            self._libvirtd = spawn(self.inside(["/usr/sbin/libvirtd", "--listen", "-p", "/run/libvirt/libvirtd.pid",
                                                "-f", "/etc/libvirt/libvirtd.conf"]),
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out)

        def answers() -> bool:
            if self._libvirtd is None or self._libvirtd.poll() is not None:
                raise LabError(f"libvirtd of {self.name} ended:\n{tail(self.log)}")
            try:
                self.virsh("list")  # not `version`: that looks into QEMU, which takes its time
                return True
            except VirshFailed:
                return False

        wait_until(answers, 30, f"libvirtd of {self.name}\n{tail(self.log)}", poll=0.05)

    def virsh(self, *words: str, seconds: float = 60) -> str:
        try:
            done = subprocess.run(self.inside(["virsh", "-c", "qemu:///system", *words]), capture_output=True,
                                  text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"virsh {' '.join(words)}: not done within {seconds:g} s") from None
        if done.returncode != 0:
            raise VirshFailed(words, done.stderr)
        return done.stdout

    def start_domain(self, name: str, mib: int, workload: dict[str, Any], cpus: int = 2,
                     backing: str = SHARED_FILE) -> LibvirtDomain:
        """Defines and starts it; `backing` is the content of <memoryBacking>."""
        home = self.prepare_domain(name)
        (home / "domain.xml").write_text(domain_xml(name, DOMAINS / name, mib, cpus, backing, workload))
        self.virsh("define", str(home / "domain.xml"))
        self.virsh("start", name)
        return self.adopt(name)

    def prepare_domain(self, name: str) -> Path:
        """The domain's directory, with its kernel; the destination of a migration needs one too. The path as seen from
        outside; on every host it is DOMAINS / name."""
        home = self.home / DOMAINS.relative_to("/") / name
        home.mkdir(parents=True)
        shutil.chown(home, self._user)
        image = guest_image()
        # Copies: libvirt gives what a domain uses to QEMU's user.
        shutil.copyfile(image.kernel, home / "kernel")
        shutil.copyfile(image.initrd, home / "initrd")
        return home

    def restart_domain(self, domain: LibvirtDomain) -> LibvirtDomain:
        """Starts it again after its end: another QEMU of the same name."""
        self.virsh("start", domain.name)
        return self.adopt(domain.name)

    def adopt(self, name: str) -> LibvirtDomain:
        """The domain of that name as it runs here, whoever started it."""
        pid = int((self.home / "run/libvirt/qemu" / f"{name}.pid").read_text())
        home = self.home / DOMAINS.relative_to("/") / name
        domain = LibvirtDomain(name, home, pid, self.virsh, self.logs / f"{self.name}.{name}.serial.log")
        self._domains.append(domain)
        return domain

    def memory_used(self) -> int:
        """Bytes that guest RAM takes of the tmpfs."""
        return int(self.run("df", "--block-size=1", "--output=used", str(self.memory)).split()[-1])

    def memory_files(self) -> list[str]:
        return self.run("find", str(self.memory), "-type", "f").split()

    def close(self) -> None:
        """Twice is fine."""
        for domain in self._domains:
            if domain.alive():
                os.kill(domain.pid, signal.SIGKILL)
            domain.close()
        if self._libvirtd is not None:
            stop(self._libvirtd, grace=5)
        for domain in self._domains:
            wait_until(lambda gone=domain: not gone.alive(), 10, f"end of domain {domain.name}")  # type: ignore[misc]
        self._domains.clear()
        stop(self._holder)
        for place in (self.home, self.memory):
            shutil.rmtree(place, ignore_errors=True)
