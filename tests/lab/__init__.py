# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stock QEMU guests that verify their own memory, hecads to serve them, and links that can be cut.

Everything that is started here is stopped by its pid, every wait has a deadline, and all traffic stays on loopback
and on network namespaces that the lab makes itself.
"""

from lab.deadline import LabError, wait_until
from lab.hecad import CommandFailed, Hecad, hecactl
from lab.hugepages import HugePages
from lab.links import CuttableLink
from lab.qemu import Disk, Qemu
from lab.workload import NativeWorkload, Workload

__all__ = ["CommandFailed", "CuttableLink", "Disk", "Hecad", "HugePages", "LabError", "NativeWorkload", "Qemu",
           "Workload", "hecactl", "wait_until"]
