# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tools/bench migrate makes of its numbers: no figure may be drawn that was not measured, and none be left out."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools/benching"), str(ROOT / "tests")]

import migrate  # noqa: E402
from bar_chart import HEIGHT, WIDTH, Series, axis_top, bar_chart, number  # noqa: E402
from migrate_charts import COLORS, charts, files, sorted_rates, value_of  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def row(system: str, mode: str, ram_mib: int = 512, rate: str = "100", **values: Any) -> dict[str, Any]:
    return {"system": system, "mode": mode, "ram_mib": ram_mib, "dirty_mbps": rate, **values}


ROWS = [
    row("qemu", "pre-copy", total_ms=1088.0, gap_ms=93.0, bytes=438_000_000, requests=None, blocked_ms=None),
    row("qemu", "pre-copy", 1024, total_ms=None),
    row("qemu", "post-copy", total_ms=770.0, gap_ms=8.2, bytes=395_000_000, requests=550, blocked_ms=410.0),
    row("heca", "post-copy", total_ms=800.0, gap_ms=5.2, bytes=401_000_000, requests=849, blocked_ms=104.5,
        request_us={"p50": 78.0, "p99": 2400.0}),
    row("heca", "post-copy", 1024, total_ms=1500.0, gap_ms=5.4, bytes=800_000_000, requests=900, blocked_ms=110.0,
        request_us={"p50": 75.0, "p99": 2600.0}),
    row("heca", "post-copy", rate="max", total_ms=863.0, gap_ms=5.5, bytes=395_000_000, blocked_ms=300.0,
        request_us={"p50": 53.0, "p99": 819.0}),
]
RESULT = {"boundary": "gap: <STOP> to RESUME", "machine": "2 CPUs", "quick": False, "rows": ROWS}


def bars(svg: str) -> dict[str, float]:
    """{tooltip: height} of what is drawn; each must lie inside of the picture."""
    found = {}
    for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect"):
        title = rect.find(f"{SVG}title")
        if title is None or title.text is None:
            continue
        x, y, width, height = (float(rect.get(name, "nan")) for name in ("x", "y", "width", "height"))
        assert 0 <= x and x + width <= WIDTH and 0 <= y and y + height <= HEIGHT
        found[title.text] = height
    return found


@pytest.mark.parametrize(("largest", "top"), [(0, 1), (0.07, 0.1), (1, 1), (1.01, 2), (93, 100), (101, 200),
                                              (2400, 2500), (5.0, 5), (7.47e3, 1e4)])
def test_the_axis_ends_at_a_round_number_above_all_bars(largest: float, top: float) -> None:
    assert axis_top(largest) == pytest.approx(top)
    assert axis_top(largest) >= largest


def test_numbers_are_as_long_as_they_are_sure() -> None:
    written = {0: "0", 0.126: "0.13", 5.24: "5.2", 10.0: "10", 14.06: "14.1", 675: "675", 7470: "7,470"}
    assert {value: number(value) for value in written} == written


def test_bars_are_as_high_as_their_values_and_what_is_missing_has_none() -> None:
    svg = bar_chart("a < b", ["512 MiB", "1024 MiB"],
                    [Series("x", "#000", [10.0, None]), Series("y", "#fff", [5.0, 0.0])])
    heights = bars(svg)
    assert set(heights) == {"x, 512 MiB: 10", "y, 512 MiB: 5", "y, 1024 MiB: 0"}
    assert heights["x, 512 MiB: 10"] == pytest.approx(2 * heights["y, 512 MiB: 5"], abs=0.2)
    assert svg.count(">–<") == 1
    assert ">x<" in svg and ">y<" in svg, "who is who"


def test_each_measure_and_rate_has_a_chart_with_all_that_has_figures() -> None:
    drawn = charts(RESULT)
    measures = ("gap", "total", "bytes", "request-p50", "request-p99", "blocked")
    assert set(drawn) == {f"migrate-{measure}-{rate}" for measure in measures for rate in ("100", "max")}
    assert set(bars(drawn["migrate-gap-100"])) == {
        "qemu pre-copy, 512 MiB: 93", "qemu post-copy, 512 MiB: 8.2", "heca post-copy, 512 MiB: 5.2",
        "heca post-copy, 1024 MiB: 5.4"}
    assert set(bars(drawn["migrate-request-p99-100"])) == {
        "heca post-copy, 512 MiB: 2,400", "heca post-copy, 1024 MiB: 2,600"}, "QEMU does not tell"
    assert "qemu" not in drawn["migrate-gap-max"]


def test_of_repeated_runs_the_middle_is_drawn() -> None:
    runs = [row("heca", "post-copy", gap_ms=gap) for gap in (5.0, 90.0, 6.0)]
    runs.append(row("heca", "post-copy", total_ms=None))
    assert value_of(runs, "gap") == 6.0
    assert value_of(runs, "total") is None


def test_rates_come_in_their_order() -> None:
    rows = [row("heca", "post-copy", rate=rate) for rate in ("max", "100", "20", "0")]
    assert sorted_rates(rows) == ["0", "20", "100", "max"]


def test_the_page_has_every_chart_and_needs_no_other_file() -> None:
    written = files(RESULT)
    page = written.pop("migrate.html")
    for name, svg in written.items():
        assert name.endswith(".svg") and svg in page, name
    assert "src=" not in page and "href=" not in page
    assert "&lt;STOP&gt;" in page and "2 CPUs" in page and "quick" not in page
    assert "quick" in files({**RESULT, "quick": True})["migrate.html"]


def test_every_system_and_mode_that_is_measured_has_a_colour_of_its_own() -> None:
    assert {("qemu", mode) for mode in migrate.QEMU_MODES} | {("heca", mode) for mode in migrate.HECA_MODES} <= set(COLORS)
    assert len(set(COLORS.values())) == len(COLORS)


def test_qemus_waits_are_added_up_over_its_cpus() -> None:
    told = {"status": "completed", "postcopy-blocktime": 12, "postcopy-vcpu-blocktime": [30, 12]}
    assert migrate.blocked_ms(told) == 42.0
    assert migrate.blocked_ms({"status": "completed"}) is None


def test_the_table_shows_what_was_measured_and_a_dash_for_the_rest() -> None:
    lines = migrate.table(RESULT).splitlines()
    assert len(lines) == 1 + len(ROWS)
    assert "blocked ms" in lines[0] and "104.50" in lines[4]
    assert lines[2].split()[-1] == "-"
