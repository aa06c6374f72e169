# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service that is a WSGI program, as Debian runs it: under uWSGI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.host import Host
from lab.openstack.process import Daemon

# The clients keep connections open, and uWSGI gives each a worker of its own until it is closed: so it closes them.
OPTIONS = ("--plugin", "python3", "--master", "--need-app", "--lazy-apps", "--enable-threads", "--die-on-term",
           "--no-orphans", "--buffer-size", "65535", "--add-header", "Connection: close", "--disable-logging",
           "--thunder-lock")


def serve(name: str, host: Host, program: str, port: int, log: Path, environment: Mapping[str, str],
          processes: int = 1) -> Daemon:
    """The program is what Debian installs below /usr/bin. It answers at the host's address."""
    return Daemon(name, host, ["uwsgi", *OPTIONS, "--http-socket", f"{host.far}:{port}", "--wsgi-file",
                               f"/usr/bin/{program}", "--processes", str(processes), "--procname", name], log,
                  environment)
