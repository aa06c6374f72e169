# SPDX-License-Identifier: Apache-2.0
"""One attempt to move a server here at a time: what the next one waits for, and for how long."""

from __future__ import annotations

import time
import types
from collections.abc import Callable
from typing import Any

import pytest
from nova import exception

from heca_nova.ops.prepared import PreparedMigrations

from .conftest import make_instance

OWN_DISKS = types.SimpleNamespace(is_shared_instance_path=False)


class NotSet:
    """As an object of Nova's whose field is not set."""

    @property
    def is_shared_instance_path(self) -> bool:
        raise NotImplementedError("Cannot load 'is_shared_instance_path' in the base class")


@pytest.fixture
def prepared(options: Any, quick: None) -> PreparedMigrations:
    return PreparedMigrations(options)


def takes(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_what_nobody_clears_up_is_waited_for_and_no_longer(prepared: PreparedMigrations) -> None:
    instance = make_instance()
    assert prepared.prepare(instance, OWN_DISKS, lambda: "ready") == "ready"
    assert 0.5 <= takes(lambda: prepared.prepare(instance, OWN_DISKS, lambda: None)) < 5


@pytest.mark.parametrize("data", [types.SimpleNamespace(is_shared_instance_path=True), NotSet(), None],
                         ids=["shared", "not-set", "none"])
def test_where_nova_clears_nothing_up_nothing_is_waited_for(prepared: PreparedMigrations, data: Any) -> None:
    instance = make_instance()
    prepared.prepare(instance, data, lambda: None)
    assert takes(lambda: prepared.prepare(instance, OWN_DISKS, lambda: None)) < 0.4


def test_an_attempt_that_was_not_prepared_is_cleared_up_too(prepared: PreparedMigrations) -> None:
    instance = make_instance()

    def fails() -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        prepared.prepare(instance, OWN_DISKS, fails)
    assert takes(lambda: prepared.prepare(instance, OWN_DISKS, lambda: None)) >= 0.5
    with pytest.raises(ValueError, match="late"), prepared.ending(instance):
        raise ValueError("late")  # what fails at the end has ended as well
    assert takes(lambda: prepared.prepare(instance, OWN_DISKS, lambda: None)) < 0.4


def test_a_directory_that_is_being_removed_is_waited_for(prepared: PreparedMigrations) -> None:
    """By a nova-compute that was restarted, and knows of no attempt."""
    there = 3

    def prepare() -> str:
        nonlocal there
        there -= 1
        if there:
            raise exception.DestinationDiskExists(path="/var/lib/nova/instances/x")
        return "ready"

    assert prepared.prepare(make_instance(), OWN_DISKS, prepare) == "ready"


def test_a_directory_that_stays_is_novas_error(prepared: PreparedMigrations) -> None:
    def prepare() -> None:
        raise exception.DestinationDiskExists(path="/var/lib/nova/instances/x")

    with pytest.raises(exception.DestinationDiskExists):
        prepared.prepare(make_instance(), OWN_DISKS, prepare)
