# SPDX-License-Identifier: LGPL-2.1-or-later
"""Events as they come."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Optional

from heca import _core
from heca.values import Event

if TYPE_CHECKING:
    from heca.client import Client


class EventStream(Iterator[Event]):
    """Iterate: it ends at the last event, or with follow=True never by itself. close(), from any thread, ends it."""

    def __init__(self, client: Client, stream: _core.EventStream) -> None:
        self._client = client  # lives as long as this
        self._stream = stream

    def __next__(self) -> Event:
        event = self._stream.next()
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        """Twice is fine."""
        self._stream.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
