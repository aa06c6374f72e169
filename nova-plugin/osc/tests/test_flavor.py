# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from osc_lib import exceptions

from fake_cloud import PROJECT, FakeCloud
from heca_osc.flavor import CreateFlavor


def test_a_flavor_tells_scheduler_and_driver_the_same(commands: Any, cloud: FakeCloud) -> None:
    shown = commands.show(CreateFlavor, "h1 --ram 2GiB --ratio 1:3 --vcpus 2 --disk 10")
    flavor = cloud.flavors[shown["id"]]
    assert (flavor["ram"], flavor["vcpus"], flavor["disk"]) == (2048, 2, 10)
    assert flavor["os-flavor-access:is_public"] is True
    assert "description" not in flavor
    assert cloud.specs[shown["id"]] == {
        "heca:ratio": "1:3", "heca:migration": "post-copy", "resources:MEMORY_MB": "512",
        "resources:CUSTOM_HECA_REMOTE_MB": "1536", "trait:CUSTOM_HECA": "required",
    }  # fmt: skip
    assert (shown["name"], shown["ram"], shown["local_ram"], shown["remote_ram"]) == ("h1", 2048, 512, 1536)
    assert shown["properties"].machine_readable() == cloud.specs[shown["id"]]


def test_ram_without_a_unit_is_mib_and_odd_parts_are_rounded_up(commands: Any, cloud: FakeCloud) -> None:
    shown = commands.show(CreateFlavor, "h1 --ram 1001 --ratio 1:2")
    assert (shown["local_ram"], shown["remote_ram"]) == (334, 667)
    assert cloud.specs[shown["id"]]["resources:MEMORY_MB"] == "334"


def test_what_is_asked_for_by_name_is_written(commands: Any, cloud: FakeCloud) -> None:
    shown = commands.show(
        CreateFlavor,
        "h1 --id 7 --ram 1024 --ratio 1:1 --migration hybrid --transport tcp --replicas 1 --swap 64 --ephemeral 2 "
        "--description text --property hw:cpu_policy=dedicated --private --project demo",
    )
    assert shown["id"] == "7"
    flavor, specs = cloud.flavors["7"], cloud.specs["7"]
    assert (flavor["swap"], flavor["OS-FLV-EXT-DATA:ephemeral"], flavor["description"]) == (64, 2, "text")
    assert flavor["os-flavor-access:is_public"] is False
    assert cloud.access == {"7": [PROJECT]}
    assert (specs["heca:migration"], specs["heca:transport"], specs["heca:replicas"]) == ("hybrid", "tcp", "1")
    assert specs["hw:cpu_policy"] == "dedicated"


def test_each_flavor_has_an_id_of_its_own(commands: Any, cloud: FakeCloud) -> None:
    for name in ("h1", "h2", "h3 --id auto"):
        commands.show(CreateFlavor, f"{name} --ram 1024 --ratio 1:1")
    assert len(cloud.flavors) == 3
    assert "auto" not in cloud.flavors


def test_a_project_is_known_by_its_id_too(commands: Any, cloud: FakeCloud) -> None:
    commands.show(CreateFlavor, f"h1 --id 7 --ram 1024 --ratio 1:1 --private --project {PROJECT}")
    assert cloud.access == {"7": [PROJECT]}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--ram 1 --ratio 1:3", "nothing to go elsewhere"),
        ("--ram 1024 --ratio 1:3 --property heca:ratio=1:1", "written by the options"),
        ("--ram 1024 --ratio 1:3 --property resources:MEMORY_MB=1024", "written by the options"),
        ("--ram 1024 --ratio 1:3 --property hw:mem_encryption=true", "encrypted memory"),
        ("--ram 1024 --ratio 1:3 --property hw:locked_memory=True", "locked memory"),
        ("--ram 1024 --ratio 1:3 --property pci_passthrough:alias=gpu:1", "passed-through device"),
        ("--ram 1024 --ratio 1:3 --property hw:pmem=4GB", "on no tmpfs"),
        ("--ram 1024 --ratio 1:3 --project demo", "give --private too"),
        ("--ram 1024 --ratio 1:3 --private --project nobody", "no projects are called 'nobody'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_made(
    commands: Any, cloud: FakeCloud, line: str, why: str
) -> None:
    with pytest.raises(exceptions.CommandError, match=why):
        commands.show(CreateFlavor, f"h1 {line}")
    assert not cloud.flavors
    assert not any(entry.startswith("POST") for entry in cloud.log)


def test_switched_off_it_is_no_reason(commands: Any, cloud: FakeCloud) -> None:
    commands.show(CreateFlavor, "h1 --ram 1024 --ratio 1:3 --property hw:mem_encryption=false")
    assert len(cloud.flavors) == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("h1 --ram 1024", "--ratio"),
        ("h1 --ratio 1:3", "--ram"),
        ("h1 --ram 2GB --ratio 1:3", "1000 for some"),
        ("h1 --ram 1024 --ratio 3", "write it like 1:3"),
        ("h1 --ram 1024 --ratio 1:3 --migration teleport", "invalid choice"),
        ("h1 --ram 1024 --ratio 1:3 --replicas 2", "invalid choice"),
    ],
)
def test_a_wrong_command_line_says_why(
    commands: Any, cloud: FakeCloud, capsys: pytest.CaptureFixture[str], line: str, why: str
) -> None:
    with pytest.raises(SystemExit):
        commands.show(CreateFlavor, line)
    assert why in capsys.readouterr().err
    assert not cloud.log


def test_extra_specs_that_nova_refuses_leave_no_flavor(commands: Any, cloud: FakeCloud) -> None:
    with pytest.raises(exceptions.CommandError, match="'sometimes' is not one of.*no flavor was created"):
        commands.show(CreateFlavor, "h1 --ram 1024 --ratio 1:3 --property hw:cpu_policy=sometimes")
    assert not cloud.flavors


def test_a_flavor_that_cannot_be_taken_away_again_is_named(commands: Any, cloud: FakeCloud) -> None:
    cloud.undeletable = True
    with pytest.raises(exceptions.CommandError, match="'sometimes'.*openstack flavor delete 7"):
        commands.show(CreateFlavor, "h1 --id 7 --ram 1024 --ratio 1:3 --property hw:cpu_policy=sometimes")


def test_an_interrupt_leaves_no_half_flavor(
    commands: Any, cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("heca_osc.cloud.Cloud.set_extra_specs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        commands.show(CreateFlavor, "h1 --ram 1024 --ratio 1:3")
    assert not cloud.flavors
    assert any(entry.startswith("DELETE") for entry in cloud.log)


def test_a_name_that_is_taken_is_said(commands: Any) -> None:
    commands.show(CreateFlavor, "h1 --ram 1024 --ratio 1:3")
    with pytest.raises(exceptions.CommandError, match="already exists"):
        commands.show(CreateFlavor, "h1 --ram 1024 --ratio 1:3")


def test_without_rights_it_says_whom_to_ask(commands: Any, cloud: FakeCloud) -> None:
    cloud.admin = False
    with pytest.raises(exceptions.CommandError, match="needs an admin"):
        commands.show(CreateFlavor, "h1 --ram 1024 --ratio 1:3")


def test_a_nova_that_checks_no_extra_specs_is_too_old(commands: Any, cloud: FakeCloud) -> None:
    cloud.compute_max = (2, 79)
    with pytest.raises(exceptions.CommandError, match=r"too old.*2\.86.*no flavor was created"):
        commands.show(CreateFlavor, "h1 --ram 1024 --ratio 1:3")
    assert not cloud.flavors
