# SPDX-License-Identifier: LGPL-2.1-or-later
"""A tmpfs of a size of its own."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path


class SmallTmpfs:
    def __init__(self, mib: int) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="heca-tmpfs-", dir="/tmp"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0777", "none", str(self.path)], check=True,
                       timeout=20)

    def close(self) -> None:
        subprocess.run(["umount", str(self.path)], check=True, timeout=20)
        self.path.rmdir()
