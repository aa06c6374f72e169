# SPDX-License-Identifier: LGPL-2.1-or-later
"""The serial line of a server, which Nova makes a pseudo-terminal: typed into, and kept empty."""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path


class Console:
    """What the guest prints is thrown away here, so that it never waits for a reader: libvirt's log has it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        try:
            while not self._over.is_set():
                if select.select([self._fd], [], [], 0.2)[0]:
                    os.read(self._fd, 65536)
        except OSError:  # its QEMU has ended
            pass

    def type(self, command: str) -> None:
        os.write(self._fd, f"{command}\n".encode())

    def close(self) -> None:
        """Twice is fine."""
        if not self._over.is_set():
            self._over.set()
            self._thread.join(10)
            os.close(self._fd)
