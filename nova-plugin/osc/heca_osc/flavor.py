# SPDX-License-Identifier: Apache-2.0
"""openstack heca flavor create"""

from __future__ import annotations

import argparse
from typing import Any

from osc_lib import exceptions
from osc_lib.cli import format_columns, parseractions
from osc_lib.command import command

from heca_osc import specs
from heca_osc.cloud import Cloud, cloud_of
from heca_osc.sizes import ratio_argument, size_argument

COLUMNS = ("id", "name", "ram", "local_ram", "remote_ram", "vcpus", "disk", "is_public", "properties")


class CreateFlavor(command.ShowOne):
    """Create a flavor whose servers keep a part of their memory beyond their host.

    Writes what the scheduler counts (local and remote memory, the trait of heca's hosts) and what the driver acts by
    (ratio, way of migration), so that both say the same. RAM is what the guest sees; sizes are like 2GiB, or MiB
    without a unit; tables show MiB.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="<flavor-name>", help="New flavor name")
        parser.add_argument("--id", metavar="<id>", default="auto", help="Flavor ID; auto makes a UUID (default: auto)")
        parser.add_argument(
            "--ram", metavar="<size>", type=size_argument, required=True, help="Memory of a server: 8GiB, or 8192 (MiB)"
        )
        parser.add_argument(
            "--ratio", metavar="<local:remote>", type=ratio_argument, required=True,
            help="Which part stays at the server's host: 1:3 keeps a quarter there (rounded up to whole MiB)",
        )  # fmt: skip
        parser.add_argument("--vcpus", metavar="<vcpus>", type=int, default=1, help="Number of vCPUs (default: 1)")
        parser.add_argument("--disk", metavar="<size-gb>", type=int, default=0, help="Disk in GB (default: 0)")
        parser.add_argument(
            "--ephemeral", metavar="<size-gb>", type=int, default=0, help="Ephemeral disk in GB (default: 0)"
        )
        parser.add_argument("--swap", metavar="<size-mb>", type=int, default=0, help="Swap disk in MiB (default: 0)")
        parser.add_argument(
            "--migration", choices=specs.MIGRATION_MODES, default="post-copy",
            help="How a live migration moves memory: behind the server, ahead of it, or both (default: post-copy)",
        )  # fmt: skip
        parser.add_argument(
            "--replicas", metavar="<copies>", type=int, choices=range(1, specs.MAX_REPLICAS + 1),
            help="Copies of each remote page; there is one in this version of heca (default: as the driver is set)",
        )  # fmt: skip
        parser.add_argument(
            "--transport", choices=specs.TRANSPORTS, help="How pages travel (default: as the driver is set)"
        )
        public = parser.add_mutually_exclusive_group()
        public.add_argument(
            "--public", dest="public", action="store_true", default=True, help="All projects may use it (default)"
        )
        public.add_argument(
            "--private", dest="public", action="store_false", help="Only projects that are given access may use it"
        )
        parser.add_argument(
            "--project", metavar="<project>", help="Give access to this project (name or ID); with --private only"
        )
        parser.add_argument("--description", metavar="<text>", help="Description")
        parser.add_argument(
            "--property", metavar="<key=value>", dest="properties", action=parseractions.KeyValueAction, default={},
            help="Another extra spec of this flavor (repeat for more)",
        )  # fmt: skip
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        cloud = cloud_of(self.app)
        if args.project and args.public:
            raise exceptions.CommandError("--project: a public flavor is everybody's; give --private too")
        properties = dict(args.properties or {})
        if reason := specs.refusal(properties):
            raise exceptions.CommandError(reason)
        try:
            parts = specs.split(args.ram, args.ratio)
        except ValueError as error:
            raise exceptions.CommandError(str(error)) from None
        wanted = properties | specs.extra_specs(parts, args.ratio, args.migration, args.replicas, args.transport)
        project = cloud.project_id(args.project) if args.project else None

        flavor = cloud.create_flavor(_description(args))
        _complete(cloud, flavor, wanted, project)
        return COLUMNS, (
            flavor["id"], flavor["name"], args.ram, parts.local_mib, parts.remote_mib, flavor["vcpus"], flavor["disk"],
            args.public, format_columns.DictColumn(wanted),
        )  # fmt: skip


def _description(args: argparse.Namespace) -> dict[str, Any]:
    """The body of Nova's request."""
    # As in `openstack flavor create`. To Nova the word would be an ID like any other.
    flavor_id = None if args.id == "auto" else args.id
    flavor: dict[str, Any] = {
        "name": args.name, "id": flavor_id, "ram": args.ram, "vcpus": args.vcpus, "disk": args.disk, "swap": args.swap,
        "OS-FLV-EXT-DATA:ephemeral": args.ephemeral, "os-flavor-access:is_public": args.public,
    }  # fmt: skip
    if args.description:
        flavor["description"] = args.description
    return flavor


def _complete(cloud: Cloud, flavor: dict[str, Any], wanted: dict[str, str], project: str | None) -> None:
    """Makes it heca's, or takes it away again: without its specs it would give servers that take all of a host."""
    try:
        cloud.set_extra_specs(flavor["id"], wanted)
        if project:
            cloud.give_flavor_to(flavor["id"], project)
    except BaseException as error:  # an interrupt leaves no half flavor either
        try:
            cloud.delete_flavor(flavor["id"])
        except exceptions.CommandError as second:
            raise exceptions.CommandError(
                f"{error}; and the flavor '{flavor['name']}', which is not complete, could not be deleted: {second}: "
                f"openstack flavor delete {flavor['id']}"
            ) from error
        if not isinstance(error, exceptions.CommandError):
            raise
        raise exceptions.CommandError(f"{error}; no flavor was created") from error
