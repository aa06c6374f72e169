# SPDX-License-Identifier: Apache-2.0
"""Sizes and ratios as an operator types them, and sizes as a table shows them. Pure functions.

The same forms as hecactl's (`core/base/size.h`), with one difference: a number without a unit is MiB here, as it is
for `openstack flavor create --ram`.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from fractions import Fraction

KIB = 1024
MIB = KIB * 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SIZE = re.compile(r"(\d+(?:\.\d{1,6})?) ?([A-Za-z]*)")
_FORMS = "write it like 2GiB, 512MiB, 64M or 2048 (MiB)"
_MAX_PART = 1000


def _power(unit: str) -> int | None:
    """The power of 1024 that a unit stands for; None: it is none."""
    if not unit:
        return _UNITS.index("MiB")
    for power, name in enumerate(_UNITS):
        if unit.lower() in (name.lower(), name[0].lower()):
            return power
    return None


def parse_mib(text: str) -> int:
    """A size in whole MiB, more than none. ValueError says what is wrong, and the accepted forms."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"'{text}' is not a size: {_FORMS}")
    number, unit = found.groups()
    power = _power(unit)
    if power is None:
        if re.fullmatch("[kmgt]b", unit.lower()):
            raise ValueError(f"'{text}' is not a size ({unit} is 1000 for some and 1024 for others): {_FORMS}")
        raise ValueError(f"'{text}' is not a size (unknown unit '{unit}'): {_FORMS}")
    mib = Fraction(number) * KIB**power / MIB
    if mib.denominator != 1:
        raise ValueError(f"'{text}' is not a whole number of MiB, in which Nova and placement count")
    if mib == 0:
        raise ValueError(f"'{text}': some memory has to be there; give 1MiB at least")
    return int(mib)


def size_argument(text: str) -> int:
    """`parse_mib` as a `type` of argparse, which shows the text of this exception and of no other."""
    try:
        return parse_mib(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def format_size(size: int) -> str:
    """Bytes in the largest unit that leaves a number of at least 1, with at most one decimal: "1.5GiB"."""
    power = 0
    # 1023.95 and more would be shown as 1024.0: the next unit is taken instead.
    while power + 1 < len(_UNITS) and size / 1024**power >= 1023.95:
        power += 1
    number = f"{size / 1024**power:.1f}"
    return number.removesuffix(".0") + _UNITS[power]


@dataclass(frozen=True)
class Ratio:
    """local : remote parts of a server's memory, each from 1 to 1000."""

    local: int
    remote: int

    def __str__(self) -> str:
        return f"{self.local}:{self.remote}"

    def local_mib(self, ram_mib: int) -> int:
        """What of `ram_mib` stays at the server's host: rounded up, so that both parts are whole MiB."""
        return -(-ram_mib * self.local // (self.local + self.remote))


def parse_ratio(text: str) -> Ratio:
    """ "1:3". ValueError says what would do."""
    found = re.fullmatch(r"(\d{1,4}):(\d{1,4})", text)
    if found:
        local, remote = int(found[1]), int(found[2])
        if 1 <= local <= _MAX_PART and 1 <= remote <= _MAX_PART:
            return Ratio(local, remote)
    raise ValueError(f"'{text}' is not a ratio: write it like 1:3 (local:remote, whole numbers from 1 to {_MAX_PART})")


def ratio_argument(text: str) -> Ratio:
    """`parse_ratio` as a `type` of argparse."""
    try:
        return parse_ratio(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
