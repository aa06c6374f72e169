# SPDX-License-Identifier: LGPL-2.1-or-later
"""Why a call failed: one exception for each ErrorCode of core/include/heca/status.h. The extension makes them by
from_status; tests/python/binding/test_errors.py compares the two."""

from __future__ import annotations

from typing import Any, ClassVar

from heca.words import ErrorScope


class Error(Exception):
    """What a call of this package failed with. str() is the text, with exact values and a remedy.

    code: a word such as "NOT_FOUND", as `hecactl --json` has it. scope: what is affected. retryable: the same call can
    succeed later without anybody changing anything. errno: the one that caused it, or 0.
    """

    code: str = "UNKNOWN"
    by_code: ClassVar[dict[str, type[Error]]] = {}

    def __init__(self, text: str, scope: ErrorScope = "none", retryable: bool = False, errno: int = 0) -> None:
        super().__init__(text)
        self.scope: ErrorScope = scope
        self.retryable = retryable
        self.errno = errno

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Error.by_code.setdefault(cls.code, cls)

    def __reduce__(self) -> tuple[Any, ...]:
        """An error may travel between processes, as an argument of an RPC's reply say."""
        return (type(self), (str(self), self.scope, self.retryable, self.errno), {"code": self.code})


class InvalidArgument(Error):
    """A value is wrong, whatever the state."""

    code = "INVALID_ARGUMENT"


class NotFound(Error):
    """The thing named does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(Error):
    """It is there already."""

    code = "ALREADY_EXISTS"


class PermissionDenied(Error):
    """Privilege or credentials are missing."""

    code = "PERMISSION_DENIED"


class FailedPrecondition(Error):
    """The state does not allow it; the text says what to change. Also: a closed client, a forked child."""

    code = "FAILED_PRECONDITION"


class Unavailable(Error):
    """The other side is not reachable now: no hecad listens, or its peer does not."""

    code = "UNAVAILABLE"


class DeadlineExceeded(Error):
    """Time ran out."""

    code = "DEADLINE_EXCEEDED"


class ResourceExhausted(Error):
    """Memory, quota, credits or descriptors are used up."""

    code = "RESOURCE_EXHAUSTED"


class Busy(Error):
    """Contention that passes."""

    code = "BUSY"


class Aborted(Error):
    """Given up on request: cancel(), close(), or the end of the interpreter."""

    code = "ABORTED"


class DataLoss(Error):
    """Bytes that should be there are gone."""

    code = "DATA_LOSS"


class Unsupported(Error):
    """This kernel, QEMU or peer cannot do it."""

    code = "UNSUPPORTED"


class Internal(Error):
    """The kernel or a library answered outside its contract."""

    code = "INTERNAL"


def from_status(code: str, scope: ErrorScope, retryable: bool, errno: int, text: str) -> Error:
    """What the extension raises. A code that has no class yet is an Error with that code."""
    error = Error.by_code.get(code, Error)(text, scope, retryable, errno)
    error.code = code
    return error
