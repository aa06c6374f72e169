# SPDX-License-Identifier: LGPL-2.1-or-later
"""Exceptions: one for each code of the core, as it was raised there."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import heca
import pytest
from played_hecad import Fake
from heca import _core
from heca.errors import Error, from_status


def class_name(code: str) -> str:
    return "".join(part.capitalize() for part in code.split("_"))


def test_each_code_has_its_exception_and_no_other_is_there() -> None:
    assert list(Error.by_code) == _core.error_codes()
    for code, kind in Error.by_code.items():
        assert kind.__name__ == class_name(code) and kind.__doc__
        assert getattr(heca, kind.__name__) is kind and kind.__name__ in heca.__all__


@pytest.mark.parametrize("number", range(1, len(_core.error_codes()) + 1))
def test_as_hecad_says_it(fake: Callable[..., Fake], number: int) -> None:
    code = _core.error_codes()[number - 1]
    with heca.Client(fake(f"fail={number}").socket) as client:
        with pytest.raises(Error, match="VM 'x' cannot be governed: do this first") as caught:
            client.regions()
        assert type(caught.value) is Error.by_code[code]
        assert caught.value.code == code and caught.value.scope == "none" and caught.value.errno == 0
        assert caught.value.retryable == (code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "BUSY"))
        with pytest.raises(type(caught.value)):
            client.attach(pid=7).result()


def test_scope(fake: Callable[..., Fake], tmp_path: Path) -> None:
    with heca.Client(fake().socket) as client, pytest.raises(heca.NotFound, match="no region vm1") as caught:
        client.region("vm1")
    assert caught.value.scope == "region" and not caught.value.retryable
    with heca.Client(tmp_path / "nobody.sock") as client, pytest.raises(heca.Unavailable) as away:
        client.about()
    assert away.value.scope == "connection" and away.value.retryable
    assert "is hecad running" in str(away.value)


def test_a_code_of_a_newer_core_and_a_journey_between_processes() -> None:
    error = from_status("TIRED", "node", True, 4, "come back tomorrow")
    assert type(error) is Error and error.code == "TIRED"
    for one in (error, from_status("BUSY", "page", True, 11, "soon")):
        twin = pickle.loads(pickle.dumps(one))
        assert type(twin) is type(one) and str(twin) == str(one)
        assert (twin.code, twin.scope, twin.retryable, twin.errno) == (one.code, one.scope, one.retryable, one.errno)


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("call", [lambda client: client.regions(), lambda client: client.attach(pid=7).result(),
                                  lambda client: list(client.events())], ids=["regions", "attach", "events"])
def test_a_restart_that_nobody_saw_costs_no_call(
    fake: Callable[..., Fake], call: Callable[[heca.Client], object], killed: bool
) -> None:
    first = fake()
    with heca.Client(first.socket) as client:
        client.about()
        if killed:
            first.process.kill()
        first.close()
        second = Fake(first.socket)
        try:
            call(client)
        finally:
            second.close()
