# SPDX-License-Identifier: LGPL-2.1-or-later
"""A long operation: an iterator of its progress, and a result."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Optional, TypeVar, cast

from heca import _core
from heca.values import Progress

if TYPE_CHECKING:
    from heca.client import Client

T = TypeVar("T")


class Operation(Generic[T], Iterator[Progress]):
    """It has begun, and goes on whether or not somebody looks. Thread-safe.

    Iterate for its progress, which ends when it is over and raises its error if it failed; `result()` waits for what it
    came to. One that is forgotten is cancelled, with a ResourceWarning. As a context manager it is over at the end of the
    block: waited for, or cancelled if the block raised.
    """

    def __init__(self, client: Client, operation: _core.Operation) -> None:
        self._client = client  # lives as long as this
        self._operation = operation
        self._settled = False  # somebody has heard how it ended, or said that it shall

    def __next__(self) -> Progress:
        progress = self._operation.next()
        if progress is None:
            self.result()
            raise StopIteration
        return progress

    def result(self, timeout: Optional[float] = None) -> T:
        """Waits until it is over; its value or its error. TimeoutError after `timeout` seconds: it goes on.

        An exception that ends the wait, KeyboardInterrupt say, cancels the operation.
        """
        if timeout is not None and not self._operation.wait(timeout):
            raise TimeoutError(f"the operation is not over after {timeout:g} s, and goes on")
        self._settled = True
        return cast(T, self._operation.result())

    def cancel(self) -> None:
        """Returns at once; result() raises Aborted then, unless it was over already.

        An attach is completed or undone; a limit or a detach goes on at hecad; a migration is undone while the VM still
        runs here.
        """
        self._settled = True
        self._operation.cancel()

    @property
    def done(self) -> bool:
        """Over, well or not."""
        return self._operation.done

    def __enter__(self) -> Operation[T]:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if kind is None:
            self.result()
            return
        self.cancel()
        self._operation.wait(None)

    def __del__(self) -> None:
        if not getattr(self, "_settled", True):
            self._operation.cancel()
            warnings.warn(
                "an operation of heca was neither waited for nor cancelled: it is cancelled now",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
