# SPDX-License-Identifier: LGPL-2.1-or-later
"""`hecactl migrate DOMAIN DEST`, and what goes wrong while libvirt leads: one guest goes through all of it.

The tests are independent: each begins with a guest that runs on one host, wherever that is, and a whole lab.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.bench import Bench
from lab.deadline import LabError, wait_until
from lab.ignore_shared import ignore_shared
from lab.journey import Journey
from lab.libvirt_host import LibvirtHost, VirshFailed
from lab.paths import binary
from lab.processes import open_files, spawn

METADATA = "<heca:memory xmlns:heca='https://hecatonchire.org/xmlns/1' migration='post-copy'/>"
WORKLOAD = {"mib": 100, "threads": 2, "rate": 20000}
MIB = 256


class Commanded(Journey):
    """By hecactl."""

    def __init__(self, bench: Bench) -> None:
        hosts = bench.hosts(hook=True)
        super().__init__(hosts, hosts.guest("shop", MIB, WORKLOAD, metadata=METADATA))
        self.guest.guest.wait_ready(240)

    def command(self, *options: str) -> list[str]:
        """To the other host, which is named as hecad knows it."""
        words = [str(binary("hecactl")), "migrate", "shop", self.hecad(self.there).name, *options]
        return self.host(self.here).inside(words)

    def migrate(self, seconds: float = 180) -> dict[str, Any]:
        done = subprocess.run(self.command("--json"), capture_output=True, text=True, timeout=seconds)
        if done.returncode != 0:
            raise LabError(f"hecactl migrate: exit {done.returncode}: {done.stderr}")
        self.guest.find()
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture(scope="module")
def whole_journey(module_bench: Bench) -> Commanded:
    return Commanded(module_bench)


@pytest.fixture
def journey(whole_journey: Commanded) -> Iterator[Commanded]:
    yield whole_journey
    whole_journey.mend()


@contextmanager
def events_of(host: LibvirtHost) -> Iterator[list[str]]:
    """What libvirt tells of its domains; complete once the block is left."""
    said: list[str] = []
    listener = spawn(host.inside(["/usr/bin/virsh", "-c", "qemu:///system", "event", "--all", "--loop"]),
                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert listener.stdout

    def connected() -> bool:
        return (Path(f"/proc/{listener.pid}/comm").read_text() == "virsh\n"
                and any(name.startswith("socket:") for name in open_files(listener.pid)))

    try:
        wait_until(connected, 20, "virsh listens")  # it says so a moment later; the events are a second away
        yield said
    finally:
        listener.send_signal(signal.SIGINT)
        text = listener.stdout.read().decode()
        listener.stdout.close()
        listener.wait(20)
        said += re.findall(r"event 'lifecycle' for domain '?shop'?: (.*)", text)


def in_order(expected: list[str], said: list[str]) -> None:
    rest = iter(said)
    assert all(any(word == other for other in rest) for word in expected), f"{expected} in {said}"


def test_there_and_back_and_both_libvirts_say_what_an_operator_expects(journey: Commanded) -> None:
    definition = journey.host(journey.here).virsh("dumpxml", "shop", "--inactive", "--security-info")
    for _ in range(2):
        source, destination = journey.host(journey.here), journey.host(journey.there)
        with events_of(source) as left, events_of(destination) as came:
            answer = journey.migrate()
        assert answer["destination"] == destination.name
        assert answer["destination_uri"] == f"qemu+tcp://{destination.far}/system"
        summary = answer["migration"]
        assert summary["region"] == "shop" and summary["mode"] == "post-copy"
        assert 0 < summary["downtime_ns"] < 2e9 and summary["total_ms"] > 0
        assert summary["memory_bytes"] >= MIB << 20
        assert summary["moved_bytes"] + summary["zero_bytes"] >= 0.9 * summary["memory_bytes"]
        assert journey.guest.host is destination
        last = journey.hecad(journey.there).ctl("migrations")["migrations"][-1]
        assert last["ok"] and last["phase"] == "complete" and last["domain"] == "shop"
        assert last["summary"] == summary
        journey.runs_whole()
        in_order(["Suspended Migrated", "Stopped Migrated"], left)  # what it undefines so it does not tell
        in_order(["Started Migrated", "Resumed Migrated"], came)
        assert source.virsh("list", "--all", "--name").split() == []
        assert destination.virsh("list", "--persistent", "--name").split() == ["shop"]
        assert destination.virsh("dumpxml", "shop", "--inactive", "--security-info") == definition
        assert "None" in destination.virsh("domjobinfo", "shop")
        assert "Completed" in destination.virsh("domjobinfo", "shop", "--completed")


@pytest.mark.parametrize("by", ["ctrl-c", "virsh domjobabort"])
def test_called_off_before_the_switch_and_done_at_once_again(journey: Commanded, by: str) -> None:
    source, destination = journey.host(journey.here), journey.host(journey.there)
    hold = destination.hold_incoming()
    try:
        if by == "ctrl-c":
            process = subprocess.Popen(journey.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert process.stderr
            wait_until(hold.reached, 180, "libvirt waits at the destination")
            process.send_signal(signal.SIGINT)
            for line in process.stderr:
                if line.startswith("migrate: call-off"):
                    break
            hold.release()
            _, err = process.communicate(timeout=180)
            assert process.returncode == 130, err
            assert "called off; 'shop' is running here" in err
        else:
            with ThreadPoolExecutor(1) as pool:
                migration = pool.submit(journey.guest.migrate, destination)
                wait_until(hold.reached, 180, "libvirt waits at the destination")
                source.virsh("domjobabort", "shop")
                hold.release()
                with pytest.raises(VirshFailed, match="cancel"):
                    migration.result(180)
    finally:
        hold.release()
    assert journey.guest.where() is source
    # Not only after the 30 s for which hecad waits for a switch-over: a save would write no RAM until then.
    wait_until(lambda: not ignore_shared(source, "shop"), 10, "x-ignore-shared is off")
    last = journey.hecad(journey.here).ctl("migrations")["migrations"][-1]
    assert last["over"] and not last["ok"]
    journey.migrate()
    assert journey.guest.host is destination
    journey.runs_whole()


def test_the_destinations_libvirtd_is_killed_before_the_switch(journey: Commanded) -> None:
    destination = journey.host(journey.there)
    hold = destination.hold_incoming()
    try:
        process = subprocess.Popen(journey.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(hold.reached, 180, "libvirt waits at the destination")
        destination.kill_libvirtd()
        hold.release()
        _, err = process.communicate(timeout=180)
        assert process.returncode == 1, err
        assert "'shop' is running here" in err
    finally:
        hold.release()
    destination.start_libvirtd()
    wait_until(lambda: destination.running() == [], 30, "the QEMU that waited has ended")
    journey.migrate()
    assert journey.guest.host is destination
    journey.runs_whole()


def test_the_sources_hecad_both_libvirtds_and_the_link_fail_while_memory_follows(journey: Commanded,
                                                                                  long_form: bool) -> None:
    here, there = journey.here, journey.there
    source, destination = journey.host(here), journey.host(there)
    journey.hosts.restart_hecad(here, fail="crash-serving-image=crash@5000")
    process = subprocess.Popen(journey.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert journey.hecad(here).wait_exit(180) == -signal.SIGKILL
    wait_until(lambda: source.running() == [] and destination.running() == ["shop"], 60, "libvirt is done")
    left = int(journey.hecad(there).regions()[0]["away_bytes"])
    assert left > 20 << 20, "most of it is still at the source"
    for host in (source, destination):
        host.restart_libvirtd()
    assert destination.virsh("domstate", "shop").strip() == "running"
    assert source.running() == []
    assert process.poll() is None, "hecactl waits for the next hecad"
    journey.hosts.places[here].cut()
    journey.hecad(here).fail = ""
    journey.hecad(here).start()
    time.sleep(30 if long_form else 5)  # the length of the cut is the thing tested
    assert int(journey.hecad(there).regions()[0]["away_bytes"]) == left, "nothing came, for nothing can"
    assert not journey.hecad(here).ctl("migrations")["migrations"][-1]["over"]
    journey.hosts.places[here].mend()
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    journey.guest.find()
    assert journey.guest.host is destination
    journey.hosts.wait_peers()
    journey.runs_whole()


def test_the_destinations_hecad_is_killed_while_memory_follows(journey: Commanded) -> None:
    there = journey.there
    journey.hosts.restart_hecad(there, fail="crash-after-copy=crash@3000")
    process = subprocess.Popen(journey.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert journey.hecad(there).wait_exit(180) == -signal.SIGKILL
    journey.hosts.restart_hecad(there)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    journey.guest.find()
    assert journey.there != there
    journey.runs_whole()
