# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hecatonchire from Python: ask the hecad of this host, follow what it does, or run one inside a test.

    with heca.Client() as client:
        for progress in client.attach(domain="vm1", ratio="1:3"):
            print(progress.phase, progress.done, progress.total)
        print(client.region("vm1").away_bytes)
"""

from __future__ import annotations

import atexit

from heca import _core
from heca.client import Client
from heca.errors import (
    Aborted,
    AlreadyExists,
    Busy,
    DataLoss,
    DeadlineExceeded,
    Error,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
    Unsupported,
)
from heca.events import EventStream
from heca.node import Node
from heca.operation import Operation
from heca.values import (
    BlockInfo,
    Blocktime,
    ConnectionInfo,
    DoctorCheck,
    Event,
    LatencyStats,
    LeaseInfo,
    Mapping,
    MigrationInfo,
    MigrationSummary,
    NodeInfo,
    PageStates,
    PeerInfo,
    Progress,
    RegionInfo,
    RegionStats,
    StoreInfo,
)

__version__ = _core.VERSION
DEFAULT_SOCKET = _core.DEFAULT_SOCKET

__all__ = [
    "DEFAULT_SOCKET",
    "Aborted",
    "AlreadyExists",
    "BlockInfo",
    "Blocktime",
    "Busy",
    "Client",
    "ConnectionInfo",
    "DataLoss",
    "DeadlineExceeded",
    "DoctorCheck",
    "Error",
    "Event",
    "EventStream",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "LatencyStats",
    "LeaseInfo",
    "Mapping",
    "MigrationInfo",
    "MigrationSummary",
    "Node",
    "NodeInfo",
    "NotFound",
    "Operation",
    "PageStates",
    "PeerInfo",
    "PermissionDenied",
    "Progress",
    "RegionInfo",
    "RegionStats",
    "ResourceExhausted",
    "StoreInfo",
    "Unavailable",
    "Unsupported",
    "__version__",
]

# Before the nodes of this process are closed (atexit runs the last one first): no wait keeps them.
atexit.register(_core.shutdown)
