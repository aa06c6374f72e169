# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from nova import exception, objects

from heca_nova import domain
from heca_nova.hecad import Hecad
from heca_nova.ops.migration import FOLLOWING, MigrationOps, MovingGuest, saver, with_guest
from heca_nova.testing.fake_heca import FakeHeca
from heca_nova.wish import Wish

from .conftest import MIB, NAME, SMALL, FakeGuest, FakeLibvirt, make_departure, make_instance, make_region

READY = domain.make_ready(SMALL, Wish(ratio=(1, 3)), qmp_directory="/run/heca/qmp", buffered_disks=True)
STRIPPED = READY.replace('<source type="file"/><access mode="shared"/>', "")


@pytest.fixture
def ops(node: FakeHeca, options: Any, fake_libvirt: FakeLibvirt, quick: None) -> MigrationOps:
    return MigrationOps(Hecad("/s", 1.0, node), options)


def test_a_destination_needs_hecad_a_hook_and_a_peer(ops: MigrationOps, node: FakeHeca, options: Any,
                                                     tmp_path: Path) -> None:
    instance = make_instance()
    ops.check_destination(instance)
    hook = tmp_path / "50-heca"
    options._conf.set_override("libvirt_hook", str(hook), group="heca")
    with pytest.raises(exception.MigrationPreCheckError, match="hook .* is missing"):
        ops.check_destination(instance)
    hook.write_text("")
    hook.chmod(0o755)
    ops.check_destination(instance)
    node.peers[1].health = "unreachable"
    with pytest.raises(exception.MigrationPreCheckError, match="reaches no other one"):
        ops.check_destination(instance)
    node.away = True
    with pytest.raises(exception.MigrationPreCheckError, match="destination: .*is hecad running"):
        ops.check_destination(instance)


def test_a_source_needs_memory_that_is_at_rest(ops: MigrationOps, node: FakeHeca) -> None:
    wish = Wish(ratio=(1, 3))
    with pytest.raises(exception.MigrationPreCheckError, match="is not governed"):
        ops.check_source(make_instance(), wish)
    ops.check_source(make_instance(), Wish(migration="hybrid"))
    make_region(node)
    ops.check_source(make_instance(), wish)
    node.region_table[NAME].state = "stalled"
    with pytest.raises(exception.MigrationPreCheckError, match="is stalled"):
        ops.check_source(make_instance(), wish)
    node.region_table[NAME].state = "active"
    make_departure(node)
    with pytest.raises(exception.MigrationPreCheckError, match="still leaves for host2"):
        ops.check_source(make_instance(), wish)
    node.away = True
    with pytest.raises(exception.MigrationPreCheckError, match="source: "):
        ops.check_source(make_instance(), wish)


def test_the_running_domain_says_whether_hecad_moves_it(ops: MigrationOps) -> None:
    assert ops.is_moving_heca(FakeGuest(READY))
    assert not ops.is_moving_heca(FakeGuest())  # started in mode noop
    gone = mock.Mock()
    gone.get_xml_desc.side_effect = FakeLibvirt.libvirtError()
    assert not ops.is_moving_heca(gone)


def test_the_destination_gets_repaired_xml_and_libvirts_post_copy_is_off(ops: MigrationOps) -> None:
    guest = FakeGuest(READY)
    assert STRIPPED != READY
    MovingGuest(guest, ops, lambda: guest).migrate("qemu+tcp://host2/system", bandwidth=0, destination_xml=STRIPPED,
                                                   flags=FakeLibvirt.VIR_MIGRATE_POSTCOPY | 1)
    destination, parameters = guest.migrated[0]
    assert destination == "qemu+tcp://host2/system"
    assert parameters["flags"] == 1
    assert '<source type="file"/><access mode="shared"/>' in parameters["destination_xml"]
    assert parameters["bandwidth"] == 0


def test_progress_is_hecads(ops: MigrationOps, node: FakeHeca) -> None:
    guest = FakeGuest(READY)
    moving = MovingGuest(guest, ops, lambda: guest)
    assert moving.get_job_info().memory_total == 1  # hecad knows nothing: libvirt's
    make_departure(node)
    info = moving.get_job_info()
    assert (info.memory_total, info.memory_processed, info.memory_remaining) == (40 * MIB, 10 * MIB, 30 * MIB)
    node.away = True
    moving.get_job_info()
    node.away = False
    node.departures[0].over = True
    guest.job.memory_total = 1
    assert moving.get_job_info().memory_total == 1


def test_the_rest_of_a_moving_guest_is_the_guests(ops: MigrationOps) -> None:
    guest = FakeGuest(READY)
    assert MovingGuest(guest, ops, lambda: guest).name == NAME
    assert MovingGuest(guest, ops, lambda: guest)._domain is guest._domain


def test_only_guests_that_hecad_moves_are_wrapped(ops: MigrationOps) -> None:
    guest = FakeGuest(READY)
    args, kwargs = with_guest(ops, ("context", "instance", guest, "dest"), {"x": 1}, 2, FakeGuest)
    assert isinstance(args[2], MovingGuest) and args[3] == "dest" and kwargs == {"x": 1}
    args, kwargs = with_guest(ops, ("context", "instance"), {"guest": guest}, 2, FakeGuest)
    assert isinstance(kwargs["guest"], MovingGuest)
    again, _ = with_guest(ops, ("context", "instance", MovingGuest(guest, ops, lambda: guest)), {}, 2, FakeGuest)
    assert again[2]._moving is guest
    plain = ("context", "instance", FakeGuest())
    assert with_guest(ops, plain, {}, 2, FakeGuest)[0] is plain


class Renewed:
    """libvirt's answers to who looks for the domain anew: errors to raise, then the guest."""

    def __init__(self, *answers: Any) -> None:
        self.left = list(answers)

    def __call__(self) -> Any:
        answer = self.left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def broken(*answers: Any, ops: MigrationOps) -> MovingGuest:
    guest = FakeGuest(READY)
    guest.job = FakeLibvirt.libvirtError("End of file while reading data")
    return MovingGuest(guest, ops, Renewed(*answers))


@pytest.mark.parametrize("here", [FakeGuest(READY), exception.InstanceNotFound(instance_id=NAME)], ids=["stopped", "gone"])
def test_a_libvirt_that_is_restarted_at_the_change_over_does_not_call_it_failed(ops: MigrationOps, node: FakeHeca,
                                                                                here: Any) -> None:
    moving = broken(exception.HypervisorUnavailable(), exception.HypervisorUnavailable(), here, ops=ops)
    make_departure(node)  # memory follows
    assert moving.get_job_info().type == FakeLibvirt.VIR_DOMAIN_JOB_COMPLETED
    assert moving._renewed.left == [], "it waits until libvirt answers: what comes next needs it"


def test_without_libvirt_what_hecad_has_called_off_has_failed(ops: MigrationOps, node: FakeHeca) -> None:
    moving = broken(FakeGuest(READY), ops=ops)
    departure = make_departure(node)
    departure.progress.phase = "switch-over"  # not decided yet

    def call_off() -> None:
        departure.progress.phase, departure.over = "abort", True

    timer = threading.Timer(0.1, call_off)
    timer.start()
    assert moving.get_job_info().type == FakeLibvirt.VIR_DOMAIN_JOB_FAILED
    assert departure.over, "what is not decided is waited for"


@pytest.mark.parametrize("hecad", ["knows none", "knows an older one", "does not decide", "is away"])
def test_without_libvirt_and_hecads_word_novas_way_is_left(ops: MigrationOps, node: FakeHeca, hecad: str) -> None:
    moving = broken(FakeGuest(READY), ops=ops)
    if hecad == "knows an older one":
        make_departure(node, over=True).started_at = datetime(2020, 1, 1, tzinfo=timezone.utc)
    elif hecad == "does not decide":
        make_departure(node).progress.phase = "switch-over"
    elif hecad == "is away":
        node.away = True
    with pytest.raises(FakeLibvirt.libvirtError, match="End of file"):
        moving.get_job_info()


def test_a_domain_that_libvirt_has_kept_is_not_active_once_it_has_left(ops: MigrationOps, node: FakeHeca) -> None:
    guest = FakeGuest(READY)
    moving = MovingGuest(guest, ops, lambda: guest)
    assert moving.is_active()  # hecad has begun nothing: the hook was not reached
    departure = make_departure(node)
    assert not moving.is_active()
    departure.progress.phase, departure.over = "abort", True
    assert moving.is_active()
    guest.active = False
    assert not moving.is_active()


def test_force_complete_switches_over(ops: MigrationOps, node: FakeHeca) -> None:
    make_departure(node)
    ops.force_complete(make_instance())
    assert ("steer", NAME, True) in node.calls


def test_arrival_is_waited_for_and_its_progress_saved(ops: MigrationOps, node: FakeHeca) -> None:
    old = make_departure(node, over=True, ok=True)
    old.started_at = datetime(2020, 1, 1, tzinfo=timezone.utc)
    new = make_departure(node)
    migration = mock.Mock()

    def arrive() -> None:
        new.over = new.ok = True

    timer = threading.Timer(0.1, arrive)
    timer.start()
    ops.await_arrival(make_instance(), saver(mock.Mock(migration=migration)))
    assert new.over
    assert migration.status == FOLLOWING
    assert (migration.memory_total, migration.memory_remaining) == (40 * MIB, 30 * MIB)
    assert migration.save.called


def test_arrival_is_not_waited_for_without_end_and_what_is_left_is_counted(ops: MigrationOps, node: FakeHeca) -> None:
    departure = make_departure(node)
    assert ops.bytes_uncounted() == 0
    ops.await_arrival(make_instance(), lambda departure: None)
    assert ops.bytes_uncounted() == 512 * MIB
    departure.over = True
    assert ops.bytes_uncounted() == 0


@pytest.mark.parametrize("state", ["away", "unknown", "lost"])
def test_after_the_change_over_nothing_raises(ops: MigrationOps, node: FakeHeca, state: str) -> None:
    if state == "away":
        node.away = True
    elif state == "lost":
        make_departure(node, over=True, ok=False, trouble="the destination has died")
    ops.await_arrival(make_instance(), lambda departure: None)
    objects.register_all()
    migration = mock.Mock()
    migration.save.side_effect = exception.MigrationNotFound(migration_id=1)
    make_departure(node)
    for data in (mock.Mock(migration=migration), objects.LibvirtLiveMigrateData(), None):
        ops.await_arrival(make_instance(), saver(data))
