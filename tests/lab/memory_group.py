# SPDX-License-Identifier: LGPL-2.1-or-later
"""A memory cgroup of this machine's version, for processes to be started in."""

from __future__ import annotations

import os
from pathlib import Path

from lab.deadline import LabError, wait_until


class MemoryGroup:
    def __init__(self, name: str) -> None:
        old = Path("/sys/fs/cgroup/memory")
        self.version1 = old.is_dir()
        self.path = (old if self.version1 else Path("/sys/fs/cgroup")) / name
        self.path.mkdir(exist_ok=True)

    def command_prefix(self) -> list[str]:
        """Runs a command inside: all that it allocates is charged to the group."""
        return ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh"]

    def usage(self) -> int:
        return int((self.path / ("memory.usage_in_bytes" if self.version1 else "memory.current")).read_text())

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

    def never_kill(self) -> None:
        """Who finds the group full waits; OSError where the kernel cannot be told so (version 2)."""
        (self.path / "memory.oom_control").write_text("1")

    def close(self) -> None:
        def gone() -> bool:
            try:
                os.rmdir(self.path)
                return True
            except OSError:  # a process of it is not quite dead yet
                return False

        wait_until(gone, 10, f"{self.path} removed")
