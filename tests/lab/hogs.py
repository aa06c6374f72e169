# SPDX-License-Identifier: LGPL-2.1-or-later
"""Others who take every page of memory that is free, as soon as it is free, until they are told to let go."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from lab.memory_group import MemoryGroup
from lab.processes import spawn, stop


class FileHog:
    """Of a tmpfs or hugetlbfs: a file that grows by `step` wherever it can."""

    def __init__(self, directory: Path, step: int) -> None:
        self._path, self._step = directory / "hog", step
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._grow)

    def grab(self) -> None:
        self._thread.start()

    def _grow(self) -> None:
        size = 0
        while not self._stop.is_set():
            try:
                os.posix_fallocate(self._file, size, self._step)
                size += self._step
            except OSError:  # all of it is ours for now
                self._stop.wait(0.001)

    def let_go(self) -> None:
        if self._thread.is_alive():
            self._stop.set()
            self._thread.join()
        self._path.unlink(missing_ok=True)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    close = let_go


# Touches page after page; in a full group its own faults wait.
_GREEDY = """
import mmap, sys
memory = mmap.mmap(-1, 1 << 30)
print("ready", flush=True)
sys.stdin.readline()
for page in range(0, len(memory), 4096):
    memory[page] = 1
"""


class GroupHog:
    """A process in a memory cgroup, which has a limit from grab() to let_go(): what is used, and `spare`."""

    def __init__(self, group: MemoryGroup, spare: int) -> None:
        self._group, self._spare = group, spare
        self._child: subprocess.Popen[bytes] = spawn([*group.command_prefix(), sys.executable, "-c", _GREEDY],
                                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._child.stdout is not None
        assert self._child.stdout.readline() == b"ready\n"

    def grab(self) -> None:
        self._group.set_limit(self._group.usage() + self._spare)
        assert self._child.stdin is not None
        self._child.stdin.write(b"go\n")
        self._child.stdin.flush()

    def let_go(self) -> None:
        stop(self._child)
        self._group.set_limit(1 << 50)

    def close(self) -> None:
        self.let_go()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            pipe.close()
