# SPDX-License-Identifier: Apache-2.0
"""Sizes and ratios as heca writes them, by the rules of the core (core/base/size.h). Pure functions; ValueError with
the accepted forms."""

from __future__ import annotations

import re
from decimal import Decimal

MIB = 1 << 20
_POWERS = {"": 0, "b": 0, "k": 1, "kib": 1, "m": 2, "mib": 2, "g": 3, "gib": 3, "t": 4, "tib": 4}
_UNITS = ("", "KiB", "MiB", "GiB", "TiB")
# As in the core: whole numbers from 1 to 1000.
RATIO_PATTERN = r"([1-9][0-9]{0,2}|1000):([1-9][0-9]{0,2}|1000)"
FORMS = "write it like 2GiB, 512MiB, 64M or 4096 (bytes)"


def parse_size(text: str) -> int:
    """Bytes of "512MiB". A fraction is taken where it comes out as whole bytes; "MB" is refused: it means two things."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]{1,6})?) *([A-Za-z]*)", text)
    power = _POWERS.get(match.group(2).lower()) if match else None
    if match is None or power is None:
        raise ValueError(f"'{text}' is not a size: {FORMS}")
    size = Decimal(match.group(1)) * (1 << (10 * power))
    if size != int(size):
        raise ValueError(f"'{text}' is not a whole number of bytes: {FORMS}")
    if size >= 1 << 64:
        raise ValueError(f"'{text}' is too large")
    return int(size)


def format_size(size: int) -> str:
    """The largest unit that loses nothing: "1536MiB", "4097"."""
    power = 0
    while size and size % 1024 == 0 and power + 1 < len(_UNITS):
        size //= 1024
        power += 1
    return f"{size}{_UNITS[power]}"


def parse_ratio(text: str) -> tuple[int, int]:
    """(local, remote) of "1:3"."""
    match = re.fullmatch(RATIO_PATTERN, text)
    if match is None:
        raise ValueError(f"'{text}' is not a ratio: write local and remote parts like 1:3, whole numbers from 1 to 1000")
    return int(match.group(1)), int(match.group(2))


def local_part(ratio: tuple[int, int], total: int, unit: int) -> int:
    """The local part of `total`, rounded up to whole `unit`s, and never more than all."""
    local, remote = ratio
    part = -(-total * local // (local + remote))
    return min(total, -(-part // unit) * unit)
