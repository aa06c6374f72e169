# SPDX-License-Identifier: Apache-2.0
"""Domain XML as a heca server needs it: text in, text out, by the rules of core/domain (hecactl xml). The unit tests
hold both against each other. Nothing here knows Nova or libvirt."""

from heca_nova.domain.ready import make_ready, mentions_heca, refuse_device, repair_incoming
from heca_nova.domain.tree import HECA_NAMESPACE

__all__ = ["HECA_NAMESPACE", "make_ready", "mentions_heca", "refuse_device", "repair_incoming"]
