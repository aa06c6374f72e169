# SPDX-License-Identifier: LGPL-2.1-or-later
"""A hecad inside this process, for tests and tools."""

from __future__ import annotations

import atexit
import collections.abc
import itertools
import os
import shutil
import socket
import tempfile
import threading
import weakref
from pathlib import Path
from types import TracebackType
from typing import Optional, Union

from heca import _core
from heca.client import Client

Setting = Union[str, int, bool, collections.abc.Sequence[str]]

MEMORY = Path("/dev/shm")  # journals and slabs want a tmpfs
_numbers = itertools.count(1)
_open: weakref.WeakSet[Node] = weakref.WeakSet()


def _free_port() -> int:
    """Free a moment ago: somebody else may be faster, and Node says so then (FailedPrecondition)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Node:
    """hecad as its process is, with a directory of its own and only loopback, until close().

    config: keys of hecad.toml ("slab-size", or with underscores) with their values; "peer": texts such as
    "m1=127.0.0.1:7310". What is not given is chosen: a name, directories below /dev/shm that are removed at the end, free
    ports, no metrics, log-level "warn". Errors: InvalidArgument (the configuration; the text names the key), PermissionDenied
    (governing needs root; lending alone, compute=False, does not), FailedPrecondition (a port or a directory is in use).

    To close it is a clean stop without detach: threads of a process that is governed wait for the next hecad on the same
    "run-dir". So detach first, or give a run-dir of your own.
    """

    def __init__(self, config: Optional[collections.abc.Mapping[str, Setting]] = None) -> None:
        given = {key.replace("_", "-"): value for key, value in (config or {}).items()}
        self._lock = threading.Lock()
        self._core: Optional[_core.Node] = None
        self._home = Path(tempfile.mkdtemp(prefix="heca-node-", dir=MEMORY if MEMORY.is_dir() else None))
        self._pid = os.getpid()
        chosen: dict[str, Setting] = {
            "name": f"node-{self._pid}-{next(_numbers)}",
            "run-dir": str(self._home / "run"),
            "slab-dir": str(self._home / "slabs"),
            "socket": str(self._home / "hecad.sock"),
            "control-listen": f"127.0.0.1:{_free_port()}",
            "data-listen": f"127.0.0.1:{_free_port()}",
            "metrics-listen": "off",
            "log-level": "warn",
            **given,
        }
        self.name = str(chosen["name"])
        self.socket = Path(str(chosen["socket"]))
        self.control_address = str(chosen["control-listen"])
        empty = self._home / "hecad.toml"
        empty.touch()
        try:
            self._core = _core.Node(["--config", str(empty), *_flags(chosen)])
        except BaseException:
            shutil.rmtree(self._home, ignore_errors=True)
            raise
        _open.add(self)

    @property
    def peer(self) -> str:
        """How another one names it: "peer": [node.peer]."""
        return f"{self.name}={self.control_address}"

    def client(self, timeout: float = 30.0) -> Client:
        """Keeps this node alive."""
        client = Client(self.socket, timeout)
        client._parent = self
        return client

    def close(self) -> None:
        """Calls of clients under way are cancelled. Twice is fine; in a forked child it does nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._core is None:
                return
            self._core.close()
            self._core = None
            shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_core", None) is not None:
            self.close()


def _flags(settings: dict[str, Setting]) -> list[str]:
    """As on hecad's command line; a list is a flag that is given several times."""
    flags = []
    for key, value in settings.items():
        values = [value] if isinstance(value, (str, int)) else list(value)
        for one in values:
            text = ("on" if one else "off") if isinstance(one, bool) else str(one)
            flags.append(f"--{key}={text}")
    return flags


@atexit.register
def _close_all() -> None:
    for node in list(_open):
        node.close()
