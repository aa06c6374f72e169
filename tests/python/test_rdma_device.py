# SPDX-License-Identifier: LGPL-2.1-or-later
"""`tools/test rdma --device NAME` where the device is not there: it says so before it builds anything, and what helps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/testing"))

import tiers  # noqa: E402


def refused(*arguments: str) -> str:
    done = subprocess.run([str(ROOT / "tools/test"), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    return done.stderr


def test_a_device_that_is_not_there_is_named_with_a_remedy() -> None:
    said = refused("rdma", "--device", "mlx5_77")
    assert "there is no RDMA device mlx5_77; this host has" in said


def test_a_device_is_for_its_tier_and_the_tier_needs_one() -> None:
    assert "rdma needs --device NAME; this host has" in refused("rdma")
    assert "--device is for tier rdma" in refused("lint", "--device", "mlx5_0")


def test_what_is_there_is_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tiers, "RDMA_DEVICES", tmp_path / "none")
    assert "modprobe mlx5_ib" in str(tiers.why_not_device("mlx5_0"))
    monkeypatch.setattr(tiers, "RDMA_DEVICES", tmp_path)
    for name in ("rxe0", "mlx5_0"):
        (tmp_path / name).mkdir()
    assert tiers.why_not_device("mlx5_0") is None
    assert tiers.why_not_device("mlx5_1") == "there is no RDMA device mlx5_1; this host has mlx5_0, rxe0"
