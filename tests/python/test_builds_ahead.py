# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/test: what later tiers need is built behind those that mostly wait, and is there when they begin."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "tools/testing"))
    for name in ("run", "tiers", "results"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("run")


def test_builds_go_on_behind_and_are_done_when_they_are_needed(run: ModuleType, monkeypatch: pytest.MonkeyPatch,
                                                               tmp_path: Path) -> None:
    diary: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def ahead() -> None:
        begun.set()
        assert go_on.wait(20)
        diary.append("built")

    def wait_tier() -> object:
        assert begun.wait(20), "it is built while this tier runs"
        diary.append("waited")
        go_on.set()
        return run.Results(passed=1)

    def build_tier() -> object:
        diary.append("used")
        return run.Results(passed=1)

    tier = sys.modules["tiers"].Tier
    monkeypatch.setattr(run, "TIERS", {"waits": tier("nothing", wait_tier, mostly_waits=True),
                                       "builds": tier("a build", build_tier, ahead=ahead)})
    monkeypatch.setattr(run, "LOGS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["tools/test", "waits", "builds"])
    assert run.main() == 0
    assert diary == ["waited", "built", "used"]


def test_a_build_that_fails_ahead_is_told_by_its_tier(run: ModuleType, monkeypatch: pytest.MonkeyPatch,
                                                      tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> object:
        raise run.BuildFailed("no compiler")

    tier = sys.modules["tiers"].Tier
    monkeypatch.setattr(run, "TIERS", {"waits": tier("nothing", lambda: run.Results(passed=1), mostly_waits=True),
                                       "builds": tier("a build", fail, ahead=fail)})
    monkeypatch.setattr(run, "LOGS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["tools/test", "waits", "builds"])
    assert run.main() == 1
    assert "builds: the build failed" in capsys.readouterr().out


def test_a_build_ahead_is_of_the_lowest_priority_beside_other_sessions_too(run: ModuleType) -> None:
    autogroup = Path("/proc/self/autogroup")
    if not autogroup.exists():
        pytest.skip("this kernel has no autogroups")
    said = subprocess.run(sys.modules["tiers"].behind(["sh", "-c", "nice; cat /proc/self/autogroup; ps -o sid= -p $$"]),
                          capture_output=True, text=True, timeout=20, check=True).stdout.split()
    assert (said[0], said[-2]) == ("19", "19")
    assert said[1:2] != autogroup.read_text().split()[:1]  # none: this process is in no autogroup, but in the group of all
    assert int(said[-1]) != os.getsid(0)


def test_a_build_ahead_ends_with_tools_test(run: ModuleType) -> None:
    """Its session has no terminal that would tell it. What it says is read to the end, which comes with its own."""
    command = sys.modules["tiers"].behind(["sh", "-c", "echo begun; exec sleep 60 >&2"])
    starter = f"import subprocess; assert subprocess.Popen({command!r}, stdout=subprocess.PIPE).stdout.readline() == b'begun\\n'"
    subprocess.run([sys.executable, "-c", starter], stderr=subprocess.PIPE, timeout=10, check=True)
