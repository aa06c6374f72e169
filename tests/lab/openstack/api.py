# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cloud's HTTP interfaces, asked by the lab itself: to set the cloud up, and to wait for something without a process of
`openstack` each time, which costs two seconds of CPU. What the tests do to the cloud they do by the client."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.deadline import LabError
from lab.openstack.network import Connection

COMPUTE_VERSION = "2.92"    # the newest that the client of Debian 12 speaks
PLACEMENT_VERSION = "1.39"  # Placement 8's newest


class Refused(LabError):
    """`status` is HTTP's."""

    def __init__(self, what: str, status: int, text: str) -> None:
        super().__init__(f"{what}: {status}: {text[:2000]}")
        self.status, self.text = status, text


@dataclass(frozen=True)
class Endpoint:
    port: int
    prefix: str = ""


class Api:
    """One project's administrator. Not thread-safe."""

    def __init__(self, network: Path, address: str, user: str, password: str, project: str,
                 endpoints: Mapping[str, Endpoint]) -> None:
        self._network, self._address, self._endpoints = network, address, endpoints
        self._login = (user, password, project)
        self._token = ""

    def _exchange(self, service: str, method: str, path: str, body: bytes | None,
                  headers: Mapping[str, str]) -> tuple[int, http.client.HTTPMessage, str]:
        endpoint = self._endpoints[service]
        connection = Connection(self._network, self._address, endpoint.port, timeout=120)
        try:
            connection.request(method, endpoint.prefix + path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def answers(self, service: str) -> bool:
        """Whether the service speaks HTTP, with or without an error."""
        try:
            return self._exchange(service, "GET", "/", None, {})[0] < 500
        except (OSError, http.client.HTTPException):
            return False

    def authenticate(self) -> None:
        user, password, project = self._login
        domain = {"name": "Default"}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": {
                    "name": user, "password": password, "domain": domain}}},
                "scope": {"project": {"name": project, "domain": domain}}}}
        status, headers, text = self._exchange("identity", "POST", "/auth/tokens", json.dumps(body).encode(),
                                               {"Content-Type": "application/json"})
        if status != 201:
            raise Refused("POST /auth/tokens", status, text)
        self._token = headers["X-Subject-Token"]

    def call(self, service: str, method: str, path: str, body: Any = None, raw: bytes | None = None) -> Any:
        """The answer's document, None if it has none; Refused for what is no success."""
        if not self._token:
            self.authenticate()
        headers = {"X-Auth-Token": self._token, "Accept": "application/json",
                   "OpenStack-API-Version": f"{service} " + (PLACEMENT_VERSION if service == "placement"
                                                            else COMPUTE_VERSION),
                   "Content-Type": "application/octet-stream" if raw is not None else "application/json"}
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        status, _, text = self._exchange(service, method, path, data, headers)
        if not 200 <= status < 300:
            raise Refused(f"{method} {service} {path}", status, text)
        return json.loads(text) if text else None

    def get(self, service: str, path: str) -> Any:
        return self.call(service, "GET", path)
