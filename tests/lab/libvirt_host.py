# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host with a real libvirtd and virtlogd of its own, and a tmpfs for guest RAM (`memory_backing_dir`).

QEMU runs as the unprivileged user `libvirt-qemu`. A host is a Place itself: a hecad made with `link=host` runs on it
and meets its domains by name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.deadline import LabError, wait_until
from lab.guest_image import guest_image
from lab.host import NO_NEIGHBOURS, Host
from lab.libvirt_domain import SHARED_FILE, LibvirtDomain, domain_xml
from lab.namespace import Place
from lab.paths import CACHE, LAB
from lab.processes import spawn, stop, tail

QEMU_USER, QEMU_GROUP = "libvirt-qemu", "kvm"
DOMAINS = Path("/var/lib/libvirt/heca-lab")  # the same on every host, so that a domain can move
PRIVATE = ("/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt")
# Where libvirt writes while a VM that moves stands still, and waits for what it has written: /run is in memory on any host, and
# how busy the disk is with builds beside the tests is nothing that they are about.
VOLATILE = (Path("/run/libvirt"), Path("/etc/libvirt"))


class VirshFailed(LabError):
    """virsh refused; `text` is what it said."""

    def __init__(self, words: Sequence[str], text: str) -> None:
        super().__init__(f"virsh {' '.join(words)}: {text.strip()}")
        self.text = text


class IncomingHold:
    """A hook of the lab beside heca's. `reached` tells that a VM waits; release() lets it go on, for 60 s pass by
    themselves."""

    _HOOK = """#!/bin/sh
case "$2" in migrate) exec cat ;; started) ;; *) exit 0 ;; esac
cat > /dev/null
[ -e /run/libvirt/hold ] || exit 0
touch /run/libvirt/held
n=0
while [ -e /run/libvirt/hold ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done
exit 0
"""

    def __init__(self, home: Path) -> None:
        self._hold, self._held = home / "run/libvirt/hold", home / "run/libvirt/held"
        hook = home / "etc/libvirt/hooks/qemu.d/60-hold"
        hook.write_text(self._HOOK)
        hook.chmod(0o755)
        self._hold.touch()

    def reached(self) -> bool:
        return self._held.exists()

    def release(self) -> None:
        """Twice is fine."""
        self._hold.unlink(missing_ok=True)
        self._held.unlink(missing_ok=True)


class LibvirtHost(Host):
    """`memory`: "tmpfs", or "disk" for the mistake that hecad must refuse. The constructor returns when libvirtd
    answers; `hugetlbfs`: it has one of 2 MiB pages; `hook`: what its libvirtd runs as a hook; close() ends the domains that
    are left, libvirtd, and the host."""

    def __init__(self, name: str, logs: Path, place: Place, memory: str = "tmpfs", memory_mib: int = 2048,
                 user: str = QEMU_USER, hugetlbfs: bool = False, neighbours: Mapping[str, str] = NO_NEIGHBOURS,
                 hook: Path | None = None) -> None:
        super().__init__(name, place, neighbours, VOLATILE)
        self.logs, self._user, self._hook = logs, user, hook
        self.memory = Path(tempfile.mkdtemp(prefix="memory-", dir=self.home if memory == "tmpfs" else LAB))
        self.memory.chmod(0o755)
        self.log = logs / f"{name}.libvirtd.log"
        self._domains: list[LibvirtDomain] = []
        self._daemons: list[subprocess.Popen[bytes]] = []  # virtlogd, libvirtd
        try:
            self._furnish()
            if memory == "tmpfs":
                self.mount_memory(self.memory, f"size={memory_mib}m,huge=never,mode=755")
            if hugetlbfs:
                self.huge = self.home / "hugepages"
                self.huge.mkdir()
                self.run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "heca-lab", str(self.huge))
            self._configure()
            self._start_daemon("virtlogd")
            wait_until((self.home / "run/libvirt/virtlogd-sock").exists, 60, f"virtlogd of {name}")
            self.start_libvirtd()
        except BaseException:
            self.close()
            raise

    def _furnish(self) -> None:
        for directory in map(Path, PRIVATE):
            # What libvirt found out about this QEMU is kept for all hosts: it takes some ten seconds.
            self.own(directory, CACHE / "libvirt" if "cache" in directory.parts else None)
        if Path("/dev/kvm").exists():
            # A /dev/kvm that opens and runs no guest makes libvirt ask QEMU anew at each start, twelve seconds long.
            no_kvm = self.home / "no-kvm"
            no_kvm.touch(mode=0)
            self.run("mount", "--bind", str(no_kvm), "/dev/kvm")

    def _configure(self) -> None:
        own = self.home / "etc/libvirt"
        if self._hook is not None:
            place = own / "hooks/qemu.d/50-heca"
            place.parent.mkdir(parents=True)
            place.symlink_to(self._hook)
        (own / "libvirtd.conf").write_text(
            f'listen_tls = 0\nlisten_tcp = 1\nlisten_addr = "{self.far}"\nauth_tcp = "none"\nauth_unix_rw = "none"\n'
            f'host_uuid = "{uuid.uuid4()}"\nunix_sock_group = "root"\n')
        (own / "virtlogd.conf").write_text("max_size = 0\n")  # a console's log is read as one file
        (own / "qemu.conf").write_text(
            f'user = "{self._user}"\ngroup = "{QEMU_GROUP}"\nsecurity_driver = "none"\ncgroup_controllers = []\n'
            f'namespaces = []\nremember_owner = 0\nmemory_backing_dir = "{self.memory}"\n'
            f'migration_address = "{self.far}"\n')

    def _start_daemon(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as out:
            daemon = spawn(self.inside([f"/usr/sbin/{name}", *options, "-p", f"/run/libvirt/{name}.pid",
                                        "-f", f"/etc/libvirt/{name}.conf"]),
                           stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._daemons.append(daemon)
        return daemon

    def start_libvirtd(self) -> None:
        daemon = self._start_daemon("libvirtd", "--listen")

        def answers() -> bool:
            if daemon.poll() is not None:
                raise LabError(f"libvirtd of {self.name} ended:\n{tail(self.log)}")
            try:
                self.virsh("list")  # not `version`: that looks into QEMU, which takes its time
                return True
            except VirshFailed:
                return False

        wait_until(answers, 60, f"libvirtd of {self.name}\n{tail(self.log)}", poll=0.05)

    @property
    def uri(self) -> str:
        """Where another host's libvirtd finds this one."""
        return f"qemu+tcp://{self.name}/system"

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
                     backing: str = SHARED_FILE, console: Path | None = None, metadata: str = "",
                     disk: Path | None = None) -> LibvirtDomain:
        """Defines and starts it; `backing` and `metadata` are the contents of those elements, `console` the log of what it
        prints, `disk` a disk of it, which is only read."""
        home = self.prepare_domain(name)
        console = console or self.logs / f"{self.name}.{name}.serial.log"
        (home / "domain.xml").write_text(domain_xml(name, DOMAINS / name, mib, cpus, backing, workload, console,
                                                   metadata, disk))
        self.virsh("define", str(home / "domain.xml"))
        self.virsh("start", name)
        return self.adopt(name, console)

    def prepare_domain(self, name: str) -> Path:
        """The domain's directory, with its kernel; the destination of a migration needs one too."""
        home = self.domain_home(name)
        home.mkdir(parents=True)
        shutil.chown(home, self._user)
        image = guest_image()
        # Copies: libvirt gives what a domain uses to QEMU's user.
        shutil.copyfile(image.kernel, home / "kernel")
        shutil.copyfile(image.initrd, home / "initrd")
        return home

    def restart_domain(self, domain: LibvirtDomain) -> LibvirtDomain:
        """Starts it again after its end: another QEMU of the same name."""
        os.truncate(domain.guest.log, 0)  # what waits for a line must not find one of its forerunner
        self.virsh("start", domain.name)
        return self.adopt(domain.name, domain.guest.log)

    def adopt(self, name: str, console: Path) -> LibvirtDomain:
        """The domain of that name as it runs here, whoever started it."""
        pid = int((self.home / "run/libvirt/qemu" / f"{name}.pid").read_text())
        domain = LibvirtDomain(name, self.domain_home(name), pid, self.virsh, console)
        self._domains.append(domain)
        return domain

    def domain_home(self, name: str) -> Path:
        """As seen from outside; on every host it is DOMAINS / name."""
        return self.home / DOMAINS.relative_to("/") / name

    def hold_incoming(self) -> IncomingHold:
        """From now on its libvirt waits with every VM that comes, once heca's hook has prepared for it."""
        return IncomingHold(self.home)

    def restart_libvirtd(self) -> None:
        """As an upgrade does it: the VMs run on."""
        libvirtd = self._daemons.pop()
        if stop(libvirtd, grace=30) != 0:
            raise LabError(f"libvirtd of {self.name} ended with {libvirtd.returncode}:\n{tail(self.log)}")
        self.start_libvirtd()

    def kill_libvirtd(self) -> None:
        """As a crash; start_libvirtd() brings the next one."""
        stop(self._daemons.pop())

    def running(self) -> list[str]:
        """Names of the domains that have a QEMU here, in whatever state."""
        return self.virsh("list", "--name").split()

    def memory_used(self) -> int:
        """Bytes that guest RAM takes of the tmpfs."""
        return int(self.run("df", "--block-size=1", "--output=used", str(self.memory)).split()[-1])

    def memory_files(self) -> list[str]:
        return self.run("find", str(self.memory), "-type", "f").split()

    def close(self) -> None:
        """Twice is fine."""
        try:
            for domain in self._domains:
                domain.close()
            for daemon in reversed(self._daemons):
                stop(daemon, grace=5)
        finally:
            super().close()
            shutil.rmtree(self.memory, ignore_errors=True)
