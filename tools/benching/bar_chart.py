# SPDX-License-Identifier: LGPL-2.1-or-later
"""Groups of bars as SVG, without a library: the bench needs no more than that, and its pages open anywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 460, 290
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 64, 30  # margins around the bars
LINES = 5
NAMES_A_LINE = 3


@dataclass(frozen=True)
class Series:
    """One colour. `values` has one entry a group; None: there is no figure."""

    name: str
    color: str
    values: list[float | None]


def axis_top(largest: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `largest`."""
    if largest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(largest))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= largest)


def number(value: float) -> str:
    """Three digits at most, as a figure over a bar needs."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 10 else f"{value:.2g}"


def text(x: float, y: float, words: str, anchor: str = "middle", size: int = 11) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def legend(series: list[Series]) -> list[str]:
    """Two lines of names below the title are enough."""
    parts = []
    for at, one in enumerate(series):
        x = LEFT + (WIDTH - LEFT - RIGHT) / NAMES_A_LINE * (at % NAMES_A_LINE)
        y = 32 + 14 * (at // NAMES_A_LINE)
        parts += [f'<path d="M{x:.1f} {y - 8}h8v8h-8z" fill="{one.color}"/>', text(x + 12, y, one.name, "start", 10)]
    return parts


def bar_chart(title: str, groups: list[str], series: list[Series]) -> str:
    """An SVG document. A bar that is missing has a dash in its place; each bar has its figure above and its name as a
    tooltip. The axis begins at 0."""
    top = axis_top(max((value for one in series for value in one.values if value is not None), default=0))
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    floor = TOP + down
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" '
             f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
             'font-family="sans-serif" fill="#222">', '<rect width="100%" height="100%" fill="#fff"/>',
             text(LEFT, 14, title, "start", 13), *legend(series)]
    for line in range(LINES + 1):
        y = floor - down * line / LINES
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{"#222" if line == 0 else "#ddd"}"/>')
        parts.append(text(LEFT - 6, y + 4, number(top * line / LINES), "end"))
    group_width = across / max(1, len(groups))
    bar_width = group_width * 0.84 / max(1, len(series))
    for at, group in enumerate(groups):
        left = LEFT + group_width * at + group_width * 0.08
        parts.append(text(left + group_width * 0.42, HEIGHT - 10, group))
        for which, one in enumerate(series):
            x, value = left + bar_width * which, one.values[at]
            if value is None:
                parts.append(text(x + bar_width / 2, floor - 4, "–"))
                continue
            height = down * value / top
            parts.append(f'<rect x="{x:.1f}" y="{floor - height:.1f}" width="{bar_width * 0.9:.1f}" '
                         f'height="{height:.1f}" fill="{one.color}"><title>{escape(one.name)}, {escape(group)}: '
                         f'{number(value)}</title></rect>')
            parts.append(text(x + bar_width * 0.45, floor - height - 4, number(value), size=9))
    return "\n".join([*parts, "</svg>"]) + "\n"
