# SPDX-License-Identifier: Apache-2.0
"""Live migrations that Nova has prepared for at this host: one attempt of a server at a time.

Nova calls a migration failed, and its server ACTIVE, before the destination has cleared up, which it asks for by a message
that nobody waits for. With an ordinary server that takes milliseconds. With one of heca's it may take seconds, as the QEMU that
waits there may have to be ended first; an attempt that begins meanwhile would fail at the directory that is still there
(DestinationDiskExists), or be ended itself by the clearing of the one before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from nova import exception
from oslo_log import log as logging

from heca_nova import compat

LOG = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.2

Result = TypeVar("Result")


class PreparedMigrations:
    """Thread-safe. `options` is CONF.heca."""

    def __init__(self, options: Any) -> None:
        self._options = options
        self._open: set[str] = set()  # uuids of servers that were prepared for, and have neither come nor been cleared up

    def prepare(self, instance: Any, migrate_data: Any, prepare: Callable[[], Result]) -> Result:
        """What `prepare` returns or raises, once the attempt before this one has been cleared up. After end_timeout it is
        called all the same: nobody may be left who would do that."""
        deadline = time.monotonic() + self._options.end_timeout
        while instance.uuid in self._open:
            if time.monotonic() >= deadline:
                LOG.warning("An attempt to move it here before this one has not been cleared up in %g s",
                            self._options.end_timeout, instance=instance)
                break
            time.sleep(_LOOK_AGAIN_S)
        if is_cleared_up(migrate_data):
            self._open.add(instance.uuid)
        while True:
            try:
                return prepare()
            except exception.DestinationDiskExists:  # of an attempt that this nova-compute, newly started, knows nothing of
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_LOOK_AGAIN_S)

    @contextmanager
    def ending(self, instance: Any) -> Iterator[None]:
        """Around what Nova does at the end of an attempt: the server has come, or it is cleared up."""
        try:
            yield
        finally:
            self._open.discard(instance.uuid)


def is_cleared_up(migrate_data: Any) -> bool:
    """Whether Nova asks the destination to clear up after a failure: not where both hosts share the server's directory."""
    return compat.field(migrate_data, "is_shared_instance_path") is False
