# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from osc_lib import exceptions

from fake_cloud import FakeCloud
from heca_osc.columns import Size
from heca_osc.server import SetServer, ShowServer
from heca_osc.sizes import MIB

SPECS = {"heca:ratio": "1:3", "heca:migration": "hybrid", "trait:CUSTOM_HECA": "required"}


def plain(shown: dict[str, Any]) -> dict[str, Any]:
    """As -f json has it."""
    return {key: value.machine_readable() if isinstance(value, Size) else value for key, value in shown.items()}


def test_a_server_is_shown_with_what_its_host_tells(commands: Any, cloud: FakeCloud) -> None:
    server = cloud.add_server("vm1", SPECS)
    cloud.diagnostics[server] = {
        "heca_state": "active", "heca_local_bytes": 500 * MIB, "heca_away_bytes": 1500 * MIB,
        "heca_limit_bytes": 512 * MIB, "heca_sponsors": "m1",
    }  # fmt: skip
    assert plain(commands.show(ShowServer, "vm1")) == {
        "id": server, "name": "vm1", "status": "ACTIVE", "host": "c1", "flavor": "f", "ratio": "1:3",
        "migration": "hybrid", "ram": 2048 * MIB, "flavor_local": 512 * MIB, "flavor_remote": 1536 * MIB,
        "wanted_local": None, "state": "active", "local_bytes": 500 * MIB, "away_bytes": 1500 * MIB,
        "limit_bytes": 512 * MIB, "sponsors": "m1", "note": "",
    }  # fmt: skip


def test_people_see_sizes_with_units(commands: Any, cloud: FakeCloud) -> None:
    cloud.diagnostics[cloud.add_server("vm1", SPECS)] = {"heca_away_bytes": 1536 * MIB}
    shown = commands.show(ShowServer, "vm1")
    assert shown["away_bytes"].human_readable() == "1.5GiB"
    assert shown["local_bytes"].human_readable() == "-"


def test_a_driver_that_tells_nothing_is_said_to(commands: Any, cloud: FakeCloud) -> None:
    cloud.add_server("vm1", SPECS)
    shown = plain(commands.show(ShowServer, "vm1"))
    assert (shown["state"], shown["local_bytes"], shown["away_bytes"], shown["limit_bytes"]) == (None,) * 4
    assert "tells none" in shown["note"]
    assert "hecactl status" in shown["note"]


def test_a_server_that_does_not_run_has_no_figures(commands: Any, cloud: FakeCloud) -> None:
    cloud.add_server("vm1", SPECS, status="SHUTOFF", power="shutdown")
    shown = plain(commands.show(ShowServer, "vm1"))
    assert "in power state shutdown" in shown["note"]
    assert "out of reach" not in shown["note"]
    assert shown["flavor_local"] == 512 * MIB


def test_a_server_that_hecad_has_stopped_is_told_where_to_look(commands: Any, cloud: FakeCloud) -> None:
    cloud.add_server("vm1", SPECS, power="paused")
    assert "remote memory is out of reach" in commands.show(ShowServer, "vm1")["note"]


def test_who_is_no_admin_sees_the_flavor_and_why_no_more(commands: Any, cloud: FakeCloud) -> None:
    cloud.add_server("vm1", SPECS)
    cloud.admin = False
    shown = plain(commands.show(ShowServer, "vm1"))
    assert "needs an admin" in shown["note"]
    assert (shown["host"], shown["ratio"]) == (None, "1:3")


def test_a_server_that_only_migrates_by_heca_has_no_split(commands: Any, cloud: FakeCloud) -> None:
    cloud.add_server("vm1", {"heca:migration": "post-copy"})
    shown = plain(commands.show(ShowServer, "vm1"))
    assert (shown["ratio"], shown["flavor_local"], shown["migration"]) == (None, None, "post-copy")


@pytest.mark.parametrize(("command", "line"), [(ShowServer, "vm1"), (SetServer, "--local 512 vm1")])
def test_a_server_without_heca_is_told_the_way(commands: Any, cloud: FakeCloud, command: type, line: str) -> None:
    server = cloud.add_server("vm1", {"hw:cpu_policy": "shared"})
    with pytest.raises(exceptions.CommandError, match="does not ask for heca.*openstack server resize"):
        commands.show(command, line)
    assert cloud.servers[server]["metadata"] == {}


def test_a_cloud_that_hides_extra_specs_is_said_to(commands: Any, cloud: FakeCloud) -> None:
    server = cloud.add_server("vm1", SPECS)
    del cloud.servers[server]["flavor"]["extra_specs"]
    with pytest.raises(exceptions.CommandError, match="os-flavor-extra-specs:index"):
        commands.show(ShowServer, "vm1")


@pytest.mark.parametrize("name", ["vm1", "a+b", "web.1", "with-dash"])
def test_a_server_is_found_by_its_whole_name(commands: Any, cloud: FakeCloud, name: str) -> None:
    cloud.add_server(f"{name}x", SPECS)
    cloud.add_server(name.replace(".", "x"), SPECS) if "." in name else None
    server = cloud.add_server(name, SPECS)
    assert commands.show(ShowServer, name)["id"] == server
    assert commands.show(ShowServer, server)["id"] == server


def test_two_of_one_name_are_told_apart_by_id(commands: Any, cloud: FakeCloud) -> None:
    first, second = cloud.add_server("vm1", SPECS), cloud.add_server("vm1", SPECS)
    with pytest.raises(exceptions.CommandError, match=f"2 servers.*{first}, {second}"):
        commands.show(ShowServer, "vm1")


def test_a_server_that_is_none_is_said(commands: Any) -> None:
    with pytest.raises(exceptions.CommandError, match="no server 'vm9' in this project"):
        commands.show(ShowServer, "vm9")


@pytest.mark.parametrize(("size", "written"), [("512MiB", "512MiB"), ("256", "256MiB"), ("0.25GiB", "256MiB")])
def test_the_local_part_is_written_where_the_driver_looks(
    commands: Any, cloud: FakeCloud, size: str, written: str
) -> None:
    server = cloud.add_server("vm1", SPECS, metadata={"other": "stays"})
    commands.run(SetServer, f"--local {size} vm1")
    assert cloud.servers[server]["metadata"] == {"other": "stays", "heca:local": written}
    assert commands.show(ShowServer, "vm1")["wanted_local"] == written


@pytest.mark.parametrize("size", ["513", "1GiB", "2GiB", "3GiB"])
def test_more_than_placement_has_counted_is_refused(commands: Any, cloud: FakeCloud, size: str) -> None:
    server = cloud.add_server("vm1", SPECS)
    with pytest.raises(exceptions.CommandError, match="lets at most 512MiB stay"):
        commands.run(SetServer, f"--local {size} vm1")
    assert cloud.servers[server]["metadata"] == {}


def test_without_a_ratio_there_is_nothing_to_set(commands: Any, cloud: FakeCloud) -> None:
    server = cloud.add_server("vm1", {"heca:migration": "hybrid"})
    with pytest.raises(exceptions.CommandError, match="has no heca:ratio"):
        commands.run(SetServer, "--local 512 vm1")
    assert cloud.servers[server]["metadata"] == {}
