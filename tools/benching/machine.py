# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this machine is, for the head of a table; and what a process has used of it."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe() -> str:
    return f"{os.cpu_count()} CPUs, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def rows_as_table(rows: list[dict[str, object]], columns: dict[str, str]) -> str:
    """Columns are {key: heading}; floats get two digits, None a dash."""
    def cell(value: object) -> str:
        return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)

    lines = [list(columns.values())] + [[cell(row.get(key)) for key in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths)) for line in lines)
