# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is refused, and leaves nothing behind: flavors that make no sense, servers for which there is not enough memory."""

from __future__ import annotations

import pytest

from lab.openstack.client import ClientFailed
from lab.openstack.cloud import Cloud
from lab.openstack.governed import WORKLOAD, create_flavor, nothing_is_left
from lab.openstack.server import Server


@pytest.mark.parametrize(("key", "value", "reason"), [
    ("heca:ratio", "three", "ratio"), ("heca:migration", "teleport", "migration"), ("heca:replicas", "2", "replicas"),
    ("heca:ratoi", "1:3", "ratoi")])
def test_a_bad_extra_spec_is_refused_with_the_reason(cloud: Cloud, key: str, value: str, reason: str) -> None:
    cloud.client.run("flavor", "create", "--ram", "256", "--disk", "0", "bad")
    try:
        with pytest.raises(ClientFailed, match=reason):
            cloud.client.run("flavor", "set", "--property", f"{key}={value}", "bad")
        assert key not in cloud.client.ask("flavor", "show", "bad")["properties"]
    finally:
        cloud.client.run("flavor", "delete", "bad")


def test_more_remote_memory_than_there_is_finds_no_host(cloud: Cloud) -> None:
    create_flavor(cloud, "huge", 2048)  # 1536 MiB of it remote, and the sponsor has 1024
    server = Server(cloud, "huge", "huge", cloud.images.add("huge", WORKLOAD))
    try:
        told = server.wait("ERROR")
        assert "No valid host" in told["fault"]["message"]
    finally:
        server.delete()
        cloud.client.run("flavor", "delete", "huge")
    nothing_is_left(cloud)
