# SPDX-License-Identifier: Apache-2.0
"""The one border at which what hecad's binding raises becomes what Nova understands.

Inside of it: heca.Error and its kind. Outside: HecaFault, a NovaException whose text ends in the fault of the instance,
where its owner reads it. A HecaFault while a server is built is tried on
another host, as any failure of a driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nova import exception


class HecaFault(exception.NovaException):
    """Something about a server's remote memory failed. `reason` is for people: exact, with what to do."""

    msg_fmt = "Remote memory (heca): %(reason)s"

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)
        self.reason = reason


class HecadAway(HecaFault):
    """This host's hecad, or its Python binding, does not answer now. Later it may."""


class HecadRefused(HecaFault):
    """hecad has answered: no. `code` is its word, such as RESOURCE_EXHAUSTED."""

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.code = code


class HecadLate(HecaFault):
    """It was not done in the time that the configuration allows. It may be done later."""


class NotGovernable(HecaFault):
    """The server cannot be a heca server as its flavor, image or devices are."""


# Words of heca's ErrorCode for which the other side, not the question, is to blame.
_AWAY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


def translate(error: BaseException, doing: str) -> HecaFault:
    code = str(getattr(error, "code", ""))
    text = f"{doing}: {error}"
    if code in _AWAY:
        return HecadAway(f"{text}; is hecad running on this compute host? (systemctl status hecad)")
    return HecadRefused(text, code)


@contextmanager
def border(binding: Any, doing: str) -> Iterator[None]:
    """`doing` is what was tried, for the text: "attaching instance-0000002a"."""
    try:
        yield
    except exception.NovaException:
        raise
    except binding.Error as error:
        raise translate(error, doing) from error
