# SPDX-License-Identifier: LGPL-2.1-or-later
"""Live migrations over a link so slow that there is time to do something to them; and how they may end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.deadline import LabError, wait_until
from lab.openstack.governed import MIB, hecad_of, is_aggregated, is_counted, place_of
from lab.openstack.server import UNDER_WAY, Server

SLOW = 4  # MiB/s: less than the guest writes, so that its rounds do not end by themselves


def slow_migration(server: Server, destination: str, meanwhile: Callable[[], object],
                   to_the_end: bool = False) -> dict[str, Any]:
    """Nova's record of it once it is over. What goes out of its host is slow until `meanwhile` is done, or to the end."""
    place = place_of(server)

    def then() -> None:
        meanwhile()
        if not to_the_end:
            place.quick()

    place.slow(SLOW)
    try:
        return server.live_migration(destination, meanwhile=then)
    finally:
        place.quick()


def listed(server: Server) -> dict[str, Any]:
    """The live migration that goes on, as Nova lists it: what `openstack server migration show` tells."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = server.cloud.api.get("compute", f"/v2.1/servers/{server.id}/migrations")["migrations"]
        return bool(found)

    wait_until(there, 60, f"a migration of {server.title} is under way", poll=0.2)
    return found[0]


def _going_on(server: Server) -> list[dict[str, Any]]:
    return [one for one in hecad_of(server).ctl("migrations")["migrations"] if not one["over"]]


def _copies(server: Server) -> bool:
    return any(int(one["done_bytes"]) > MIB for one in _going_on(server))


def _follows(server: Server) -> bool:
    return any(one["phase"] == "post-copy" for one in _going_on(server))


def _before_it_is_over(server: Server, seen: Callable[[Server], bool], what: str, poll: float) -> None:
    """An error at once if the migration ends without."""
    def look() -> bool:
        if seen(server):
            return True
        last = server.migrations()[-1]
        if last["status"] not in UNDER_WAY:
            raise LabError(f"{what}: it was over before: {last}; hecad: {hecad_of(server).ctl('migrations')}")
        return False

    wait_until(look, 60, what, poll=poll)


def until_copied_ahead(server: Server) -> None:
    """Some of its memory, by hecad; it runs on here."""
    _before_it_is_over(server, _copies, "memory is copied ahead", poll=0.2)


def force(server: Server) -> None:
    """By the API: until the client has started, the rounds of a guest that a busy machine holds up may have ended."""
    until_copied_ahead(server)
    path = f"/v2.1/servers/{server.id}/migrations/{listed(server)['id']}/action"
    server.cloud.api.call("compute", "POST", path, {"force_complete": None})


def until_it_follows(server: Server) -> None:
    """Forced: it runs there, and most of its memory is still here."""
    force(server)
    _before_it_is_over(server, _follows, "memory follows", poll=0.1)


def arrived(server: Server, record: dict[str, Any], destination: str) -> None:
    """Nova, placement, and each byte of its memory."""
    assert record["status"] == "completed", record
    assert server.find().name == destination
    is_aggregated(server)
    is_counted(server, 120)


def stays(server: Server, record: dict[str, Any]) -> None:
    """The migration has failed, and the server is where it was: for Nova, for placement, and with all of its memory."""
    assert record["status"] in ("error", "failed", "cancelled"), record
    told = server.wait("ACTIVE", 120)
    assert told["OS-EXT-SRV-ATTR:host"] == record["source_compute"] == server.find().name
    is_aggregated(server)
    is_counted(server, 120)
