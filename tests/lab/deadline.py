# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waiting for a condition, with an end and a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class LabError(Exception):
    """Something in the lab did not happen in time, or died."""


class TooLate(LabError):
    """It did not happen in time."""


def wait_until(condition: Callable[[], T | None], seconds: float, what: str, poll: float = 0.02) -> T:
    """The first true value of `condition`; TooLate after `seconds`. An error that it raises ends the wait."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TooLate(f"{what}: not within {seconds:g} s")
        time.sleep(poll)
