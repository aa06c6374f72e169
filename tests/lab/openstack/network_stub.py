# SPDX-License-Identifier: LGPL-2.1-or-later
"""In Neutron's place, for servers without a network: a list of any kind is empty, everything else is not found.

Nova asks for ports and extensions even of servers that have none. `network_stub.py ADDRESS PORT`.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class EmptyLists(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802  (the base class calls it so)
        words = urlsplit(self.path).path.strip("/").split("/")
        if words in ([""], ["v2.0"]):
            self._answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": []}]})
        elif len(words) == 2 and words[0] == "v2.0":
            self._answer(200, {words[1].removesuffix(".json").replace("-", "_"): []})
        else:
            self._answer(404, {"NeutronError": {"type": "NotFound", "message": f"{self.path}: not found", "detail": ""}})

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), EmptyLists).serve_forever()
