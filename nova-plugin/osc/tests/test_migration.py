# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from osc_lib import exceptions

from fake_cloud import TIME, FakeCloud
from heca_osc.columns import Percent, Size
from heca_osc.migration import ListMigration, moved_percent
from heca_osc.sizes import MIB

SPECS = {"heca:ratio": "1:3", "heca:migration": "hybrid"}


def plain(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v.machine_readable() if isinstance(v, Percent | Size) else v for k, v in row.items()}


def halfway() -> dict[str, int]:
    return {"memory_total_bytes": 2048 * MIB, "memory_processed_bytes": 900 * MIB, "memory_remaining_bytes": 512 * MIB}


def test_one_that_is_under_way_shows_how_far_it_is(commands: Any, cloud: FakeCloud) -> None:
    server = cloud.add_server("vm1", SPECS)
    cloud.add_migration(server, "running", halfway())
    (row,) = commands.list(ListMigration, "--long")
    assert plain(row) == {
        "ID": 1, "Server": server, "Source": "c1", "Destination": "c2", "Status": "running", "Phase": "moving",
        "Progress": 75, "Memory": 2048 * MIB, "Remaining": 512 * MIB, "UUID": cloud.migrations[0]["uuid"],
        "Server Name": "vm1", "Mode": "hybrid", "Created At": TIME, "Updated At": TIME,
    }  # fmt: skip
    assert (row["Progress"].human_readable(), row["Remaining"].human_readable()) == ("75%", "512MiB")


def test_the_latest_is_first_and_what_is_over_asks_no_more(commands: Any, cloud: FakeCloud) -> None:
    server = cloud.add_server("vm1", SPECS)
    for status in ("completed", "cancelled", "error"):
        cloud.add_migration(server, status)
    rows = [plain(row) for row in commands.list(ListMigration)]
    assert [(row["ID"], row["Phase"], row["Progress"]) for row in rows] == [
        (3, "failed", None), (2, "called off", None), (1, "complete", 100)
    ]  # fmt: skip
    assert cloud.log.count(f"GET /compute/v2.1/servers/{server}") == 1
    assert not any(entry.endswith(f"{server}/migrations") for entry in cloud.log)


def test_servers_without_heca_and_those_that_are_gone_are_for_all(commands: Any, cloud: FakeCloud) -> None:
    cloud.add_migration(cloud.add_server("plain", {}), "running", halfway())
    cloud.add_migration("gone", "completed")
    ours = cloud.add_migration(cloud.add_server("vm1", SPECS), "running", halfway())
    assert [row["ID"] for row in commands.list(ListMigration)] == [ours]
    rows = commands.list(ListMigration, "--all --long")
    assert [(row["ID"], row["Server Name"]) for row in rows] == [(3, "vm1"), (2, None), (1, "plain")]


def test_what_is_asked_for_is_what_is_listed(commands: Any, cloud: FakeCloud) -> None:
    one, two = cloud.add_server("vm1", SPECS), cloud.add_server("vm2", SPECS)
    cloud.add_migration(one, "completed")
    cloud.add_migration(one, "running", halfway(), dest_compute="c3")
    cloud.add_migration(two, "running", halfway())
    cloud.add_migration(two, "completed", migration_type="resize")

    def ids(line: str) -> list[int]:
        return [row["ID"] for row in commands.list(ListMigration, line)]

    assert ids("") == [3, 2, 1]
    assert ids("--server vm1") == [2, 1]
    assert ids("--host c3") == [2]
    assert ids("--status completed") == [1]
    assert ids("--under-way") == [3, 2]
    assert ids("--limit 1") == [3]


def test_one_that_ends_while_it_is_looked_at_is_shown_without_figures(commands: Any, cloud: FakeCloud) -> None:
    cloud.add_migration(cloud.add_server("vm1", SPECS), "running")
    (row,) = commands.list(ListMigration)
    assert plain(row)["Progress"] is None
    assert (row["Progress"].human_readable(), row["Memory"].human_readable()) == ("-", "-")


@pytest.mark.parametrize(("status", "percent"), [("post-migrating", 75), ("running (post-copy)", None)])
def test_memory_that_follows_is_not_over(commands: Any, cloud: FakeCloud, status: str, percent: int | None) -> None:
    cloud.add_migration(cloud.add_server("vm1", SPECS), status, halfway())
    (row,) = commands.list(ListMigration, "--under-way")
    assert (row["Phase"], plain(row)["Progress"]) == ("memory follows", percent)


def test_two_of_one_server_are_not_mixed_up(commands: Any, cloud: FakeCloud) -> None:
    server = cloud.add_server("vm1", SPECS)
    cloud.add_migration(server, "running", {**halfway(), "memory_remaining_bytes": 0})
    cloud.add_migration(server, "queued", {"memory_total_bytes": None, "memory_remaining_bytes": None})
    rows = [plain(row) for row in commands.list(ListMigration)]
    assert [(row["Phase"], row["Progress"]) for row in rows] == [("waiting", None), ("moving", 100)]


@pytest.mark.parametrize(
    ("total", "left", "percent"), [(1000, 1000, 0), (1000, 1, 99), (1000, 0, 100), (1000, 1200, 0), (0, 0, None)]
)
def test_percents(total: int, left: int, percent: int | None) -> None:
    assert moved_percent({"memory_total_bytes": total, "memory_remaining_bytes": left}) == percent


def test_migrations_are_for_admins(commands: Any, cloud: FakeCloud) -> None:
    cloud.admin = False
    with pytest.raises(exceptions.CommandError, match="needs an admin"):
        commands.list(ListMigration)
