# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every question, and what its answer is made of, over a socket to a fake hecad."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import typing
from collections.abc import Callable
from datetime import datetime, timezone

import heca
import pytest
from played_hecad import Fake
from heca import _core, values, words
from lab.deadline import wait_until

MIB = 1 << 20


def check_types(value: object) -> None:
    """Each field of a dataclass is of the type that it is declared with, down to the leaves."""
    hints = typing.get_type_hints(type(value))
    assert hints
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        check_type(getattr(value, field.name), hints[field.name], f"{type(value).__name__}.{field.name}")


def check_type(value: object, hint: object, where: str) -> None:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        assert value in arguments, where
    elif origin is typing.Union:
        if value is not None:
            check_type(value, arguments[0], where)
    elif origin is tuple:
        assert isinstance(value, tuple), where
        for i, item in enumerate(value):
            check_type(item, arguments[0 if arguments[-1] is ... else i], where)
    elif origin is dict:
        assert isinstance(value, dict), where
        for key, item in value.items():
            check_type(key, arguments[0], where)
            check_type(item, arguments[1], where)
    else:
        assert isinstance(hint, type)
        assert type(value) is hint, where
        if dataclasses.is_dataclass(value):
            check_types(value)


def test_every_question(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake("departs=vm9").socket) as client:
        region = client.attach(pid=7, region="vm1", local="256MiB").result()
        assert (region.name, region.state, region.pid, region.limit_bytes) == ("vm1", "active", 7, 256 * MIB)
        assert region.size == region.size_bytes == 1 << 30
        assert client.regions() == [region] == [client.region("vm1")]
        assert client.limit("vm1", 512 * MIB).result().limit_bytes == 512 * MIB
        assert client.resolve("vm1", "ask-again").name == "vm1"
        summary = client.migrate("host2", pid=7, qmp_socket="/q", destination_pid=8, destination_qmp="/d",
                                 uri="tcp:127.0.0.1:1", mode="hybrid", bandwidth="1MiB").result()
        assert (summary.region, summary.mode) == ("pid-7", "hybrid")
        assert summary.blocktime is not None and summary.blocktime.vcpus_ns
        client.steer("vm1", switch_now=True, bandwidth=0, mode="pre-copy", downtime_goal_ms=5)
        assert client.migrations() == []
        departing = wait_until(client.migrations, 10, "a departure")[0]
        assert departing.domain == "vm9" and departing.progress.phase
        client.on_domain("vm1", "started", "begin", "<domain/>")
        client.free_lease(client.leases()[0].id, force=True)
        (stats,) = client.stats()
        assert set(stats.faults) == set(typing.get_args(words.FaultSource))
        assert sum(1 for _ in stats.faults["sponsor"].buckets) == 22
        (event,) = client.events()
        assert event.sequence == 1 and event.kind == "vm-stopped" and event.values
        assert abs((datetime.now(timezone.utc) - event.time).total_seconds()) < 600
        answers = [client.about(), *client.nodes(), *client.leases(), *client.doctor(), region, summary, departing,
                   stats, event]
        for answer in answers:
            check_types(answer)
            assert pickle.loads(pickle.dumps(answer)) == answer == copy.deepcopy(answer)
        with pytest.raises(dataclasses.FrozenInstanceError):
            region.pid = 8  # type: ignore[misc]
        assert client.detach("vm1").result() is None
        assert client.regions() == []


@pytest.mark.parametrize("enumeration", sorted(_core.words()))
def test_the_words_are_the_core_s(enumeration: str) -> None:
    known = [word for word in typing.get_args(getattr(words, enumeration)) if word not in ("invalid", "none")]
    assert known == _core.words()[enumeration]


def test_no_enumeration_is_without_a_test() -> None:
    declared = {name for name in vars(words) if typing.get_origin(getattr(words, name)) is typing.Literal}
    assert declared == set(_core.words())


def test_moments_are_exact_and_in_utc() -> None:
    assert values.moment(1_700_000_000_123_457) == datetime(2023, 11, 14, 22, 13, 20, 123457, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda client: client.limit("vm1", "2XB"), "size: '2XB' is not a size"),
        (lambda client: client.limit("vm1", -1), "size: -1 is no size"),
        (lambda client: client.limit("vm1", 1 << 64), "is no size"),
        (lambda client: client.attach(pid=7, ratio="3"), "ratio: "),
        (lambda client: client.attach(pid=7, on_loss="panic"), "on_loss: 'panic' is none of: wait, poison"),
        (lambda client: client.attach(pid=7, transport=""), "transport: '' is none of: auto, tcp, rdma"),
        (lambda client: client.attach(pid=7, transport="ib"), "transport: 'ib' is none of: auto, tcp, rdma"),
        (lambda client: client.attach(pid=7, domain="vm1").result(), "exactly one|both|domain"),
        (lambda client: client.attach().result(), "pid|domain"),
        (lambda client: client.resolve("vm1", "pray"), "how: 'pray' is none of: ask-again, poison, zero"),
        (lambda client: client.steer("vm1", mode="slow"), "mode: 'slow' is none of"),
        (lambda client: client.steer("vm1", downtime_goal_ms=-1), "downtime_goal_ms: -1 is negative"),
    ],
)
def test_values_that_are_wrong(fake: Callable[..., Fake], call: Callable[[heca.Client], object], says: str) -> None:
    with heca.Client(fake().socket) as client, pytest.raises(heca.InvalidArgument, match=says):
        call(client)


def test_types_that_are_wrong(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake().socket) as client:
        with pytest.raises(TypeError, match="size: a size is a number of bytes or a text"):
            client.limit("vm1", 1.5)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            client.region(7)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="pid: 'vm1' is not of the type"):
            client.attach(pid="vm1")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="ratio: 3 is not of the type"):
            client.attach(pid=7, ratio=3)  # type: ignore[arg-type]
    with pytest.raises(heca.InvalidArgument, match="timeout"):
        heca.Client(timeout=0)
