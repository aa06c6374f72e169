# SPDX-License-Identifier: Apache-2.0
"""Scheduler weigher: servers with remote memory go where much of it is free and near.

    [filter_scheduler]
    weight_classes = nova.scheduler.weights.all_weighers,heca_nova.weigher.RemoteMemoryWeigher

What it knows of a host the driver there has reported as statistics of its compute node (ops/inventory.py), at most one
period of update_resources_interval old. Placement has decided already whether there is enough.
"""

from __future__ import annotations

from typing import Any

import nova.conf
from nova.scheduler import utils, weights

from heca_nova import conf, wish

CONF = nova.conf.CONF
conf.register(CONF)

# Statistic of a compute node: free remote MiB, each memory server's discounted by how far it is (ops/inventory.py).
NEAR_STATISTIC = "heca_remote_near_mb"


class RemoteMemoryWeigher(weights.BaseHostWeigher):
    """Says nothing of servers without heca:... specs: all hosts weigh the same for them."""

    minval = 0

    def weight_multiplier(self, host_state: Any) -> float:
        return float(utils.get_weight_multiplier(host_state, "heca_weight_multiplier", CONF.heca.weight_multiplier))

    def _weigh_object(self, host_state: Any, request_spec: Any) -> float:
        flavor = getattr(request_spec, "flavor", None)
        if flavor is None or not wish.is_heca(flavor.extra_specs or {}):
            return 0.0
        try:
            return float((host_state.stats or {}).get(NEAR_STATISTIC, 0))
        except (TypeError, ValueError):
            return 0.0
