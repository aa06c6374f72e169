# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests said: counts, failures and the reasons of skips, from GoogleTest's output and pytest's JUnit file."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Results:
    passed: int = 0
    failures: list[str] = field(default_factory=list)
    skips: list[tuple[str, str]] = field(default_factory=list)  # name, reason

    def add(self, other: Results) -> None:
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips

    def line(self) -> str:
        return f"{self.passed} passed, {len(self.failures)} failed, {len(self.skips)} skipped"

    def skip_lines(self) -> list[str]:
        """Each reason once, with its count."""
        reasons = Counter(reason for _, reason in self.skips)
        return [f"{count} skipped: {reason}" for reason, count in reasons.most_common()]


RUN = re.compile(r"^\[ RUN      \] (\S+)")
END = re.compile(r"\[(       OK |  FAILED  |  SKIPPED )\] ([\w./]+)(?:,| \()")
SKIP_REASON = re.compile(r"^\S+:\d+: Skipped\n(.*?)(?=^\[|\Z)", re.MULTILINE | re.DOTALL)


def from_gtest(program: str, output: str, exit_code: int) -> Results:
    """A test that began and did not end is a crash and counts as failed; so does a program that ran nothing."""
    results = Results()
    running, body = "", ""
    for line in output.splitlines(keepends=True):
        begin = RUN.match(line)
        if begin:
            running, body = begin.group(1), ""
            continue
        end = END.search(line)
        if not running or not end or end.group(2) != running:
            body += line
            continue
        name = f"{program}: {running}"
        if "OK" in end.group(1):
            results.passed += 1
        elif "FAILED" in end.group(1):
            results.failures.append(name)
        else:
            found = SKIP_REASON.search(body)
            reason = " ".join(found.group(1).split()) if found else ""
            results.skips.append((name, reason or "no reason given"))
        running = ""
    if running:
        results.failures.append(f"{program}: {running} did not end (exit {exit_code})")
    elif exit_code != 0 and not results.failures:
        results.failures.append(f"{program}: exit {exit_code} outside of a test")
    elif results.passed + len(results.failures) + len(results.skips) == 0:
        results.failures.append(f"{program}: no test ran")
    return results


def from_junit(label: str, file: Path, exit_code: int) -> Results:
    """pytest's exit code 5 means that it found no test: a failure here."""
    results = Results()
    if file.exists():
        for case in ET.parse(file).getroot().iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name')}"
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                results.failures.append(name)
            elif skipped is not None:
                results.skips.append((name, (skipped.get("message") or "no reason given").strip()))
            else:
                results.passed += 1
    if exit_code != 0 and not results.failures:
        results.failures.append(f"{label}: pytest ended with {exit_code}")
    return results
