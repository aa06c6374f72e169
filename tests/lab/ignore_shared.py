# SPDX-License-Identifier: LGPL-2.1-or-later
"""QEMU's migration capability x-ignore-shared: with it, RAM in a shared file does not travel in the stream.

libvirt neither sets nor sees it, and it stays until somebody clears it: left on, `virsh save` writes an image without
RAM and says that all went well.
"""

from __future__ import annotations

import json
from typing import Any

from lab.libvirt_host import LibvirtHost

NAME = "x-ignore-shared"


def _monitor(host: LibvirtHost, domain: str, command: str, arguments: dict[str, Any] | None = None) -> Any:
    request = {"execute": command, **({"arguments": arguments} if arguments else {})}
    return json.loads(host.virsh("qemu-monitor-command", domain, json.dumps(request)))["return"]


def ignore_shared(host: LibvirtHost, domain: str) -> bool:
    """Whether it is on in the domain's QEMU; asked through libvirt's monitor, so not during an incoming migration."""
    capabilities = _monitor(host, domain, "query-migrate-capabilities")
    return next(bool(entry["state"]) for entry in capabilities if entry["capability"] == NAME)


def set_ignore_shared(host: LibvirtHost, domain: str, on: bool) -> None:
    _monitor(host, domain, "migrate-set-capabilities", {"capabilities": [{"capability": NAME, "state": on}]})
