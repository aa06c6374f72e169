# SPDX-License-Identifier: LGPL-2.1-or-later
"""The `openstack` client, run on the control plane's host as an administrator would run it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from lab.deadline import LabError
from lab.host import Host
from lab.openstack import config
from lab.openstack.api import COMPUTE_VERSION


class ClientFailed(LabError):
    """`text` is what it said, `code` its exit code."""

    def __init__(self, words: tuple[str, ...], code: int, text: str) -> None:
        super().__init__(f"openstack {' '.join(words)}: exit {code}: {text.strip()}")
        self.code, self.text = code, text


class Client:
    """`environment`: more of it, PYTHONPATH for a plugin say."""

    def __init__(self, host: Host, environment: dict[str, str] | None = None) -> None:
        self._host = host
        self._environment = {
            **os.environ, "PYTHONWARNINGS": "ignore", "OS_AUTH_URL": f"{config.url('identity')}/v3", "OS_USERNAME": "admin",
            "OS_PASSWORD": config.PASSWORD, "OS_PROJECT_NAME": "admin", "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default", "OS_IDENTITY_API_VERSION": "3", "OS_REGION_NAME": config.REGION,
            "OS_COMPUTE_API_VERSION": COMPUTE_VERSION, **(environment or {})}

    def run(self, *words: str, seconds: float = 300) -> str:
        """What it printed; ClientFailed if it did not end well."""
        try:
            done = subprocess.run(self._host.inside(["openstack", *words]), env=self._environment, text=True,
                                  capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise LabError(f"openstack {' '.join(words)}: not done within {seconds:g} s") from None
        if done.returncode != 0:
            raise ClientFailed(words, done.returncode, done.stderr)
        return done.stdout

    def ask(self, *words: str, seconds: float = 300) -> Any:
        """For commands that show something: the document."""
        return json.loads(self.run(*words, "--format", "json", seconds=seconds))
