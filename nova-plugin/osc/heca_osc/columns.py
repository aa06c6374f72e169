# SPDX-License-Identifier: Apache-2.0
"""Values that people and programs want to see differently: `-f table` has 1.5GiB, `-f json` 1610612736."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cliff import columns

from heca_osc.sizes import format_size

if TYPE_CHECKING:
    Column = columns.FormattableColumn[Any]
else:  # not a generic class in cliff 4.0 (Zed)
    Column = columns.FormattableColumn


class Size(Column):
    """Bytes; None: not known."""

    def human_readable(self) -> str:
        return "-" if self._value is None else format_size(self._value)

    def machine_readable(self) -> Any:
        return self._value


class Percent(Column):
    """0 to 100; None: not known."""

    def human_readable(self) -> str:
        return "-" if self._value is None else f"{self._value}%"

    def machine_readable(self) -> Any:
        return self._value
