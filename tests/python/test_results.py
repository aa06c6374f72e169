# SPDX-License-Identifier: LGPL-2.1-or-later
"""How tools/test reads GoogleTest's output and pytest's report: nothing that failed may be counted as passed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/testing"))

from results import Results, from_gtest, from_junit  # noqa: E402

GOOD = """[ RUN      ] Uffd.Fault
[       OK ] Uffd.Fault (1 ms)
[ RUN      ] Sizes/Uffd.Huge/0
/src/uffd_test.cc:12: Skipped
no huge pages
in the pool

[  SKIPPED ] Sizes/Uffd.Huge/0 (0 ms)
"""
BAD = """[ RUN      ] Uffd.Copy
/src/uffd_test.cc:30: Failure
[  FAILED  ] Uffd.Copy (0 ms)
[  FAILED  ] Uffd.Copy
 1 FAILED TEST
"""


def test_gtest_counts_and_reasons() -> None:
    results = from_gtest("os_test", GOOD, 0)
    assert results.line() == "1 passed, 0 failed, 1 skipped"
    assert results.skips == [("os_test: Sizes/Uffd.Huge/0", "no huge pages in the pool")]


def test_gtest_failure_is_counted_once() -> None:
    assert from_gtest("os_test", GOOD + BAD, 1).failures == ["os_test: Uffd.Copy"]


def test_gtest_parametrised_failure() -> None:
    text = "[ RUN      ] A.B/1\n[  FAILED  ] A.B/1, where GetParam() = 3 (2 ms)\n"
    assert from_gtest("a_test", text, 1).failures == ["a_test: A.B/1"]


def test_gtest_crash_inside_a_test_fails() -> None:
    assert from_gtest("os_test", GOOD + "[ RUN      ] Uffd.Wake\n", -11).failures == [
        "os_test: Uffd.Wake did not end (exit -11)"]


def test_gtest_failure_outside_of_tests_fails() -> None:
    assert from_gtest("os_test", GOOD, 66).failures == ["os_test: exit 66 outside of a test"]


def test_gtest_program_without_tests_fails() -> None:
    assert from_gtest("os_test", "[==========] Running 0 tests\n", 0).failures == ["os_test: no test ran"]


def test_junit(tmp_path: Path) -> None:
    report = tmp_path / "r.xml"
    report.write_text('<testsuites><testsuite><testcase classname="a" name="ok"/>'
                      '<testcase classname="a" name="bad"><failure/></testcase>'
                      '<testcase classname="a" name="broken"><error/></testcase>'
                      '<testcase classname="a" name="no"><skipped message="not root"/></testcase>'
                      '</testsuite></testsuites>')
    results = from_junit("lab", report, 1)
    assert results.line() == "1 passed, 2 failed, 1 skipped"
    assert results.skip_lines() == ["1 skipped: not root"]


def test_junit_missing_report_fails(tmp_path: Path) -> None:
    assert from_junit("lab", tmp_path / "none.xml", 4).failures == ["lab: pytest ended with 4"]
    assert Results().line() == "0 passed, 0 failed, 0 skipped"
