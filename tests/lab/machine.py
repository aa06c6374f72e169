# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest as a machine of its own: this build's programs run in it, on Linux 6.1, by commands from here.

For what a kernel older than this host's does differently. Nobody governs the guest; the hecads are inside.
"""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import guest_image
from lab.bench import Bench
from lab.deadline import LabError, wait_until
from lab.paths import GUEST_SOURCES, binary

ELF, ELF_TYPE, SHARED_OBJECT = b"\x7fELF", 16, 3  # elf(5); Debian's programs are position-independent, so of that type too


def libraries(file: Path) -> set[Path]:
    """What the dynamic linker loads for it, the linker itself included; for a file that is none of its own, nothing."""
    content = file.read_bytes()
    if not content.startswith(ELF) or content[ELF_TYPE] != SHARED_OBJECT:
        return set()
    found = re.findall(r"(/\S+) \(0x", guest_image.run(["ldd", str(file)]))
    return {Path(name) for name in found}


@dataclass(frozen=True)
class Furniture:
    """What a machine has beside this build's programs. Files lie where they lie here, with the libraries that they need."""

    modules: Sequence[str] = guest_image.MODULES
    name: str = "vmlinux"  # of the set of modules, in the cache
    files: Sequence[Path] = ()
    built: Sequence[Path] = ()  # modules that are in no package, loaded after the others


def put(file: Path, root: Path) -> None:
    place = root / file.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, place)


def machine_image(programs: Sequence[Path], into: Path, furniture: Furniture) -> guest_image.GuestImage:
    """An image with the programs in /bin and their libraries where they look for them, all without debug symbols."""
    with guest_image.cache_locked():
        kernel = guest_image.kernel_with(furniture.modules, furniture.name)
    needed: set[Path] = set()
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        root = Path(scratch)
        guest_image.lay_out(root, "machine-init", kernel, furniture.modules)
        with (root / "modules/order").open("a") as order:
            for module in furniture.built:
                shutil.copy(module, root / "modules")
                order.write(f"{module.name}\n")
        for program in programs:
            if not program.exists():
                raise LabError(f"{program} is not built")
            guest_image.run(["strip", "-o", str(root / "bin" / program.name), str(program)])
            needed |= libraries(program)
        guest_image.compile_program(root / "bin/memverify", guest_image.WORKLOAD_SOURCES, "-static")
        shutil.copy(GUEST_SOURCES / "machine-commands", root)
        for file in furniture.files:
            put(file, root)
            needed |= libraries(file)
        for library in needed:
            put(library, root)
        guest_image.pack(root, into)
    return guest_image.GuestImage(kernel / "vmlinux", into)


class CommandFailedInside(LabError):
    """A command in the machine ended with `code`; `output` is what it said."""

    def __init__(self, command: str, code: int, output: str) -> None:
        super().__init__(f"{command}: exit {code}:\n{output[-3000:]}")
        self.code, self.output = code, output


class Console:
    """Of a machine, which `check` asks whether it is well. One command at a time; what shall go on is started with `start`."""

    def __init__(self, console: socket.socket, transcript: Path, check: Callable[[], None]) -> None:
        self._console, self._check = console, check
        self._said = b""
        self._transcript = transcript.open("wb")
        self._commands = 0

    def close(self) -> None:
        self._console.close()
        self._transcript.close()

    def await_ready(self, seconds: float) -> str:
        """The release of its kernel."""
        return self._read_until(rb"MACHINE READY (\S+)\n", seconds).group(1).decode()

    def _read_until(self, pattern: bytes, seconds: float) -> re.Match[bytes]:
        end = time.monotonic() + seconds
        while (found := re.search(pattern, self._said)) is None:
            self._console.settimeout(max(0.01, end - time.monotonic()))
            try:
                received = self._console.recv(65536)
            except TimeoutError:
                self._check()
                raise LabError(f"machine: nothing like {pattern!r} within {seconds:g} s:\n"
                               f"{self._said[-3000:].decode(errors='replace')}") from None
            if not received:
                raise LabError(f"machine: its console was closed:\n{self._said[-3000:].decode(errors='replace')}")
            self._transcript.write(received)
            self._said += received
        return found

    def attempt(self, command: str, seconds: float = 30) -> tuple[int, str]:
        """Exit code and output. A line of trouble from the kernel is an error whatever the command says."""
        self._said = b""
        self._commands += 1
        self._transcript.write(f"$ {command}\n".encode())
        self._console.sendall(f"{command}\n".encode())
        ended = self._read_until(rb"\nMACHINE END %d exit=(\d+)\n" % self._commands, seconds)
        self._check()
        return int(ended.group(1)), self._said[:ended.start()].decode(errors="replace")

    def run(self, command: str, seconds: float = 30) -> str:
        code, output = self.attempt(command, seconds)
        if code != 0:
            raise CommandFailedInside(command, code, output)
        return output

    def start(self, command: str, log: str) -> int:
        """The pid of the command, which goes on."""
        return int(self.run(f"{command} >{log} 2>&1 & echo $!"))

    def wait(self, command: str, seconds: float) -> None:
        """Until the command succeeds."""
        wait_until(lambda: self.attempt(command)[0] == 0, seconds, f"in the machine: {command}", poll=0.2)


class Machine(Console):
    """A guest. `options` are QEMU's (lab/qemu.py)."""

    def __init__(self, bench: Bench, programs: Sequence[str], mib: int = 1536, furniture: Furniture = Furniture(),
                 name: str = "machine", **options: Any) -> None:
        initrd = bench.logs / f"{name}.initrd"
        image = machine_image([binary(program) for program in programs], initrd, furniture)
        self.vm = bench.qemu(name, mib=mib, image=image, ram_backend="private", console=True, **options)
        console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        console.connect(str(self.vm.console_path))
        super().__init__(console, bench.logs / f"{name}.log", self.vm.guest.check)
        bench.keep(self)
        self.release = self.await_ready(180)
        initrd.unlink()  # it is large
