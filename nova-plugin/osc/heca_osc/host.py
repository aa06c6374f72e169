# SPDX-License-Identifier: Apache-2.0
"""openstack heca host list, openstack heca host show: memory as placement counts it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from osc_lib import exceptions
from osc_lib.cli import format_columns
from osc_lib.command import command

from heca_osc.cloud import Cloud, Json, cloud_of
from heca_osc.specs import LOCAL_CLASS, REMOTE_CLASS, TRAIT


@dataclass(frozen=True)
class Stock:
    """One resource class of one host, in MiB."""

    total: int
    reserved: int
    capacity: int  # what the scheduler may give away: without the reserved part, times the allocation ratio
    used: int

    @property
    def free(self) -> int:
        """Below zero on a host that was given less than its servers have."""
        return self.capacity - self.used


def stock(inventory: Json | None, used: int) -> Stock:
    """A host without an inventory of that class has none of it."""
    if inventory is None:
        return Stock(0, 0, 0, used)
    total, reserved = int(inventory["total"]), int(inventory["reserved"])
    return Stock(total, reserved, int((total - reserved) * float(inventory["allocation_ratio"])), used)


@dataclass(frozen=True)
class Host:
    """A compute host that runs heca."""

    provider_id: str
    name: str
    local: Stock
    remote: Stock


def look_at(cloud: Cloud, provider: Json) -> Host:
    """Asks placement for what the provider has and what of it is used."""
    inventories, usages = cloud.inventories(provider["uuid"]), cloud.usages(provider["uuid"])

    def of(name: str) -> Stock:
        return stock(inventories.get(name), int(usages.get(name, 0)))

    return Host(provider["uuid"], provider["name"], of(LOCAL_CLASS), of(REMOTE_CLASS))


class ListHost(command.Lister):
    """List the hosts that run heca, with their own memory and the remote memory that they can use.

    MiB, as placement counts. Free is what the scheduler can still give to servers.
    """

    COLUMNS = (
        "Host", "Local MB", "Local Used MB", "Local Free MB", "Remote MB", "Remote Used MB", "Remote Free MB"
    )  # fmt: skip
    LONG = ("Local Reserved MB", "Remote Reserved MB", "Resource Provider")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--long", action="store_true", help="List additional fields")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        cloud = cloud_of(self.app)
        rows = []
        for provider in sorted(cloud.providers(), key=lambda found: str(found["name"])):
            host = look_at(cloud, provider)
            local, remote = host.local, host.remote
            row: tuple[Any, ...] = (
                host.name, local.total, local.used, local.free, remote.total, remote.used, remote.free
            )  # fmt: skip
            rows.append(row + ((local.reserved, remote.reserved, host.provider_id) if args.long else ()))
        return self.COLUMNS + (self.LONG if args.long else ()), rows


class ShowHost(command.ShowOne):
    """Show the memory of one host that runs heca, and who has it.

    MiB, as placement counts. Consumers are servers, and migrations that still hold what their server had there.
    """

    COLUMNS = (
        "host", "resource_provider", "traits",
        "local_mb", "local_reserved_mb", "local_used_mb", "local_free_mb",
        "remote_mb", "remote_reserved_mb", "remote_used_mb", "remote_free_mb", "consumers",
    )  # fmt: skip

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("host", metavar="<host>", help="Name of the hypervisor, or ID of its resource provider")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        cloud = cloud_of(self.app)
        provider = cloud.provider(args.host)
        if provider is None:
            raise exceptions.CommandError(
                f"no host '{args.host}' in placement: openstack heca host list, or openstack hypervisor list"
            )
        traits = cloud.traits(provider["uuid"])
        if TRAIT not in traits:
            raise exceptions.CommandError(
                f"host '{provider['name']}' has not the trait {TRAIT}: its nova-compute does not run "
                "compute_driver = heca.HecaLibvirtDriver, or reaches no hecad (its log says which)"
            )
        host = look_at(cloud, provider)
        consumers = [
            {"consumer": consumer, "local_mb": resources.get(LOCAL_CLASS, 0), "remote_mb": resources[REMOTE_CLASS]}
            for consumer, resources in sorted(cloud.allocations(provider["uuid"]).items())
            if REMOTE_CLASS in resources
        ]
        ours = sorted(trait for trait in traits if trait.startswith(TRAIT))
        return self.COLUMNS, (
            host.name, host.provider_id, format_columns.ListColumn(ours),
            *_figures(host.local), *_figures(host.remote), format_columns.ListDictColumn(consumers),
        )  # fmt: skip


def _figures(of: Stock) -> tuple[int, int, int, int]:
    return of.total, of.reserved, of.used, of.free
