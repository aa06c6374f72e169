# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/lint-rooms on small trees: one that is clean, and one for each rule that breaks just that rule."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPDX = "// SPDX-License-Identifier: LGPL-2.1-or-later\n"

CLEAN = {
    "core/rooms.txt": "# rooms\n0 heca :\n1 base : heca\n4 left : base\n4 right : base heca\n",
    "core/include/heca/status.h": SPDX,
    "core/base/log.h": SPDX + '#include "heca/status.h"\n',
    "core/base/fail_points.h":
        SPDX + "enum class FailPoint : int {\n  kNone = 0,\n  kLoseIt,  ///< text\n  kCount,\n};\n",
    "core/left/left.cc": SPDX + '#include "left/left.h"\n#include "base/log.h"\n#include <vector>\n',
    "core/left/left.h": SPDX,
    "core/right/right.cc": SPDX + '#include "base/log.h"\n  #  include "heca/status.h"\n',
    "tests/unit/base/log_test.cc": SPDX + "Arm(FailPoint::kLoseIt);\n",
    "tests/unit/left/left_test.cc": SPDX,
    "tests/unit/right/right_test.cc": SPDX,
}


def lint(root: Path, changes: dict[str, str | None]) -> list[str]:
    for name, text in {**CLEAN, **changes}.items():
        if text is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    done = subprocess.run([ROOT / "tools/lint-rooms", "--root", root], capture_output=True, text=True, timeout=60)
    problems = [line.removeprefix("lint: ") for line in done.stdout.splitlines() if line.startswith("lint: ")]
    assert done.returncode == (1 if problems else 0), done.stderr
    return problems


def test_clean_tree_has_no_problem(tmp_path: Path) -> None:
    assert lint(tmp_path, {}) == []


@pytest.mark.parametrize(("changes", "problem"), [
    ({"core/left/left.h": SPDX + '#include "heca/status.h"\n'},
     "core/left/left.h includes heca/status.h, which core/rooms.txt does not allow"),
    ({"core/left/left.h": SPDX + '#include "right/right.h"\n'},
     "core/left/left.h includes right/right.h, which is on the same rung"),
    ({"core/right/right.cc": SPDX + '#include "heca/status.h"\n'},
     "core/rooms.txt: right names base and includes nothing of it"),
    ({"core/rooms.txt": CLEAN["core/rooms.txt"].replace("1 base : heca", "1 base : heca left")},
     "core/rooms.txt: base (rung 1) names left (rung 4), which is not lower"),
    ({"core/rooms.txt": CLEAN["core/rooms.txt"] + "5 attic :\n"},
     "core/rooms.txt: attic is declared and core/attic is not there"),
    ({"core/cellar/x.h": SPDX}, "core/cellar is not in core/rooms.txt"),
    ({"tests/unit/left/left_test.cc": None}, "core/left has no test in tests/unit/left"),
    ({"core/base/utils.h": SPDX}, "core/base/utils.h: say what is in it, not that it is useful"),
    ({"core/base/log.h": '#include "heca/status.h"\n'},
     "core/base/log.h: no SPDX-License-Identifier in its first line"),
    ({"core/base/long.h": SPDX + "\n" * 600}, "core/base/long.h: 601 lines; split it (limit 600)"),
    ({"tests/unit/base/open_test.cc": SPDX + "#define private public\n"},
     "tests/unit/base/open_test.cc: redefines private"),
    ({"tests/unit/base/log_test.cc": SPDX},
     "core/base/fail_points.h: kLoseIt (lose-it) is named by no test"),
])
def test_each_rule_finds_its_problem(tmp_path: Path, changes: dict[str, str | None], problem: str) -> None:
    assert problem in lint(tmp_path, changes)


def test_generated_headers_of_the_schema_are_no_edge(tmp_path: Path) -> None:
    assert lint(tmp_path, {"core/left/left.h": SPDX + '#include "heca/v1/node.pb.h"\n'}) == []


def test_fail_point_may_be_named_by_its_word(tmp_path: Path) -> None:
    assert lint(tmp_path, {"tests/unit/base/log_test.cc": SPDX + 'setenv("HECA_FAIL", "lose-it=on", 1);\n'}) == []
