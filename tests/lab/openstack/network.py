# SPDX-License-Identifier: LGPL-2.1-or-later
"""HTTP, spoken by this process, to an address in a network namespace of the lab."""

from __future__ import annotations

import ctypes
import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


@contextmanager
def inside(network: Path) -> Iterator[None]:
    """This thread, and only it, makes its sockets in that network; those that it has stay where they were made."""
    home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
    try:
        there = os.open(network, os.O_RDONLY)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


class Connection(http.client.HTTPConnection):
    """To an address in that network."""

    def __init__(self, network: Path, address: str, port: int, timeout: float) -> None:
        super().__init__(address, port, timeout=timeout)
        self._network = network

    def connect(self) -> None:
        with inside(self._network):
            super().connect()
