# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a sanitizer has said of a program that was built with it. One that has ended the program is noticed anyhow, but not
one that speaks at its end: a leak, a race while it shuts down."""

from __future__ import annotations

import re
from pathlib import Path

# "==7==ERROR: AddressSanitizer: ...", "WARNING: ThreadSanitizer: ...", "x.cc:3:5: runtime error: ...".
REPORT = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread)Sanitizer: |: runtime error: ")
LINES = 60


def report(log: Path) -> str | None:
    """The first report in a log, from its first line on."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    at = next((at for at, line in enumerate(lines) if REPORT.search(line)), None)
    return None if at is None else "\n".join(lines[at:at + LINES])
