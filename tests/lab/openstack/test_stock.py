# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server that asks for nothing of heca: what the lab's cloud does with it is Nova's, libvirt's and QEMU's own.

QEMU 7.2's pre-copy under TCG loses writes of the guest: of two guests that moved so here one panicked and one was not heard
any more. So after its migration the guest is asked nothing; that QEMU runs there is libvirt's word.
"""

from __future__ import annotations

from contextlib import closing

from lab.openstack.cloud import Cloud
from lab.openstack.server import Server

WORKLOAD = {"mib": 64, "threads": 2, "rate": 20000, "seed": 5}


def test_a_server_boots_verifies_itself_moves_and_leaves_nothing(cloud: Cloud) -> None:
    cloud.client.run("flavor", "create", "--ram", "192", "--disk", "0", "--vcpus", "1", "stock")
    image = cloud.images.add("stock", WORKLOAD)
    with closing(Server(cloud, "plain", "stock", image)) as server:
        server.wait_boots()
        server.runs_whole()
        source = server.host
        assert "heca" not in source.virsh("dumpxml", server.name)
        destination = next(host for host in cloud.hosts.hosts if host is not source)
        record = server.live_migrate(destination.name)
        assert record["status"] == "completed"
        assert server.host is destination
        assert source.running() == []
        assert destination.virsh("domstate", server.name).strip() == "running"
    for compute in cloud.computes:
        assert compute.host.running() == [] and compute.instances() == []
        assert cloud.usages(compute.host.name)["MEMORY_MB"] == 0
    cloud.client.run("flavor", "delete", "stock")
    cloud.client.run("image", "delete", image)
