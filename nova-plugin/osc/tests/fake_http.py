# SPDX-License-Identifier: Apache-2.0
"""Two ways to a FakeCloud: a transport of `requests` in this process, and a server on loopback for other programs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests
from keystoneauth1 import adapter, noauth, session

from fake_cloud import FakeCloud


class Transport(requests.adapters.BaseAdapter):
    """No socket: what keystoneauth's session sends goes to the cloud's answer function."""

    def __init__(self, cloud: FakeCloud) -> None:
        super().__init__()
        self._cloud = cloud

    def send(self, request: Any, *_: Any, **__: Any) -> Any:
        body = json.loads(request.body) if request.body else {}
        answer = self._cloud.answer(request.method, request.url, dict(request.headers), body)
        response = requests.Response()
        response.status_code, response.url, response.request = answer.status, request.url, request
        response.headers["Content-Type"] = "application/json"
        response._content = b"" if answer.body is None else json.dumps(answer.body).encode()
        return response

    def close(self) -> None:
        pass


def adapters(cloud: FakeCloud) -> Callable[[str], Any]:
    """keystoneauth's own adapters, as the client's: a real session over that transport."""
    carrier = requests.Session()
    carrier.mount("http://", Transport(cloud))

    def of(service: str) -> Any:
        path = {"compute": "compute/v2.1", "identity": "identity/v3"}.get(service, service)
        auth = noauth.NoAuth(endpoint=f"http://cloud/{path}")
        return adapter.Adapter(session.Session(auth=auth, session=carrier), service_type=service)

    return of


@contextmanager
def served(cloud: FakeCloud) -> Iterator[str]:
    """The cloud on a port of loopback; its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            url = f"http://{self.headers['Host']}{self.path}"
            answer = cloud.answer(self.command, url, dict(self.headers.items()), body)
            content = b"" if answer.body is None else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if self.path.endswith("/auth/tokens"):
                self.send_header("X-Subject-Token", "token")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815  http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
