# SPDX-License-Identifier: Apache-2.0
"""openstack heca migration list"""

from __future__ import annotations

import argparse
from typing import Any

from osc_lib.command import command

from heca_osc import specs
from heca_osc.cloud import Cloud, Json, Refused, cloud_of
from heca_osc.columns import Percent, Size

# Nova's status of a live migration, and what heca does then.
PHASES = {
    "accepted": "waiting",
    "queued": "waiting",
    "preparing": "preparing",
    "running": "moving",
    # It runs at its destination already: heca's, with figures, and that of libvirt's own post-copy, without.
    "post-migrating": "memory follows",
    "running (post-copy)": "memory follows",
    "completed": "complete",
    "cancelled": "called off",
    "failed": "failed",
    "error": "failed",
}
OVER = ("completed", "cancelled", "failed", "error")


def moved_percent(progress: Json) -> int | None:
    """How much of the memory is there. Pages that are written meanwhile count as left again, so it can go down.

    None: Nova does not know yet. 100 only when nothing is left.
    """
    total, left = progress.get("memory_total_bytes"), progress.get("memory_remaining_bytes")
    if not total or left is None:
        return None
    moved = max(0, total - left)
    return int(100 * moved // total)


class ListMigration(command.Lister):
    """List live migrations of heca's servers, the latest first, with what has arrived of their memory.

    A migration is complete when all memory has arrived, which can be after the server runs at its destination. For
    admins. `openstack server migration force complete` lets the server change over now, memory follows;
    `openstack server migration abort` calls a migration off.
    """

    COLUMNS = ("ID", "Server", "Source", "Destination", "Status", "Phase", "Progress", "Memory", "Remaining")
    LONG = ("UUID", "Server Name", "Mode", "Created At", "Updated At")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--server", metavar="<server>", help="Of this server (name or ID)")
        parser.add_argument("--host", metavar="<host>", help="From or to this host")
        parser.add_argument("--status", metavar="<status>", help="In this status of Nova's: running, completed, error")
        parser.add_argument("--under-way", action="store_true", help="Only those that are not over")
        parser.add_argument("--all", action="store_true", help="Of servers without heca, or deleted, too")
        parser.add_argument(
            "--limit", metavar="<n>", type=int, default=100, help="Look at the latest so many only (default: 100)"
        )
        parser.add_argument("--long", action="store_true", help="List additional fields")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        cloud = cloud_of(self.app)
        filters: dict[str, str | int] = {"limit": args.limit}
        if args.server:
            filters["instance_uuid"] = cloud.server(args.server)["id"]
        if args.host:
            filters["host"] = args.host
        if args.status:
            filters["status"] = args.status
        servers = _Servers(cloud)
        rows = []
        for migration in cloud.migrations(filters):
            server = servers.get(migration["instance_uuid"])
            over = migration["status"] in OVER
            if (args.under_way and over) or not (args.all or servers.is_hecas(server)):
                continue
            progress = {} if over else servers.progress(migration)
            rows.append(_row(migration, server, progress, args.long))
        return self.COLUMNS + (self.LONG if args.long else ()), rows


class _Servers:
    """Each server is asked for once, however many migrations it had."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._known: dict[str, Json | None] = {}
        self._under_way: dict[str, list[Json]] = {}

    def get(self, server_id: str) -> Json | None:
        """None: deleted since."""
        if server_id not in self._known:
            self._known[server_id] = _or_gone(lambda: self._cloud.server_by_id(server_id))
        return self._known[server_id]

    @staticmethod
    def is_hecas(server: Json | None) -> bool:
        return server is not None and specs.asks_for_heca(server["flavor"].get("extra_specs") or {})

    def progress(self, migration: Json) -> Json:
        """Bytes moved so far; empty if the migration, or the server, ended since it was listed."""
        server_id = migration["instance_uuid"]
        if server_id not in self._under_way:
            self._under_way[server_id] = _or_gone(lambda: self._cloud.migrations_under_way(server_id)) or []
        return next((each for each in self._under_way[server_id] if each["id"] == migration["id"]), {})


def _or_gone(ask: Any) -> Any:
    """The answer, or None where there is no such thing (any more)."""
    try:
        return ask()
    except Refused as error:
        if error.status != 404:
            raise
        return None


def _row(migration: Json, server: Json | None, progress: Json, long: bool) -> tuple[Any, ...]:
    status = progress.get("status") or migration["status"]
    percent = 100 if status == "completed" else moved_percent(progress)
    row: tuple[Any, ...] = (
        migration["id"], migration["instance_uuid"], migration["source_compute"], migration["dest_compute"], status,
        PHASES.get(status, status), Percent(percent), Size(progress.get("memory_total_bytes")),
        Size(progress.get("memory_remaining_bytes")),
    )  # fmt: skip
    if not long:
        return row
    wanted = (server or {}).get("flavor", {}).get("extra_specs") or {}
    return (
        *row, migration["uuid"], (server or {}).get("name"), wanted.get(specs.MIGRATION), migration["created_at"],
        migration["updated_at"],
    )  # fmt: skip
