# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest: Debian's Linux 6.1, busybox, a handful of virtio modules, and memverify as its only program.

Nothing is installed: the kernel's package is downloaded and unpacked into build/lab/cache. The image is rebuilt when
a source of it changes. 6.1 is taken by name, because it is the oldest kernel that hecad runs on: lab/machine.py runs
hecad itself on it. It is booted uncompressed (PVH): to unpack itself takes half of a boot under TCG.
"""

from __future__ import annotations

import fcntl
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.deadline import LabError
from lab.paths import CACHE, GUEST_SOURCES

# In the order of loading; each needs the ones before it.
MODULES = (
    "drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "drivers/block/virtio_blk",
    "drivers/virtio/virtio_balloon", "drivers/char/virtio_console",
)


@dataclass(frozen=True)
class GuestImage:
    kernel: Path
    initrd: Path


def run(command: list[str], cwd: Path | None = None, timeout: float = 300) -> str:
    done = subprocess.run(command, cwd=cwd, timeout=timeout, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


KERNEL_NAME = re.compile(r"^(linux-image-6\.1\.\d+-(\d+)-amd64) ", re.MULTILINE)


def kernel_package() -> str:
    """The newest build of Linux 6.1 that apt knows."""
    found = KERNEL_NAME.findall(run(["apt-cache", "search", "--names-only", "^linux-image-6"]))
    if not found:
        raise LabError("apt knows no linux-image-6.1: run apt-get update with Debian 12 among its sources")
    return str(max(found, key=lambda names: int(names[1]))[0])


def uncompressed(bzimage: bytes) -> bytes:
    """The ELF file inside; the header's fields are those of the kernel's Documentation/arch/x86/boot.rst."""
    setup_sectors, = struct.unpack_from("<B", bzimage, 0x1F1)
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    begin = (setup_sectors + 1) * 512 + offset
    return lzma.LZMADecompressor().decompress(bzimage[begin:begin + length])


def unpack_kernel(into: Path, modules: Sequence[str]) -> None:
    """vmlinux and the modules, from Debian's package."""
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        try:
            run(["apt-get", "download", kernel_package()], cwd=Path(scratch))
        except LabError:  # lists that are missing or older than the archive
            run(["apt-get", "update"])
            run(["apt-get", "download", kernel_package()], cwd=Path(scratch))
        package = next(Path(scratch).glob("*.deb"))
        unpacked = Path(scratch) / "unpacked"
        unpacked.mkdir()
        wanted = ["./boot/vmlinuz-*", *(f"./lib/modules/*/kernel/{name}.ko" for name in modules)]
        reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", str(unpacked), "--wildcards", *wanted], stdin=reader.stdout, check=True,
                       timeout=120)
        reader.wait(60)
        fresh = into.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        (fresh / "vmlinux").write_bytes(uncompressed(next((unpacked / "boot").glob("vmlinuz-*")).read_bytes()))
        for name in modules:
            shutil.copy(next(unpacked.glob(f"lib/modules/*/kernel/{name}.ko")), fresh)
        fresh.rename(into)


def compile_program(output: Path, sources: list[str], *flags: str) -> None:
    run(["gcc", "-O2", "-Wall", "-Wextra", "-pthread", *flags, "-o", str(output),
         *(str(GUEST_SOURCES / name) for name in sources)])


WORKLOAD_SOURCES = ["memverify.c", "memory_load.c", "disk_load.c"]


def lay_out(root: Path, init: str, kernel: Path, modules: Sequence[str] = MODULES) -> None:
    """What every image has: busybox, modules, a console, and the first program."""
    for name in ("bin", "modules", "proc", "sys", "dev"):
        (root / name).mkdir()
    for name in modules:
        shutil.copy(kernel / f"{Path(name).name}.ko", root / "modules")
    (root / "modules/order").write_text("".join(f"{Path(name).name}.ko\n" for name in modules))
    shutil.copy("/usr/bin/busybox" if Path("/usr/bin/busybox").exists() else "/bin/busybox", root / "bin/busybox")
    os.symlink("busybox", root / "bin/sh")
    shutil.copy(GUEST_SOURCES / init, root / "init")
    shutil.copy(GUEST_SOURCES / "other-cpus", root)
    (root / "init").chmod(0o755)
    os.mknod(root / "dev/console", 0o600 | stat.S_IFCHR, os.makedev(5, 1))


def pack(root: Path, into: Path) -> None:
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    with into.open("wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=names.encode(), cwd=root, stdout=out, check=True,
                       timeout=60)


def pack_initrd(kernel: Path, into: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        root = Path(scratch)
        lay_out(root, "init", kernel)
        compile_program(root / "memverify", WORKLOAD_SOURCES, "-static")
        pack(root, into)


def modules_key(modules: Sequence[str] = MODULES) -> str:
    return hashlib.sha256(repr(modules).encode()).hexdigest()[:12]


def sources_key() -> str:
    digest = hashlib.sha256(modules_key().encode())
    for path in sorted(GUEST_SOURCES.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def cache_locked() -> Iterator[None]:
    """Against other processes that fill it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kernel_with(modules: Sequence[str] = MODULES, name: str = "vmlinux") -> Path:
    """The directory with vmlinux and these modules, unpacked if need be; the cache is locked. `name` tells sets apart."""
    kernel = CACHE / f"{name}-{modules_key(modules)}"
    if not kernel.exists():
        for stale in CACHE.glob(f"{name}-*"):
            shutil.rmtree(stale)
        unpack_kernel(kernel, modules)
    return kernel


def guest_image() -> GuestImage:
    """Builds what is missing; safe to call from several processes. World-readable, for QEMUs of other users."""
    with cache_locked():
        kernel = kernel_with()
        initrd = CACHE / f"initrd-{sources_key()}"
        if not initrd.exists():
            for old in CACHE.glob("initrd-*"):
                old.unlink()
            pack_initrd(kernel, initrd.with_name("new-initrd"))
            initrd.with_name("new-initrd").rename(initrd)
    return GuestImage(kernel / "vmlinux", initrd)


def native_program(name: str, sources: list[str]) -> Path:
    """A host program from the guest's sources: memverify for plain processes, mkdisk for disks."""
    with cache_locked():
        path = CACHE / f"{name}-{sources_key()}"
        if not path.exists():
            for old in CACHE.glob(f"{name}-*"):
                old.unlink()
            compile_program(path, sources)
    return path
