# SPDX-License-Identifier: Apache-2.0
"""The real `openstack`, as its own process, against a made-up cloud on loopback: the plugin is found, its commands are
listed and explained, and do what they do through the client's own sessions, catalog and formatters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_cloud import FakeCloud
from fake_http import served
from heca_osc.sizes import MIB

PLUGIN = Path(__file__).parents[1]
SPECS = {"heca:ratio": "1:3", "heca:migration": "hybrid"}
COMMANDS = (
    "heca flavor create", "heca host list", "heca host show", "heca migration list", "heca server set",
    "heca server show",
)  # fmt: skip
Openstack = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The names by which the client finds plugins, made by setuptools from pyproject.toml as an installation does."""
    place = tmp_path_factory.mktemp("installed")
    done = subprocess.run(
        [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q", "egg_info", "-e", str(place)],
        cwd=PLUGIN, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def openstack(installed: Path, cloud: FakeCloud, tmp_path: Path) -> Iterator[Openstack]:
    with served(cloud) as url:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "COLUMNS": "200", "LC_ALL": "C.UTF-8",
            "PYTHONPATH": f"{installed}:{PLUGIN}", "OS_AUTH_URL": f"{url}/identity/v3", "OS_USERNAME": "u",
            "OS_PASSWORD": "p", "OS_PROJECT_NAME": "demo", "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default", "OS_REGION_NAME": "one", "OS_IDENTITY_API_VERSION": "3",
        }  # fmt: skip

        def run(*words: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
            done = subprocess.run(
                [sys.executable, "-m", "openstackclient.shell", *words],
                env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert (done.returncode != 0) is fails, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stderr
            return done

        yield run


def as_json(openstack: Openstack, *words: str) -> Any:
    return json.loads(openstack(*words, "-f", "json").stdout)


def test_all_commands_are_listed(openstack: Openstack) -> None:
    text = openstack("--help").stdout
    for name in COMMANDS:
        assert f"  {name} " in text, name


def test_a_command_is_explained(openstack: Openstack) -> None:
    text = openstack("help", "heca", "flavor", "create").stdout
    for word in ("--ram <size>", "--ratio <local:remote>", "post-copy,hybrid,pre-copy", "Create a flavor", "--private"):
        assert word in text, word


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(openstack: Openstack, name: str) -> None:
    text = openstack("help", *name.split()).stdout
    own = text.split("output formatters")[0]
    assert "usage: " in own
    # An option alone on its line, with nothing below it that is indented deeper, would be one without a text.
    lines = own.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("  -") and "  " not in line.strip():
            assert following.startswith(" " * 8), line


def test_a_flavor_is_created(openstack: Openstack, cloud: FakeCloud) -> None:
    shown = as_json(
        openstack, "heca", "flavor", "create", "h1", "--ram", "2GiB", "--ratio", "1:3", "--private", "--project", "demo"
    )
    assert (shown["ram"], shown["local_ram"], shown["remote_ram"], shown["is_public"]) == (2048, 512, 1536, False)
    assert shown["properties"] == cloud.specs[shown["id"]]
    assert shown["properties"]["resources:CUSTOM_HECA_REMOTE_MB"] == "1536"
    assert len(cloud.access[shown["id"]]) == 1


def test_a_table_is_for_people(openstack: Openstack) -> None:
    text = openstack("heca", "flavor", "create", "h1", "--ram", "2GiB", "--ratio", "1:3").stdout
    assert "| local_ram " in text
    assert "heca:ratio='1:3'" in text


def test_an_error_is_one_line_with_the_reason(openstack: Openstack, cloud: FakeCloud) -> None:
    done = openstack(
        "heca", "flavor", "create", "h1", "--ram", "1024", "--ratio", "1:3", "--property", "hw:cpu_policy=sometimes",
        fails=True,
    )  # fmt: skip
    assert "'sometimes' is not one of" in done.stderr
    assert not cloud.flavors


def test_hosts(openstack: Openstack, cloud: FakeCloud) -> None:
    full = {"total": 4096, "reserved": 0, "allocation_ratio": 1.0}
    cloud.add_host("c1", full, full, {"MEMORY_MB": 512, "CUSTOM_HECA_REMOTE_MB": 1536}, ["CUSTOM_HECA"])
    (row,) = as_json(openstack, "heca", "host", "list")
    assert (row["Host"], row["Local Free MB"], row["Remote Free MB"]) == ("c1", 3584, 2560)
    assert as_json(openstack, "heca", "host", "show", "c1")["remote_used_mb"] == 1536


def test_servers(openstack: Openstack, cloud: FakeCloud) -> None:
    server = cloud.add_server("vm1", SPECS)
    cloud.diagnostics[server] = {"heca_state": "active", "heca_local_bytes": 512 * MIB}
    openstack("heca", "server", "set", "--local", "256MiB", "vm1")
    shown = as_json(openstack, "heca", "server", "show", "vm1")
    assert (shown["wanted_local"], shown["local_bytes"], shown["state"]) == ("256MiB", 512 * MIB, "active")
    assert "512MiB" in openstack("heca", "server", "show", "vm1").stdout


def test_what_the_driver_would_not_do_is_refused(openstack: Openstack, cloud: FakeCloud) -> None:
    server = cloud.add_server("vm1", SPECS)
    assert "at most 512MiB" in openstack("heca", "server", "set", "--local", "1GiB", "vm1", fails=True).stderr
    assert cloud.servers[server]["metadata"] == {}


def test_migrations(openstack: Openstack, cloud: FakeCloud) -> None:
    progress = {"memory_total_bytes": 100, "memory_processed_bytes": 60, "memory_remaining_bytes": 40}
    cloud.add_migration(cloud.add_server("vm1", SPECS), "running", progress)
    (row,) = as_json(openstack, "heca", "migration", "list")
    assert (row["Progress"], row["Phase"], row["Remaining"]) == (60, "moving", 40)
    assert "60%" in openstack("heca", "migration", "list").stdout
