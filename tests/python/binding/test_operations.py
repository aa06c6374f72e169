# SPDX-License-Identifier: LGPL-2.1-or-later
"""Operations: progress, results, cancelling, and who keeps whom alive."""

from __future__ import annotations

import gc
import threading
import time
import warnings
from collections.abc import Callable

import heca
import pytest
from conftest import Fake
from lab.deadline import wait_until


def ends_cancelled(client: heca.Client, count: int = 1) -> None:
    """The fake has heard that nobody waits for its endless operation any more."""
    wait_until(lambda: sum(event.text == "cancelled" for event in client.events()) >= count, 5, "cancelled at hecad")


def test_progress_then_the_result(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake("steps=30").socket) as client:
        operation = client.attach(pid=7, region="vm1")
        seen = list(operation)
        assert seen and all(one.phase == "write-back" and one.total == 30 << 20 for one in seen)
        assert [one.done for one in seen] == sorted({one.done for one in seen})
        assert operation.done and operation.result() == operation.result()
        assert operation.result(timeout=0).name == "vm1"
        assert list(operation) == []


def test_iterating_tells_the_error(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake().socket) as client:
        operation = client.detach("vm1")
        with pytest.raises(heca.NotFound):
            list(operation)
        with pytest.raises(heca.NotFound):
            operation.result()


def test_a_wait_with_an_end(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake("endless").socket) as client:
        operation = client.attach(pid=7)
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="goes on"):
            operation.result(timeout=0.3)
        assert 0.3 <= time.monotonic() - began < 2
        assert not operation.done and next(operation).phase == "capture"
        operation.cancel()
        with pytest.raises(heca.Aborted):
            operation.result()
        ends_cancelled(client)


def test_as_a_context_manager(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake("steps=5").socket) as client:
        with client.attach(pid=7, region="vm1"):
            pass
        assert client.region("vm1").pid == 7
        with pytest.raises(heca.AlreadyExists):
            with client.attach(pid=7, region="vm1"):
                pass
    with heca.Client(fake("endless").socket) as client:
        with pytest.raises(ZeroDivisionError):
            with client.attach(pid=7) as operation:
                raise ZeroDivisionError
        assert operation.done
        ends_cancelled(client)


def test_a_forgotten_one_is_cancelled_aloud(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake("endless").socket) as client:
        with pytest.warns(ResourceWarning, match="neither waited for nor cancelled"):
            client.attach(pid=7)
            gc.collect()
        ends_cancelled(client)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            client.attach(pid=7).cancel()
            gc.collect()
        ends_cancelled(client, 2)


def test_children_keep_their_parents(fake: Callable[..., Fake]) -> None:
    first, second = fake("steps=50"), fake()
    operation = heca.Client(first.socket).attach(pid=7, region="vm1")
    stream = heca.Client(second.socket).events(follow=True)
    gc.collect()
    assert next(stream).sequence == 1
    assert operation.result().name == "vm1"
    stream.close()


def test_closing_ends_what_is_under_way(fake: Callable[..., Fake]) -> None:
    hecad = fake("endless")
    client = heca.Client(hecad.socket)
    operation, stream = client.attach(pid=7), client.events(since=99, follow=True)
    errors: list[BaseException] = []

    def wait(what: Callable[[], object]) -> None:
        try:
            what()
        except BaseException as error:
            errors.append(error)

    waits: list[Callable[[], object]] = [operation.result, lambda: list(stream)]
    threads = [threading.Thread(target=wait, args=(what,)) for what in waits]
    for thread in threads:
        thread.start()
    client.close()
    client.close()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert [type(error) for error in errors] == [heca.Aborted, heca.Aborted]
    assert client.closed
    for call in (client.about, client.regions, lambda: client.attach(pid=7), client.events):
        with pytest.raises(heca.FailedPrecondition, match="this client is closed"):
            call()
    with heca.Client(hecad.socket) as other:
        ends_cancelled(other)


def test_closing_ends_a_question(fake: Callable[..., Fake]) -> None:
    hecad = fake()
    hecad.stop_answering()
    client = heca.Client(hecad.socket)
    errors: list[heca.Error] = []

    def ask() -> None:
        try:
            client.about()
        except heca.Error as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)  # it waits for an answer by now; if not, close comes first, and the assertion fails
    began = time.monotonic()
    client.close()
    thread.join(5)
    assert time.monotonic() - began < 1
    assert [type(error) for error in errors] == [heca.Aborted]


def test_many_at_once(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake("steps=20").socket) as client:
        operations = [client.attach(pid=100 + i, region=f"vm{i}") for i in range(20)]
        assert [operation.result().pid for operation in operations] == [100 + i for i in range(20)]
        assert len(client.regions()) == 20
