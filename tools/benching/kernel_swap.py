# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernel swap to compare with: a swap file, zswap on or off. The memory limit is a cgroup's (lab/memory_group.py)."""

from __future__ import annotations

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
