# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QMP client that never waits for ever."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from lab.deadline import LabError, wait_until


class QmpSilent(LabError):
    """QEMU said nothing for so long; it is still connected."""


class Qmp:
    """One monitor connection. One thread at a time."""

    def __init__(self, path: Path, seconds: float = 20) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

        def connect() -> bool:
            try:
                self._socket.connect(str(path))
                return True
            except (FileNotFoundError, ConnectionRefusedError):
                return False

        wait_until(connect, seconds, f"QMP socket {path}")
        self._read_message(seconds)
        self.execute("qmp_capabilities")

    def _read_message(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                received = self._socket.recv(65536)
            except TimeoutError:
                raise QmpSilent(f"QMP: no message within {seconds:g} s") from None
            if not received:
                raise LabError("QMP: QEMU closed the connection")
            self._buffer += received
        line, self._buffer = self._buffer.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def execute(self, command: str, seconds: float = 20, **arguments: Any) -> Any:
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        end = time.monotonic() + seconds
        while True:
            message = self._read_message(max(0.01, end - time.monotonic()))
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise LabError(f"QMP {command}: {message['error']['desc']}")
            elif "return" in message:
                return message["return"]

    def wait_event(self, name: str, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            message = self._read_message(max(0.01, end - time.monotonic()))
            if "event" in message:
                self.events.append(message)

    def next_event(self, seconds: float) -> dict[str, Any] | None:
        """The oldest one that nobody has taken; None if none comes."""
        end = time.monotonic() + seconds
        while not self.events:
            try:
                message = self._read_message(max(0.01, end - time.monotonic()))
            except QmpSilent:
                return None
            if "event" in message:
                self.events.append(message)
        return self.events.pop(0)

    def close(self) -> None:
        self._socket.close()
