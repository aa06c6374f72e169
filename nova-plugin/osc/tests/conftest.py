# SPDX-License-Identifier: Apache-2.0
"""What the tests share: a cloud that is made up, and commands run against it as the client runs them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

# Imported by name wherever pytest is started from, with --import-mode=importlib too.
sys.path.insert(0, str(Path(__file__).parent))

from fake_cloud import FakeCloud
from fake_http import adapters
from heca_osc.cloud import Cloud


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


class Commands:
    """Runs a command class with a command line; what cliff would have formatted comes back."""

    def __init__(self, cloud: FakeCloud) -> None:
        self._app = SimpleNamespace(client_manager=SimpleNamespace(heca=Cloud(adapters(cloud))))

    def _take(self, command: type, line: str) -> Any:
        made = command(self._app, None)
        return made.take_action(made.get_parser("openstack heca").parse_args(line.split()))

    def show(self, command: type, line: str) -> dict[str, Any]:
        columns, data = self._take(command, line)
        assert len(columns) == len(data)
        return dict(zip(columns, data, strict=True))

    def list(self, command: type, line: str = "") -> list[dict[str, Any]]:
        columns, rows = self._take(command, line)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def run(self, command: type, line: str) -> None:
        assert self._take(command, line) is None


@pytest.fixture
def commands(cloud: FakeCloud) -> Commands:
    return Commands(cloud)
