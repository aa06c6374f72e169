# SPDX-License-Identifier: Apache-2.0
"""openstack heca server show, openstack heca server set"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from osc_lib import exceptions
from osc_lib.command import command

from heca_osc import specs
from heca_osc.cloud import Cloud, Json, Refused, cloud_of
from heca_osc.columns import Size
from heca_osc.sizes import MIB, format_size, size_argument

# The server's metadata by which the driver is told; it takes sizes as hecactl does.
LOCAL_KEY = "heca:local"
_HOST = "OS-EXT-SRV-ATTR:host"


def flavor_specs(server: Json) -> dict[str, str]:
    """Extra specs of the flavor as it was when the server was made. CommandError where Nova does not show them."""
    found = server["flavor"].get("extra_specs")
    if found is None:
        raise exceptions.CommandError(
            "Nova does not show the extra specs of this server's flavor: its policy "
            "os_compute_api:os-flavor-extra-specs:index has to allow it"
        )
    return dict(found)


def heca_specs(server: Json) -> dict[str, str]:
    """The same, of a server that is heca's; CommandError if it is not."""
    found = flavor_specs(server)
    if not specs.asks_for_heca(found):
        raise exceptions.CommandError(
            f"all memory of server '{server['name']}' is its host's: its flavor "
            f"'{server['flavor'].get('original_name', '')}' does not ask for heca. Resize it to one that does: "
            "openstack heca flavor create, openstack server resize"
        )
    return found


class ShowServer(command.ShowOne):
    """Show where the memory of a server is: what its flavor wants, and what its host tells.

    The host's figures come by the server's diagnostics: for admins, and while the server runs.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("server", metavar="<server>", help="Server (name or ID)")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        cloud = cloud_of(self.app)
        server = cloud.server(args.server)
        wanted = heca_specs(server)
        ram_mib = int(server["flavor"]["ram"])
        parts = specs.wanted_split(wanted, ram_mib)
        figures, note = _told(cloud, server)
        shown: dict[str, Any] = {
            "id": server["id"],
            "name": server["name"],
            "status": server["status"],
            "host": server.get(_HOST),
            "flavor": server["flavor"].get("original_name"),
            "ratio": wanted.get(specs.RATIO),
            "migration": wanted.get(specs.MIGRATION),
            "ram": Size(ram_mib * MIB),
            "flavor_local": Size(parts.local_mib * MIB if parts else None),
            "flavor_remote": Size(parts.remote_mib * MIB if parts else None),
            "wanted_local": server.get("metadata", {}).get(LOCAL_KEY),
            **figures,
            "note": note,
        }
        return tuple(shown), tuple(shown.values())


def _told(cloud: Cloud, server: Json) -> tuple[dict[str, Any], str]:
    """The driver's figures, and why they are not known where they are not."""
    figures: dict[str, Any] = {
        "state": None, "local_bytes": Size(None), "away_bytes": Size(None), "limit_bytes": Size(None)
    }  # fmt: skip
    try:
        diagnostics = cloud.diagnostics(server["id"])
    except Refused as error:
        return figures, f"no figures: {error}{_stopped(server) if error.status == 409 else ''}"
    told = {key.removeprefix("heca_"): value for key, value in diagnostics.items() if key.startswith("heca_")}
    if not told:
        return figures, (
            "no figures: the host's driver tells none of this server; compute_driver there has to be "
            "heca.HecaLibvirtDriver, and hecad has to answer (nova-compute's log, hecactl status)"
        )
    return figures | _columns(told), ""


def _stopped(server: Json) -> str:
    """What it may mean that a server is active, and Nova says that it does not run."""
    if server["status"] != "ACTIVE":
        return ""
    return (
        "; hecad stops a server whose remote memory is out of reach, and lets it go on when that is back: "
        "`hecactl events` on its host tells"
    )


def _columns(told: Mapping[str, Any]) -> dict[str, Any]:
    return {key: Size(value) if key.endswith("_bytes") else value for key, value in told.items()}


class SetServer(command.Command):
    """Change how much of a running server's memory stays at its host.

    At most what its flavor lets stay there. Takes effect while the server runs, at the next report of its host (a
    minute, unless update_resources_interval says otherwise), and stays when it is restarted or moved; watch
    `openstack heca server show`. `openstack server unset --property heca:local SERVER` goes back
    to what the flavor says.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--local", metavar="<size>", type=size_argument, required=True,
            help="Memory that stays at the server's host: 512MiB, or 512 (MiB)",
        )  # fmt: skip
        parser.add_argument("server", metavar="<server>", help="Server (name or ID)")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        cloud = cloud_of(self.app)
        server = cloud.server(args.server)
        _check(server, args.local, specs.wanted_split(heca_specs(server), int(server["flavor"]["ram"])))
        cloud.set_metadata(server["id"], {LOCAL_KEY: f"{args.local}MiB"})


def _check(server: Json, local_mib: int, parts: specs.Split | None) -> None:
    """CommandError if the driver would not do it: it answers nobody, so it is said here."""
    if parts is None:
        raise exceptions.CommandError(
            f"the flavor of server '{server['name']}' has no {specs.RATIO} that can be kept: all of its memory stays "
            "at its host, only its migrations are heca's. Resize it to a flavor with a ratio"
        )
    if local_mib > parts.local_mib:
        raise exceptions.CommandError(
            f"--local {format_size(local_mib * MIB)}: the flavor of server '{server['name']}' lets at most "
            f"{format_size(parts.local_mib * MIB)} stay at its host, as placement has counted. Resize it to a flavor "
            "with a larger local part"
        )
