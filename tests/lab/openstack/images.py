# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's guest that verifies its own memory, as images of a cloud: a kernel, its initrd, and a disk that it does not use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.guest_image import guest_image
from lab.openstack.api import Api
from lab.qemu import KERNEL_LINE

DISK_BYTES = 1 << 20  # Nova wants a disk


class Images:
    """Kernel and initrd are uploaded by the constructor."""

    def __init__(self, api: Api) -> None:
        self._api = api
        image = guest_image()
        self._kernel = self._upload("kernel", image.kernel.read_bytes())
        self._initrd = self._upload("initrd", image.initrd.read_bytes())

    def _upload(self, name: str, content: bytes, properties: Mapping[str, str] | None = None) -> str:
        made = self._api.call("image", "POST", "/v2/images", {
            "name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public",
            **(properties or {})})
        self._api.call("image", "PUT", f"/v2/images/{made['id']}/file", raw=content)
        return str(made["id"])

    def add(self, name: str, workload: Mapping[str, Any], **properties: str) -> str:
        """An image whose servers run memverify with these options; its identity."""
        line = " ".join([KERNEL_LINE, *(f"mv.{key}={value}" for key, value in workload.items())])
        return self._upload(name, bytes(DISK_BYTES), {
            "os_shutdown_timeout": "2",  # the guest knows no power button: Nova would wait a minute for it
            "kernel_id": self._kernel, "ramdisk_id": self._initrd, "os_command_line": line, **properties})


def console_file(instance: str) -> Path:
    """Below a compute's state."""
    return Path("instances") / instance / "console.log"
