# SPDX-License-Identifier: LGPL-2.1-or-later
"""A libvirt domain as hecad wants it: RAM in a shared file, a QMP socket of hecad's own, memverify inside."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from lab.qemu import KERNEL_LINE, drain
from lab.workload import Workload

SHARED_FILE = "<source type='file'/><access mode='shared'/>"


def domain_xml(name: str, home: Path, mib: int, cpus: int, backing: str, workload: dict[str, Any],
               console: Path, metadata: str = "", disk: Path | None = None) -> str:
    """`home` has kernel and initrd, and is where QEMU makes its sockets; `backing` is what <memoryBacking> holds.

    `console` is appended to: the QEMU that a migration makes on another host goes on where this one ends. `disk` is read
    with direct I/O, and every host must find it there."""
    line = " ".join([KERNEL_LINE, *(f"mv.{key}={value}" for key, value in workload.items())])
    monitors = "\n".join(
        f"    <qemu:arg value='{word}'/>" for monitor in ("heca", "lab")
        for word in ("-chardev", f"socket,id={monitor},path={home}/{monitor}.qmp,server=on,wait=off",
                     "-mon", f"chardev={monitor},mode=control"))
    disks = "" if disk is None else f"""
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native'/>
      <source file='{disk}'><seclabel model='dac' relabel='no'/></source>
      <target dev='vda' bus='virtio'/>
      <readonly/>
    </disk>"""
    return f"""\
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{escape(name)}</name>
  <metadata>{metadata}</metadata>
  <memory unit='MiB'>{mib}</memory>
  <memoryBacking>{backing}</memoryBacking>
  <vcpu>{cpus}</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{home}/kernel</kernel>
    <initrd>{home}/initrd</initrd>
    <cmdline>{escape(line)}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>{disks}
    <serial type='unix'>
      <source mode='bind' path='{home}/serial'/>
      <log file='{console}' append='on'/>
    </serial>
  </devices>
  <qemu:commandline>
{monitors}
  </qemu:commandline>
</domain>
"""


class LibvirtDomain:
    """A running domain; LibvirtHost makes it. `home` has its sockets: `lab_qmp` is the lab's monitor, beside hecad's
    and libvirt's."""

    def __init__(self, name: str, home: Path, pid: int, virsh: Callable[..., str], console: Path) -> None:
        self.name, self.home, self.pid, self._virsh = name, home, pid, virsh
        self.lab_qmp = home / "lab.qmp"
        self._serial = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._serial.connect(str(home / "serial"))
        threading.Thread(target=drain, args=(self._serial,), daemon=True).start()
        self.guest = Workload(name, console, self, self.type)

    def poll(self) -> int | None:
        """None while its QEMU lives. libvirt reaps it, so nobody here knows how it ended."""
        return None if self.alive() else -1

    def alive(self) -> bool:
        try:
            return "qemu" in os.readlink(f"/proc/{self.pid}/exe")
        except OSError:
            return False

    def user(self) -> int:
        return os.stat(f"/proc/{self.pid}").st_uid

    def state(self) -> str:
        return self._virsh("domstate", self.name).strip()

    def virsh(self, verb: str, *arguments: str, seconds: float = 30) -> str:
        return self._virsh(verb, self.name, *arguments, seconds=seconds)

    def type(self, command: str) -> None:
        self._serial.sendall(f"{command}\n".encode())

    def close(self) -> None:
        self._serial.close()
