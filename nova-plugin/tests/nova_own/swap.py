# SPDX-License-Identifier: Apache-2.0
"""pytest plugin: `nova.virt.libvirt.driver.LibvirtDriver` is HecaLibvirtDriver, and outcomes are written to a file.

HECA_SWAP=1 swaps; HECA_OUTCOMES names the file, a line each: OUTCOME NODEID.
"""

from __future__ import annotations

import os
import types
from typing import Any


class _Globals(dict):  # type: ignore[type-arg]
    """A module's globals as they are at each look, but for one name."""

    def __init__(self, module: types.ModuleType, name: str, value: Any) -> None:
        super().__init__(__builtins__=module.__dict__["__builtins__"])
        self._module, self._name, self._value = module.__dict__, name, value

    def __getitem__(self, key: str) -> Any:
        return self._value if key == self._name else self._module[key]


def swap() -> None:
    """Nova 26 says super(LibvirtDriver, self) in __init__, which would find itself: there the name stays the parent's."""
    from nova.virt.libvirt import driver

    from heca_nova.driver import HecaLibvirtDriver

    parent = driver.LibvirtDriver
    if parent is HecaLibvirtDriver:
        return
    init = parent.__init__
    made = types.FunctionType(init.__code__, _Globals(driver, "LibvirtDriver", parent), init.__name__, init.__defaults__,
                              init.__closure__)
    parent.__init__ = made
    driver.LibvirtDriver = HecaLibvirtDriver
    import nova.virt.libvirt

    nova.virt.libvirt.LibvirtDriver = HecaLibvirtDriver


def pytest_configure(config: Any) -> None:
    import nova.tests.unit  # noqa: F401 - patches threads, where this Nova does, before anything else is imported

    if os.environ.get("HECA_SWAP") == "1":
        swap()


def pytest_runtest_logreport(report: Any) -> None:
    path = os.environ.get("HECA_OUTCOMES")
    if path is None or os.environ.get("PYTEST_XDIST_WORKER"):
        return
    if report.when == "call" or report.outcome != "passed":
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{report.outcome} {report.nodeid}\n")
