# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests on a real device stand on, where there is none: the device's interface, and the machine, over TCP."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.bench import Bench
from lab.deadline import LabError
from lab.machine_process import GovernedProcess
from lab.rdma.device import DeviceMachine, interface_of
from lab.rdma.machine import Port


def test_the_interface_of_a_device_is_found_and_missed_by_name(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="mlx5_0 has no network interface: load ib_ipoib"):
        interface_of("mlx5_0", tmp_path)
    (tmp_path / "mlx4_0/device/net/ib0").mkdir(parents=True)
    assert interface_of("mlx4_0", tmp_path) == "ib0"
    names = tmp_path / "mlx5_0/ports/1/gid_attrs/ndevs"
    names.mkdir(parents=True)
    (names / "0").mkdir()  # cannot be read, as that of a GID which is not set
    (names / "1").write_text("enp1s0\n")
    assert interface_of("mlx5_0", tmp_path) == "enp1s0"


def test_a_process_is_governed_in_a_machine_that_is_this_host(bench: Bench) -> None:
    machine = DeviceMachine(bench, Port("127.0.0.1", "lo"), ["hecad", "hecactl"])
    governed = GovernedProcess(machine, 48, "127.0.0.1", "--transport tcp")
    governed.hecactl(f"attach --pid {governed.pid} --local 12MiB --name p")
    governed.goes_on()
    governed.sponsor_crash()
    assert governed.verify() == 0
    assert not Path("/dev/shm/verified").exists(), "its files are its own"
