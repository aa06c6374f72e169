# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stock QEMU guests that verify their own memory, hecads to serve them, and links that can be cut.

Everything that is started here is stopped by its pid, every wait has a deadline, and all traffic stays on loopback
and on network namespaces that the lab makes itself. One guest: qemu.py. A VM of a libvirtd: libvirt_host.py. Several
of those on one switch.py with a hecad each, and a guest that goes from one to the other: hosts.py, moving_guest.py;
what a migration cost: migration_clock.py, tick_watch.py. This build's own programs on Linux 6.1: machine.py.
"""

from lab.deadline import LabError, wait_until
from lab.hecad import CommandFailed, Hecad, hecactl
from lab.hugepages import HugePages
from lab.links import CuttableLink
from lab.qemu import Disk, Qemu
from lab.workload import NativeWorkload, Workload

__all__ = ["CommandFailed", "CuttableLink", "Disk", "Hecad", "HugePages", "LabError", "NativeWorkload", "Qemu",
           "Workload", "hecactl", "wait_until"]
