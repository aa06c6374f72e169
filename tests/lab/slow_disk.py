# SPDX-License-Identifier: LGPL-2.1-or-later
"""A block device that is slow for one process: direct I/O stays in flight, its pages pinned, for long."""

from __future__ import annotations

import os
from pathlib import Path

V1 = Path("/sys/fs/cgroup/blkio")
V2 = Path("/sys/fs/cgroup")


def device_of(path: Path) -> str:
    """MAJOR:MINOR of the whole disk that holds the file."""
    number = path.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    node = Path("/sys/dev/block") / device
    if (node / "partition").exists():
        return (node.resolve().parent / "dev").read_text().strip()
    return device


class SlowDisk:
    """Holds the process to `bytes_per_second` of reads from the disk under `path`; raises OSError if it cannot."""

    def __init__(self, path: Path, pid: int, bytes_per_second: int) -> None:
        base, file = (V1, "blkio.throttle.read_bps_device") if V1.is_dir() else (V2, "io.max")
        rate = f"{bytes_per_second}" if base == V1 else f"rbps={bytes_per_second}"
        self._base, self._group, self._pid = base, base / f"heca-lab-{pid}", pid
        self._group.mkdir()
        try:
            (self._group / file).write_text(f"{device_of(path)} {rate}")
            (self._group / "cgroup.procs").write_text(str(pid))
        except OSError:
            self._group.rmdir()
            raise

    def close(self) -> None:
        try:
            (self._base / "cgroup.procs").write_text(str(self._pid))
        except ProcessLookupError:
            pass
        self._group.rmdir()
