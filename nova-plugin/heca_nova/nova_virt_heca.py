# SPDX-License-Identifier: Apache-2.0
"""What Nova finds as `nova.virt.heca` (alias.py): `compute_driver = heca.HecaLibvirtDriver`."""

from heca_nova.driver import HecaLibvirtDriver

__all__ = ["HecaLibvirtDriver"]
