# SPDX-License-Identifier: LGPL-2.1-or-later
"""heca.Node: a hecad inside this process."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import heca
import pytest
from lab.bench import Bench
from lab.deadline import wait_until

MIB = 1 << 20
LENDS: dict[str, str | int | bool | list[str]] = {"compute": False, "donate": "64MiB", "slab-size": "16MiB"}


def test_it_lends() -> None:
    with heca.Node(LENDS) as node:
        client = node.client()
        about = client.about()
        assert (about.name, about.pid, about.socket) == (node.name, os.getpid(), str(node.socket))
        assert (about.donated_bytes, about.free_bytes) == (64 * MIB, 64 * MIB)
        assert about.control_endpoint == node.control_address
        with pytest.raises(heca.FailedPrecondition, match="only lends memory"):
            client.attach(pid=os.getpid()).result()
        with heca.Node({**LENDS, "peer": [node.peer], "name": "second"}) as second:
            with second.client() as other:
                wait_until(lambda: other.nodes()[1].health == "alive", 20, "one sees the other")
                assert [peer.name for peer in other.nodes()] == ["second", node.name]
    assert not node.socket.exists() and not node.socket.parent.exists()
    node.close()
    with pytest.raises(heca.Unavailable):
        client.about()


@pytest.mark.parametrize(
    ("config", "kind", "says"),
    [
        ({"donate": "2XB"}, heca.InvalidArgument, "donate: '2XB' is not a size"),
        ({"no_such_key": 1}, heca.InvalidArgument, "no-such-key"),
        ({"compute": False}, heca.InvalidArgument, "leaves hecad without a job"),
        ({**LENDS, "peer": ["m1"]}, heca.InvalidArgument, "'m1' is not a peer"),
        ({**LENDS, "control-listen": "192.0.2.1:1"}, heca.InvalidArgument, "is not an address of this host"),
    ],
)
def test_what_is_refused(config: dict[str, str | int | bool | list[str]], kind: type[heca.Error], says: str) -> None:
    before = set(Path("/dev/shm").glob("heca-node-*"))
    with pytest.raises(kind, match=says):
        heca.Node(config)
    assert set(Path("/dev/shm").glob("heca-node-*")) == before


def test_two_of_one_directory(tmp_path: Path) -> None:
    shared: dict[str, str | int | bool | list[str]] = {**LENDS, "run-dir": str(tmp_path / "run")}
    with heca.Node(shared):
        with pytest.raises(heca.FailedPrecondition, match="another hecad|in use|run"):
            heca.Node(shared)
    heca.Node(shared).close()


def test_a_client_keeps_it() -> None:
    client = heca.Node(LENDS).client()
    gc.collect()
    stream = client.events(follow=True)
    del client
    gc.collect()
    assert next(stream).kind == "started"
    node = stream._client._parent
    assert isinstance(node, heca.Node)
    node.close()
    with pytest.raises(heca.Error):
        while True:
            next(stream)


def test_the_interpreter_ends_over_it(script: Callable[..., subprocess.Popen[str]]) -> None:
    process = script(
        "import heca\nnode = heca.Node({'compute': False, 'donate': '64MiB'})\nclient = node.client()\n"
        "stream = client.events(follow=True)\nnext(stream)\nprint(node.socket.parent)"
    )
    out, err = process.communicate(timeout=20)
    assert (err, process.returncode) == ("", 0)
    assert out and not Path(out.strip()).exists()


def test_it_governs(bench: Bench) -> None:
    """With one node that lends and one that governs, both in this process; the memory verifies itself."""
    workload = bench.native(mib=64, threads=4, rate=2000)
    workload.wait_ready()
    with heca.Node({**LENDS, "donate": "256MiB", "name": "sponsor"}) as sponsor:
        with heca.Node({"peer": [sponsor.peer], "name": "compute"}) as compute, compute.client() as client:
            region = client.attach(pid=workload.pid, region="p1", local="16MiB").result()
            assert region.state == "active" and region.stores[0].sponsor == "sponsor"
            workload.wait_ticks(2, 30)
            assert client.region("p1").away_bytes >= 32 * MIB
            assert sponsor.client().leases()[0].region == "p1"
            client.detach("p1").result()
            assert client.regions() == []
    assert workload.verify() == 0
