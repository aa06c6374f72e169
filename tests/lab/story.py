# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a demonstration tells: a table, line by line as things happen, and a summary for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from lab.bench import Bench
from lab.deadline import LabError
from lab.paths import ROOT
from lab.workload import Workload

MIB = 1 << 20


class Watched(Protocol):
    """A guest that verifies its memory, somewhere."""

    @property
    def guest(self) -> Workload: ...

    def resident_bytes(self) -> int:
        """Of its memory, where it runs."""
        ...


class Story:
    """Each row says what was done, how long it took and what the guest did meanwhile."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._began = time.monotonic()
        print(f"{'at s':>7}  {'what':44} {'took s':>8}  {'here MiB':>8}  {'verified':>10}  {'errors':>6}", flush=True)

    def tell(self, what: str, seconds: float, vm: Watched | None, note: str = "") -> None:
        ticks = vm.guest.ticks() if vm else []
        row = {"at_s": round(time.monotonic() - self._began, 1), "what": what, "took_s": round(seconds, 3),
               "resident_mib": vm.resident_bytes() // MIB if vm else None,
               "verified": ticks[-1].verified if ticks else 0, "errors": ticks[-1].errors if ticks else 0,
               "note": note}
        self.rows.append(row)
        print(f"{row['at_s']:7.1f}  {what:44} {seconds:8.2f}  {row['resident_mib'] or '':>8}  {row['verified']:>10}  "
              f"{row['errors']:>6}  {note}", flush=True)


def rate_over(vm: Watched, seconds: int) -> tuple[float, int]:
    """Verifications a second, and the longest gap in ms, over so many ticks."""
    ticks = vm.guest.wait_ticks(seconds, seconds * 3 + 60)
    vm.guest.check()
    return (ticks[-1].verified - ticks[0].verified) / max(1, len(ticks) - 1), max(tick.max_gap_ms for tick in ticks)


def perform(name: str, file: str, run: Callable[[Bench, Story], dict[str, Any]]) -> int:
    """Runs it on a bench of its own and writes build/demo/FILE. The exit code: 1 if a single byte was wrong (`errors` of what
    it returns), or something failed."""
    out = ROOT / "build" / "demo"
    out.mkdir(parents=True, exist_ok=True)
    bench, story = Bench(name), Story()
    summary: dict[str, Any] = {}
    try:
        summary = run(bench, story)
        summary["ok"] = summary["errors"] == 0
    except LabError as error:
        summary = {"ok": False, "error": str(error)}
        print(f"failed: {error}", file=sys.stderr)
    finally:
        bench.close()
    summary["rows"] = story.rows
    (out / file).write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\n{'no byte was wrong' if summary['ok'] else 'NOT GOOD'}; summary in build/demo/{file}, "
          f"logs in build/lab/run/{name}")
    return 0 if summary["ok"] else 1
