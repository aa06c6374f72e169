# SPDX-License-Identifier: LGPL-2.1-or-later
"""A stock QEMU under TCG, its RAM in shared files, with memverify inside."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.deadline import LabError, wait_until
from lab.guest_image import GuestImage, guest_image
from lab.processes import spawn, stop, tail
from lab.qmp import Qmp, QmpSilent
from lab.workload import Workload

# The second half leaves out what takes long under TCG and serves nobody here. The other CPUs come when the first program runs
# (guest/other-cpus): with two, under TCG, a kernel that patched its own code while it started stood still, once in some 150 boots
# on a busy host.
KERNEL_LINE = ("maxcpus=1 console=ttyS0 loglevel=4 panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check "
               "random.trust_cpu=on cryptomgr.notests initcall_blacklist=init_kprobe_trace,load_system_certificate_list")
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"  # what libvirt passes


def drain(serial: socket.socket) -> None:
    """Reads a console whose log file has it all: unread output would stall the guest."""
    try:
        while serial.recv(65536):
            pass
    except OSError:
        pass


@dataclass(frozen=True)
class Disk:
    path: Path
    cache: str = "writeback"  # "none" opens with O_DIRECT
    aio: str = "threads"


@dataclass
class Qemu:
    """Options are fields; start() boots, close() ends it. `qmp` is the lab's monitor, `heca_qmp` hecad's."""

    name: str
    logs: Path
    mib: int = 1024
    cpus: int = 2
    nodes: int = 1                  # guest NUMA nodes, one RAM block each
    ram_dir: Path | None = None     # default: a directory of its own on /dev/shm; or a hugetlbfs mount
    dimms: int = 0                  # slots for plug_dimm()
    ram_backend: str = "file"       # "file": shared file; "private": what hecad must refuse
    disk: Disk | None = None
    balloon: bool = False
    free_page_reporting: bool = False
    sandbox: bool = False
    user: str | None = None
    image: GuestImage | None = None  # default: memverify's
    counted: bool = False            # its clock counts instructions (2 ns each), whatever else this host does; one CPU
    console: bool = False            # a virtio console (hvc0 inside) at `console_path`; the serial one repeats bytes
    serial: str = "socket,server=on,wait=off"  # or "pipe": serial.in and serial.out
    incoming: bool = False           # waits for a VM that comes from another QEMU with the same options
    workload: dict[str, Any] = field(default_factory=dict)  # memverify's options
    kernel_options: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    def start(self) -> Qemu:
        self._home = Path(tempfile.mkdtemp(prefix="heca-lab-", dir="/tmp"))  # short: socket paths end at 107 bytes
        self._ram = Path(tempfile.mkdtemp(prefix=f"heca-{self.name}-", dir=self.ram_dir or "/dev/shm"))
        if self.user is not None:
            for place in (self._home, self._ram):
                shutil.chown(place, self.user)
        self.serial_log = self._home / "serial.log"
        self.heca_qmp = self._home / "heca.qmp"
        self.console_path = self._home / "console"
        self._errors = (self.logs / f"{self.name}.qemu.log").open("wb")
        self.process: subprocess.Popen[bytes] = spawn(self.command(self._home, self._ram), self.user, stdin=subprocess.DEVNULL,
                                                      stdout=self._errors, stderr=self._errors, cwd="/")
        self.guest = Workload(self.name, self.serial_log, self.process, self._type, self._where_it_is)
        try:
            self.qmp = self._connect()
            self._serial = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._serial.connect(str(self._home / "serial"))
            threading.Thread(target=drain, args=(self._serial,), daemon=True).start()
        except BaseException:
            self.close()
            raise
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def incoming_uri(self) -> str:
        """Where a VM may come in; also for another QEMU of the same user."""
        return f"unix:{self._home}/incoming"

    def run_state(self) -> str:
        return str(self.qmp.execute("query-status")["status"])

    def continue_by_mistake(self) -> None:
        """A VM that has left. The answer may stay away: under TCG a virtual CPU that delivers an interrupt touches memory,
        which does not come, and holds QEMU's big lock meanwhile."""
        try:
            self.qmp.execute("cont", seconds=5)
        except QmpSilent:
            pass

    def ignores_shared_ram(self) -> bool:
        """The capability that must never be left on: a later save would write an image without RAM."""
        return any(one["capability"] == "x-ignore-shared" and one["state"]
                   for one in self.qmp.execute("query-migrate-capabilities"))

    def _where_it_is(self) -> str:
        """Of each virtual CPU the place, twice: the kernel lies where its symbols say (nokaslr)."""
        def look() -> list[str]:
            text = str(self.qmp.execute("human-monitor-command", command_line="info registers -a"))
            return re.findall(r"RIP=\S+ RFL=\S+|HLT=\d", text)

        try:
            return f"{self.run_state()}; {look()}; {look()}"
        except (LabError, OSError) as error:
            return str(error)

    def ram_files(self) -> list[Path]:
        return sorted(self._ram.iterdir())

    def resident_bytes(self) -> int:
        """What the RAM files hold now."""
        return sum(path.stat().st_blocks * 512 for path in self.ram_files())

    def _connect(self) -> Qmp:
        try:
            return Qmp(self._home / "lab.qmp")
        except (LabError, OSError) as error:
            raise LabError(f"{self.name} did not start: {error}\n{tail(Path(self._errors.name))}") from error

    def _memory(self, ram: Path) -> list[str]:
        each = self.mib // self.nodes
        options: list[str] = []
        for node in range(self.nodes):
            if self.ram_backend == "file":
                backend = f"memory-backend-file,mem-path={ram}/ram{node},share=on"
            else:
                backend = "memory-backend-ram"
            options += ["-object", f"{backend},id=ram{node},size={each}M"]
            if self.nodes > 1:
                first = self.cpus * node // self.nodes
                last = self.cpus * (node + 1) // self.nodes - 1
                options += ["-numa", f"node,nodeid={node},memdev=ram{node},cpus={first}-{last}"]
        return options if self.nodes > 1 else [*options, "-machine", "memory-backend=ram0"]

    def command(self, home: Path, ram: Path) -> list[str]:
        """With sockets and logs in `home`, and RAM files in `ram`."""
        image = self.image or guest_image()
        line = " ".join([KERNEL_LINE, *(f"mv.{name}={value}" for name, value in self.workload.items()),
                         *self.kernel_options])
        size = f"{self.mib}M,slots={self.dimms},maxmem=4G" if self.dimms else f"{self.mib}M"
        threads = "single" if self.counted else "multi"
        command = ["qemu-system-x86_64", "-name", self.name, "-accel", f"tcg,thread={threads},tb-size=128", "-M", "q35",
                   "-cpu", "max", "-smp", "1" if self.counted else str(self.cpus), "-m", size, *self._memory(ram),
                   "-nodefaults", "-display", "none", "-no-reboot", "-kernel", str(image.kernel), "-initrd", str(image.initrd),
                   "-append", line]
        for monitor in ("lab", "heca"):
            command += ["-chardev", f"socket,id={monitor},path={home}/{monitor}.qmp,server=on,wait=off",
                        "-mon", f"chardev={monitor},mode=control"]
        command += ["-chardev", f"{self.serial},id=serial,path={home}/serial,logfile={home}/serial.log",
                    "-serial", "chardev:serial"]
        if self.console:
            command += ["-chardev", f"socket,id=console,path={home}/console,server=on,wait=off",
                        "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=console"]
        if self.disk is not None:
            command += ["-drive", f"file={self.disk.path},format=raw,if=none,id=disk,read-only=on,"
                                  f"cache={self.disk.cache},aio={self.disk.aio}",
                        "-device", "virtio-blk-pci,drive=disk"]
        if self.balloon or self.free_page_reporting:
            reporting = ",free-page-reporting=on" if self.free_page_reporting else ""
            command += ["-device", f"virtio-balloon-pci,id=balloon{reporting}"]
        if self.counted:
            command += ["-icount", "shift=1,sleep=off"]
        if self.sandbox:
            command += ["-sandbox", SANDBOX]
        if self.incoming:
            command += ["-incoming", "defer"]
        return command + self.extra

    def _type(self, command: str) -> None:
        self._serial.sendall(f"{command}\n".encode())

    def plug_dimm(self, mib: int) -> Path:
        """Adds a DIMM to the running guest; its RAM file."""
        number = len(self.ram_files())
        file = self._ram / f"dimm{number}"
        self.qmp.execute("object-add", qom_type="memory-backend-file", id=f"mem{number}", size=mib << 20,
                         mem_path=str(file), share=True)
        self.qmp.execute("device_add", driver="pc-dimm", id=f"dimm{number}", memdev=f"mem{number}")
        return file

    def inflate_to(self, mib: int, seconds: float = 60) -> None:
        """Sets the balloon so that the guest keeps `mib`, and waits until it has."""
        self.qmp.execute("balloon", value=mib << 20)
        wait_until(lambda: abs(self.qmp.execute("query-balloon")["actual"] - (mib << 20)) < 8 << 20, seconds,
                   f"{self.name}: balloon at {mib} MiB", poll=0.2)

    def close(self) -> None:
        """Kills QEMU, keeps its console in the logs, removes the rest. Twice is fine."""
        stop(self.process)
        for name in ("qmp", "_serial"):
            if hasattr(self, name):
                getattr(self, name).close()
        self._errors.close()
        if self.serial_log.exists():
            shutil.copyfile(self.serial_log, self.logs / f"{self.name}.serial.log")
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.rmtree(self._ram, ignore_errors=True)


def make_disk(path: Path, mib: int, seed: int) -> Path:
    """A disk image that memverify's disk mode can verify with that seed."""
    from lab.guest_image import native_program

    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([str(native_program("mkdisk", ["mkdisk.c"])), str(path), str(mib), str(seed)], check=True,
                   timeout=120)
    os.chmod(path, 0o644)
    return path
