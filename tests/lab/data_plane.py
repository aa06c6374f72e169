# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bytes of the data plane, written down from core/wire/README.md and not from its code, for peers that misuse them."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lab.deadline import LabError
from lab.hecad import Hecad
from lab.paths import binary
from lab.processes import spawn, stop

PAGE = 4096
ROLES = {"urgent": 1, "bulk": 2}
HELLO = struct.Struct("<4sHH16sQQB23x")
REPLY = struct.Struct("<4sHHHBBIIHHI36x192s")
REQUEST = struct.Struct("<BxHxxxxQ")
ANSWER = struct.Struct("<BBHIQ")
READ, WRITE = 1, 2


@dataclass(frozen=True)
class Reply:
    """The server's answer to a hello."""

    oldest: int
    newest: int
    version: int
    code: int
    text: str

    @staticmethod
    def parse(raw: bytes) -> Reply:
        magic, oldest, newest, version, code, length, *_, text = REPLY.unpack(raw)
        assert magic == b"HECA"
        return Reply(oldest, newest, version, code, text[:length].decode("ascii"))


def request(kind: int, slots: Sequence[int], number: int = 1) -> bytes:
    padded = [*slots, *[0] * (-len(slots) % 4)]
    return REQUEST.pack(kind, len(slots), number) + struct.pack(f"<{len(padded)}I", *padded)


def receive(peer: socket.socket, size: int) -> bytes:
    """`size` bytes, or fewer if the other end hangs up."""
    got = b""
    while len(got) < size:
        try:
            more = peer.recv(size - len(got))
        except ConnectionError:
            break
        if not more:
            break
        got += more
    return got


TOKEN_LIFE = 30  # seconds: SponsorOptions::token_life


class Borrower:
    """A lease of the sponsor and the tokens for it, by tests/integration/borrower.cc."""

    def __init__(self, sponsor: Hecad, slots: int) -> None:
        self._sponsor = sponsor
        self._child: subprocess.Popen[bytes] = spawn(
            [str(binary("borrower")), f"{sponsor.address}:{sponsor.control_port}", str(slots)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        words = self._line()
        if words[:1] != ["lease"]:
            raise LabError(f"borrower: {' '.join(words)}")
        self.lease, self.epoch = int(words[1]), int(words[2])
        self._next = 1
        self._tokens: dict[str, list[bytes]] = {"urgent": [], "bulk": []}
        self._asked = {"urgent": 0.0, "bulk": 0.0}

    def _line(self) -> list[str]:
        assert self._child.stdout is not None
        return self._child.stdout.readline().decode().split()

    def token(self, role: str) -> bytes:
        if not self._tokens[role] or time.monotonic() - self._asked[role] > TOKEN_LIFE / 2:
            assert self._child.stdin is not None
            self._child.stdin.write(f"{role} {self._next} 64\n".encode())
            self._child.stdin.flush()
            self._next += 64
            self._asked[role] = time.monotonic()
            self._tokens[role] = [bytes.fromhex(word) for word in self._line()]
        return self._tokens[role].pop()

    def hello(self, role: str, token: bytes | None = None, versions: tuple[int, int] = (1, 1)) -> bytes:
        return HELLO.pack(b"HECA", *versions, token or self.token(role), self.lease, self.epoch, ROLES[role])

    def connect(self) -> socket.socket:
        return socket.create_connection((self._sponsor.address, self._sponsor.data_port), timeout=15)

    def admitted(self, role: str) -> socket.socket:
        """A connection whose hello was good."""
        peer = self.connect()
        peer.sendall(self.hello(role))
        reply = Reply.parse(receive(peer, REPLY.size))
        assert reply.code == 0 and reply.version == 1, reply
        return peer

    def write(self, slots: Sequence[int], fill: bytes) -> None:
        with self.admitted("bulk") as peer:
            peer.sendall(request(WRITE, slots) + fill * PAGE * len(slots))
            outcome, *_ = ANSWER.unpack(receive(peer, ANSWER.size))
            assert outcome == 1

    def read(self, slot: int) -> bytes | None:
        """The page, or None where the sponsor says that it has none."""
        with self.admitted("urgent") as peer:
            peer.sendall(request(READ, [slot]))
            outcome, _, pages, _, _ = ANSWER.unpack(receive(peer, ANSWER.size))
            return receive(peer, PAGE) if outcome == 1 and pages == 1 else None

    def close(self) -> None:
        if self._child.stdin is not None:
            self._child.stdin.close()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            stop(self._child)
        if self._child.stdout is not None:
            self._child.stdout.close()
