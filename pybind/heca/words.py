# SPDX-License-Identifier: LGPL-2.1-or-later
"""The words of the enumerations, for type checkers: a comparison with a word that is none is an error of mypy's. At run time
they are plain strings; "invalid" is what a newer hecad says and this package does not know."""

from __future__ import annotations

from typing import Literal

OnLoss = Literal["wait", "poison"]
TransportChoice = Literal["auto", "tcp", "rdma"]
LostPages = Literal["ask-again", "poison", "zero"]
RegionState = Literal["attaching", "active", "detaching", "resuming", "stalled", "ending", "leaving", "invalid"]
StoreState = Literal["good", "disconnected", "lost", "invalid"]
Verdict = Literal["ok", "warn", "fail", "invalid"]
PeerHealth = Literal["not-asked-yet", "alive", "unreachable", "restarted", "self", "invalid"]
Severity = Literal["info", "warning", "error", "invalid"]
LeaseState = Literal["active", "quarantined", "invalid"]
MigrationMode = Literal["post-copy", "hybrid", "pre-copy"]
FaultSource = Literal["sponsor", "write-back-buffer", "zero", "minor", "write-protect", "prefetched"]
ErrorScope = Literal["none", "page", "region", "replica", "connection", "node"]
EventKind = Literal[
    "started",
    "stopping",
    "attached",
    "attach-failed",
    "limit-changed",
    "detached",
    "region-ended",
    "recovered",
    "sponsor-disconnected",
    "sponsor-reconnected",
    "sponsor-lost",
    "pages-lost",
    "vm-stopped",
    "vm-resumed",
    "out-of-memory",
    "alarm",
    "lease-granted",
    "lease-freed",
    "lease-quarantined",
    "lease-revived",
    "peer-up",
    "peer-down",
    "peer-rebooted",
    "resuming",
    "resolved",
    "early-fault",
    "invalid",
]
