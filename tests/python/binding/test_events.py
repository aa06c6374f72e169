# SPDX-License-Identifier: LGPL-2.1-or-later
"""Streams of events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import heca
import pytest
from conftest import Fake


def test_what_is_kept_and_what_comes(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake("endless").socket) as client:
        assert [event.sequence for event in client.events()] == [1]
        with client.events(since=1, follow=True) as stream:
            client.attach(pid=7).cancel()
            event = next(stream)
            assert (event.sequence, event.text) == (2, "cancelled")
        assert list(stream) == []


def test_another_thread_ends_it(fake: Callable[..., Fake]) -> None:
    with heca.Client(fake().socket) as client:
        stream = client.events(follow=True)
        seen: list[heca.Event] = []
        thread = threading.Thread(target=lambda: seen.extend(stream))
        thread.start()
        deadline = time.monotonic() + 5
        while not seen and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.monotonic()
        stream.close()
        stream.close()
        thread.join(5)
        assert not thread.is_alive() and time.monotonic() - began < 1
        assert [event.sequence for event in seen] == [1]


def test_a_hecad_that_goes_is_told(fake: Callable[..., Fake]) -> None:
    hecad = fake()
    with heca.Client(hecad.socket) as client:
        stream = client.events(follow=True)
        assert next(stream).sequence == 1
        hecad.process.kill()
        with pytest.raises(heca.Unavailable):
            next(stream)
