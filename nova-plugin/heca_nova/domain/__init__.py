# SPDX-License-Identifier: Apache-2.0
"""Domain XML as a heca server needs it: text in, text out, by the rules of core/domain (hecactl xml). The unit tests
hold both against each other. Nothing here knows Nova or libvirt."""

from heca_nova.domain.ready import (
    HECA_NAMESPACE,
    make_ready,
    mentions_heca,
    refuse_device,
    repair_incoming,
)

__all__ = ["HECA_NAMESPACE", "make_ready", "mentions_heca", "refuse_device", "repair_incoming"]
