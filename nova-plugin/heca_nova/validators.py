# SPDX-License-Identifier: Apache-2.0
"""What the API takes as heca:... in a flavor (entry point nova.api.extra_spec_validators), from microversion 2.86 on.

Nova refuses a value that is none and, because the namespace is known then, a key that is none. What keys say together
(ratio against resources:MEMORY_MB) no validator sees: the driver refuses that when a server is built.
"""

from __future__ import annotations

from typing import Any

from nova.api.validation.extra_specs import base

from heca_nova import sizes, wish


def register() -> list[Any]:
    def spec(name: str, description: str, value: dict[str, Any]) -> Any:
        return base.ExtraSpecValidator(name=f"heca:{name}", description=description, value=value)

    return [
        spec("ratio", "Local and remote parts of a server's memory: 1:3 leaves a quarter on its compute host and puts "
                      "the rest on memory servers. `openstack heca flavor create` writes the resources that go with it.",
             {"type": str, "description": "LOCAL:REMOTE, whole numbers from 1 to 1000",
              "pattern": sizes.RATIO_PATTERN}),
        spec("migration", "How memory goes to another host in a live migration: after the server (post-copy), ahead of "
                          "it (pre-copy), or first so and then so (hybrid).",
             {"type": str, "description": "A mode", "enum": list(wish.MIGRATIONS)}),
        spec("replicas", "How many memory servers keep each page.",
             {"type": int, "description": "This version keeps one", "min": 1, "max": wish.MAX_REPLICAS}),
        spec("transport", "How pages travel to memory servers.",
             {"type": str, "description": "A transport of this version", "enum": list(wish.TRANSPORTS)}),
    ]
