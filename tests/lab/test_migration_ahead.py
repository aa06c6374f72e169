# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM whose memory is copied ahead of it: what may go wrong before it changes over leaves it where it is."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.bench import Bench
from lab.deadline import wait_until
from lab.hecad import CommandFailed, Hecad, Peer
from lab.vm_pair import left_cleanly, pair, stays_here, two_nodes


def test_the_destinations_hecad_crashes_in_pre_copy(bench: Bench) -> None:
    here, there = two_nodes(bench, fail="crash-after-copy=crash@300")
    source, destination = pair(bench)
    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(here.migrate, source, destination, "there", "--mode", "pre-copy")
        there.wait_exit(60)
        there.fail = ""
        there.start()  # it knows nothing of the VM
        with pytest.raises(CommandFailed, match="on its way"):
            migration.result(60)
    stays_here(source, here, there)


def test_a_vm_that_is_called_off_in_pre_copy_goes_on(bench: Bench) -> None:
    here, there = two_nodes(bench)
    source, destination = pair(bench)
    with pytest.raises(CommandFailed):  # at this speed it would take a minute
        here.migrate(source, destination, "there", "--mode", "pre-copy", "--bandwidth", "8MiB", "--timeout", "3")
    stays_here(source, here, there)


def test_a_link_that_is_cut_in_pre_copy_is_waited_out(bench: Bench, long_form: bool) -> None:
    link = bench.link()
    there = bench.compute(name="there", control_listen=f"{link.near}:7400", data_listen=f"{link.near}:7401")
    here = bench.keep(Hecad("here", bench.logs, peers=[Peer("there", link.near, 7400)], link=link)).start()
    source, destination = pair(bench)
    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(here.migrate, source, destination, "there", "--mode", "pre-copy", "--downtime-ms", "1000",
                                "--bandwidth", "100MiB", seconds=300)
        wait_until(lambda: there.regions() != [], 30, "memory comes ahead", poll=0.01)
        time.sleep(0.5)
        link.cut()
        time.sleep(30 if long_form else 5)  # the length of the cut is the thing tested
        assert source.run_state() == "running" and destination.run_state() == "inmigrate"
        link.mend()
        summary = migration.result(300)
    assert summary["ahead_bytes"] == summary["moved_bytes"]
    destination.guest.wait_ticks(2, 60)
    assert destination.guest.verify() == 0
    left_cleanly(source, destination, here, there)
