# SPDX-License-Identifier: LGPL-2.1-or-later
"""Soft-iWARP (siw), which no Debian kernel has: built out of tree from the kernel's own source, for the lab's kernel.

Nothing is installed: headers and source are downloaded and unpacked, and only the module stays, in build/lab/cache. 150 MB
and a minute the first time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab import guest_image
from lab.deadline import LabError
from lab.paths import CACHE

SOURCE = "drivers/infiniband/sw/siw"


def download(packages: list[str], into: Path) -> None:
    try:
        guest_image.run(["apt-get", "download", *packages], cwd=into, timeout=600)
    except LabError:  # lists that are missing or older than the archive
        guest_image.run(["apt-get", "update"])
        guest_image.run(["apt-get", "download", *packages], cwd=into, timeout=600)


def unpack_source(package: Path, into: Path) -> Path:
    """Only siw's directory of it; its path."""
    pipeline = (f"dpkg-deb --fsys-tarfile '{package}' | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' | xz -dc -T0 | "
                f"tar -x -C '{into}' --wildcards 'linux-source-*/{SOURCE}/*'")
    guest_image.run(["bash", "-o", "pipefail", "-c", pipeline], timeout=600)
    return next(into.glob(f"linux-source-*/{SOURCE}"))


def headers_of(release: str, root: Path) -> Path:
    """Unpacked, and made to find each other below `root`: Debian's name them by absolute paths."""
    headers = root / f"usr/src/linux-headers-{release}"
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src/", f"{root}/usr/src/"))
    return headers


def build(release: str, into: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        work = Path(scratch)
        version = ".".join(release.split(".")[:2])  # 6.1 of 6.1.0-56-amd64
        common = re.sub(r"-amd64$", "-common", release)
        download([f"linux-headers-{release}", f"linux-headers-{common}", f"linux-kbuild-{version}", f"linux-source-{version}"],
                 work)
        root = work / "root"
        for package in work.glob("*.deb"):
            if not package.name.startswith("linux-source"):
                guest_image.run(["dpkg-deb", "-x", str(package), str(root)])
        source = unpack_source(next(work.glob("linux-source-*.deb")), work)
        guest_image.run(["make", "-C", str(headers_of(release, root)), f"M={source}", "CONFIG_RDMA_SIW=m",
                         "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"], timeout=600)
        subprocess.run(["strip", "--strip-debug", str(source / "siw.ko")], check=True, timeout=60)
        fresh = into.with_suffix(".new")
        shutil.copy(source / "siw.ko", fresh)
        fresh.rename(into)


def module() -> Path:
    """Built if need be; the cache is locked by the caller."""
    release = re.sub(r"^linux-image-", "", guest_image.kernel_package())
    path = CACHE / f"siw-{release}.ko"
    if not path.exists():
        build(release, path)
    return path
