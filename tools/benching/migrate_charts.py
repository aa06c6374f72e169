# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tools/bench migrate has measured, as pictures: one a measure and rate of dirtying, and a page with all of them."""

from __future__ import annotations

from html import escape
from statistics import median
from typing import Any

from bar_chart import Series, bar_chart

# What, its name in a file, and where a row has it.
MEASURES = {
    "gap": ("Gap: STOP to RESUME, ms", lambda row: row.get("gap_ms")),
    "total": ("Total time, ms", lambda row: row.get("total_ms")),
    "bytes": ("Moved, MB", lambda row: row["bytes"] / 1e6 if row.get("bytes") is not None else None),
    "request-p50": ("A page request, p50, us", lambda row: row.get("request_us", {}).get("p50")),
    "request-p99": ("A page request, p99, us", lambda row: row.get("request_us", {}).get("p99")),
    "blocked": ("Waited for pages, all vCPUs, ms", lambda row: row.get("blocked_ms")),
}
# QEMU's in greys and blues, ours in warm colours; told apart by people who see few colours too (Okabe and Ito).
COLORS = {
    ("qemu", "pre-copy"): "#999999", ("qemu", "post-copy"): "#56b4e9", ("qemu", "post-copy-preempt"): "#0072b2",
    ("qemu", "hybrid"): "#009e73",
    ("heca", "post-copy"): "#d55e00", ("heca", "hybrid"): "#e69f00", ("heca", "pre-copy"): "#cc79a7",
}


def of(rows: list[dict[str, Any]], kind: tuple[str, str], ram_mib: int) -> list[dict[str, Any]]:
    return [row for row in rows if (row["system"], row["mode"], row["ram_mib"]) == (*kind, ram_mib)]


def value_of(rows: list[dict[str, Any]], measure: str) -> float | None:
    """Of runs that were repeated, the middle; None where no run has a figure."""
    found = [value for row in rows if (value := MEASURES[measure][1](row)) is not None]
    return median(found) if found else None


def sorted_rates(rows: list[dict[str, Any]]) -> list[str]:
    """Numbers first, by their size, then words."""
    return sorted({str(row["dirty_mbps"]) for row in rows}, key=lambda rate: (not rate.isdigit(), rate.zfill(9)))


def charts(result: dict[str, Any]) -> dict[str, str]:
    """{name: SVG}. A measure that no row of a rate has, has no chart."""
    drawn = {}
    for rate in sorted_rates(result["rows"]):
        rows = [row for row in result["rows"] if str(row["dirty_mbps"]) == rate]
        sizes = sorted({row["ram_mib"] for row in rows})
        kinds = [kind for kind in COLORS if any((row["system"], row["mode"]) == kind for row in rows)]
        for measure, (title, _) in MEASURES.items():
            series = [Series(" ".join(kind), COLORS[kind], [value_of(of(rows, kind, size), measure) for size in sizes])
                      for kind in kinds]
            series = [one for one in series if any(value is not None for value in one.values)]
            if series:
                drawn[f"migrate-{measure}-{rate}"] = bar_chart(title, [f"{size} MiB" for size in sizes], series)
    return drawn


def page(result: dict[str, Any], drawn: dict[str, str]) -> str:
    """One HTML file that needs no other."""
    parts = ['<!DOCTYPE html>', '<html lang="en"><meta charset="utf-8"><title>Live migration, side by side</title>',
             "<style>body{font:15px sans-serif;max-width:960px;margin:2em auto;color:#222}"
             "pre{white-space:pre-wrap;color:#555}svg{max-width:100%}</style>",
             "<h1>Live migration, side by side</h1>", f"<p>{escape(result.get('machine', ''))}</p>"]
    if result.get("quick"):
        parts.append("<p><b>A quick run: for a look, not for figures.</b></p>")
    for rate in sorted_rates(result["rows"]):
        words = f"{rate} MB/s" if rate.isdigit() else "memory as fast as it can"
        parts.append(f"<h2>The guest dirties {escape(words)}</h2>")
        parts += [svg for name, svg in drawn.items() if name.endswith(f"-{rate}")]
    parts.append("<p>A dash: no figure; the mode did not end in its time, or does not tell.</p>"
                 f"<pre>{escape(result['boundary'])}</pre></html>")
    return "\n".join(parts) + "\n"


def files(result: dict[str, Any]) -> dict[str, str]:
    """{file name: content}, to lie beside migrate.json."""
    drawn = charts(result)
    return {**{f"{name}.svg": svg for name, svg in drawn.items()}, "migrate.html": page(result, drawn)}
