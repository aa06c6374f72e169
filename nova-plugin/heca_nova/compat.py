# SPDX-License-Identifier: Apache-2.0
"""Every private symbol of Nova on which this package leans, with the releases in which it was looked at; and what
differs between releases and between their ways of running threads.

A symbol that a new release has lost is said at start-up by `check`, and by the unit tests, which run against each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from nova import version
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import guest as libvirt_guest

# Nova 26.2 (Zed, Debian 12, eventlet) and 34.0 (2026.2, native threads or eventlet).
CHECKED_ON = ("26.2.2", "34.0.0")

# Methods of LibvirtDriver, private ones, that are overridden: (name, position of the instance in the arguments).
OVERRIDDEN = {
    "_get_guest_xml": 1,  # (context, instance, ...) -> str; every start but unrescue and resume takes its XML from here
    "_create_guest": 2,  # (context, xml, instance, ...) -> Guest; every start but that of a soft reboot passes here
    "_resume_guest_after_snapshot": 3,  # (context, live, power_state, instance, guest); launches without _create_guest
    "_live_migration_operation": 1,  # (context, instance, dest, block_migration, migrate_data, guest, device_names)
    "_live_migration_monitor": 1,  # (context, instance, guest, ...)
}
GUEST_OF_OPERATION = 5
GUEST_OF_MONITOR = 2

# Attributes of LibvirtDriver and of its parts that are used.
USED = (
    "_host",  # nova.virt.libvirt.host.Host: get_guest, list_all_devices, _wrap_libvirt_proxy
    "active_migrations",  # {instance uuid: deque}: a live migration is led by libvirt now
    "vif_driver",  # nova.virt.libvirt.vif: get_config
)

Result = TypeVar("Result")


def check(driver: Any) -> list[str]:
    """Names that this Nova does not have. For the log: the driver starts all the same."""
    base = libvirt_driver.LibvirtDriver
    return [name for name in OVERRIDDEN if not callable(getattr(base, name, None))] + [
        name for name in USED if not hasattr(driver, name)]


def argument(args: Sequence[Any], kwargs: Mapping[str, Any], name: str, position: int) -> Any:
    """Of a method that is overridden with (*args, **kwargs); `position` does not count self. None: not given."""
    if name in kwargs:
        return kwargs[name]
    return args[position] if position < len(args) else None


def field(data: Any, name: str) -> Any:
    """Of an object of Nova's. None: there is no object, or the field is not set."""
    try:
        return getattr(data, name)
    except (AttributeError, NotImplementedError):
        return None


def replaced(args: Sequence[Any], kwargs: Mapping[str, Any], name: str, position: int,
             value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments with another value for one of them."""
    if name in kwargs:
        return tuple(args), {**kwargs, name: value}
    return (*args[:position], value, *args[position + 1:]), dict(kwargs)


def instance_of(method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The instance among the arguments of an overridden private method."""
    return argument(args, kwargs, "instance", OVERRIDDEN[method])


def starts(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether these arguments of _create_guest start the domain, and do not only define it: (context, xml, instance,
    power_on=True, pause=False, ...)."""
    power_on = argument(args, kwargs, "power_on", 3)
    return power_on is None or bool(power_on) or bool(argument(args, kwargs, "pause", 4))


def libvirt() -> Any:
    """The binding as Nova has imported it, which is None where it is not installed."""
    return libvirt_driver.libvirt


def domain_of(guest: Any) -> Any:
    """libvirt's virDomain of a nova.virt.libvirt.guest.Guest, which keeps it to itself. (26.2, 34.0)"""
    return guest._domain


def job(kind: int) -> Any:
    """As Guest.get_job_info returns it."""
    return libvirt_guest.JobInfo(type=kind)


def is_green() -> bool:
    """Whether all of nova-compute is one thread of the operating system, by eventlet."""
    try:
        from eventlet import patcher
    except ImportError:
        return False
    return bool(patcher.is_monkey_patched("thread"))


def _release() -> int:
    """Nova's: 26 is Zed; 0 where it does not tell."""
    number = version.version_string().split(".")[0]
    return int(number) if number.isdigit() else 0


def ask_devices_in_native_threads(host: Any) -> None:
    """Of a nova.virt.libvirt.host.Host. Before Nova 31 (or a repaired one of 28 to 30) each of the host's devices is asked
    what it can do in the only thread that there is (Launchpad bug 2091033). That answer may not come before a live migration
    ends, and until then nova-compute hears nothing: no force-complete, no abort, no event."""
    if not is_green() or _release() >= 31:
        return
    inner, wrap = host.list_all_devices, host._wrap_libvirt_proxy

    def list_all_devices(*args: Any, **kwargs: Any) -> list[Any]:
        return [wrap(device) for device in inner(*args, **kwargs)]

    host.list_all_devices = list_all_devices


def in_native_thread(work: Callable[[], Result]) -> Result:
    """Runs what blocks a thread of the operating system: every call of hecad's binding.

    Under eventlet all of nova-compute is one such thread, so the call goes to eventlet's pool of real ones; where Nova
    runs native threads it is made at once.
    """
    if not is_green():
        return work()
    from eventlet import tpool

    return tpool.execute(work)


def in_background(name: str, work: Callable[[], None]) -> None:
    """A thread in whatever way this process has them: eventlet has replaced threading by its own where it is used."""
    threading.Thread(target=work, name=name, daemon=True).start()


def network_api() -> Any:
    from nova.network import neutron

    return neutron.API()


def compute_rpc() -> Any:
    """For other hosts' nova-compute."""
    from nova.compute import rpcapi

    return rpcapi.ComputeAPI()


def placement() -> Any:
    from nova.scheduler.client import report

    return report.report_client_singleton()
