# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import inspect
import threading

import pytest
from nova.virt.libvirt.driver import LibvirtDriver

from heca_nova import compat

try:
    import eventlet
    from eventlet import patcher

    _thread_ident = patcher.original("threading").get_ident  # of the operating system's thread
except ImportError:
    eventlet = None
    _thread_ident = threading.get_ident


def names(method: str) -> list[str]:
    return [name for name in inspect.signature(getattr(LibvirtDriver, method)).parameters if name != "self"]


@pytest.mark.parametrize("method", sorted(compat.OVERRIDDEN))
def test_the_instance_is_where_it_is_taken_from(method: str) -> None:
    assert names(method)[compat.OVERRIDDEN[method]] == "instance"


def test_so_are_the_guest_and_whether_it_starts() -> None:
    assert names("_live_migration_operation")[compat.GUEST_OF_OPERATION] == "guest"
    assert names("_live_migration_monitor")[compat.GUEST_OF_MONITOR] == "guest"
    assert names("_create_guest")[3:5] == ["power_on", "pause"]


def test_arguments_by_place_and_by_name() -> None:
    assert compat.argument((1, 2), {}, "b", 1) == 2
    assert compat.argument((1,), {"b": 3}, "b", 1) == 3
    assert compat.argument((1,), {}, "b", 1) is None
    assert compat.replaced((1, 2, 3), {"x": 1}, "b", 1, 9) == ((1, 9, 3), {"x": 1})
    assert compat.replaced((1,), {"b": 2}, "b", 1, 9) == ((1,), {"b": 9})


def test_work_is_done_here_where_threads_are_native_and_what_it_raises_comes_through() -> None:
    native = eventlet is None or not patcher.is_monkey_patched("thread")  # Nova 26 patches when it is imported
    assert (compat.in_native_thread(_thread_ident) == _thread_ident()) is native
    with pytest.raises(KeyError):
        compat.in_native_thread(lambda: {}["x"])


def test_in_the_background() -> None:
    done = threading.Event()
    compat.in_background("x", done.set)
    assert done.wait(10)
