# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernel swap under a memory limit, to compare with: a cgroup (v1 or v2), a swap file, zswap on or off."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab.deadline import LabError

ZSWAP = Path("/sys/module/zswap/parameters/enabled")


class SwapFile:
    """A swap file in use from construction to close()."""

    def __init__(self, path: Path, mib: int, zswap: bool) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        for command in (["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={mib}", "status=none"],
                        ["chmod", "600", str(path)], ["mkswap", "-q", str(path)], ["swapon", str(path)]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                path.unlink(missing_ok=True)
                raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
        self.former = ZSWAP.read_text().strip()
        ZSWAP.write_text("Y" if zswap else "N")

    def close(self) -> None:
        ZSWAP.write_text(self.former)
        subprocess.run(["swapoff", str(self.path)], check=True)
        self.path.unlink()


class MemoryGroup:
    """A memory cgroup of this machine's version."""

    def __init__(self, name: str) -> None:
        old = Path("/sys/fs/cgroup/memory")
        self.version1 = old.is_dir()
        self.path = (old if self.version1 else Path("/sys/fs/cgroup")) / name
        self.path.mkdir(exist_ok=True)

    def command_prefix(self) -> list[str]:
        """Runs a command inside: all that it allocates is charged to the group."""
        return ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh"]

    def set_limit(self, size: int) -> None:
        """Reclaims down to it; several tries, since reclaim gives up when it makes little progress."""
        file = self.path / ("memory.limit_in_bytes" if self.version1 else "memory.max")
        for _ in range(200):
            try:
                file.write_text(str(size))
                return
            except OSError as error:
                last = error
        raise LabError(f"{file}: {last}")

    def close(self) -> None:
        os.rmdir(self.path)
