# SPDX-License-Identifier: LGPL-2.1-or-later
"""2 MiB huge pages for the length of a test: a hugetlbfs mount and a pool, both put back afterwards."""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from pathlib import Path

from lab.deadline import LabError

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
LOCK = Path("/run/lock/heca-lab-huge-pages")


class HugePages:
    """Adds `mib` to the pool and mounts a hugetlbfs of its own at `path`."""

    def __init__(self, mib: int) -> None:
        self._lock = LOCK.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # the pool is the machine's; tests may run in parallel
        self._before = int(POOL.read_text())
        wanted = self._before + (mib + 1) // 2
        POOL.write_text(str(wanted))
        if int(POOL.read_text()) < wanted:
            POOL.write_text(str(self._before))
            self._lock.close()
            raise LabError(f"the kernel gave {POOL.read_text().strip()} of {wanted} huge pages")
        self.path = Path(tempfile.mkdtemp(prefix="heca-huge-", dir="/tmp"))
        subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M,mode=0777", "none", str(self.path)],
                       check=True, timeout=20)

    def close(self) -> None:
        subprocess.run(["umount", str(self.path)], check=True, timeout=20)
        self.path.rmdir()
        POOL.write_text(str(self._before))
        self._lock.close()
