# SPDX-License-Identifier: Apache-2.0
"""One run of Nova's own tests, in one process: python -m tests.nova_own.run OUTCOMES swap|keep [PATTERN]

`swap`: `nova.virt.libvirt.driver.LibvirtDriver` is HecaLibvirtDriver. OUTCOMES becomes JSON: {test id: outcome}. With
unittest's own runner: Nova's test cases empty themselves when they are done, which pytest does not survive.
"""

from __future__ import annotations

import json
import os
import sys
import types
import unittest
from pathlib import Path
from typing import Any

MODULES = ["nova.tests.unit.virt.libvirt.test_driver", "nova.tests.unit.virt.test_virt_drivers",
           "nova.tests.unit.virt.libvirt.test_migration", "nova.tests.unit.virt.libvirt.volume.test_volume"]


class _Globals(dict):  # type: ignore[type-arg]
    """A module's globals as they are at each look, but for one name."""

    def __init__(self, module: types.ModuleType, name: str, value: Any) -> None:
        super().__init__(__builtins__=module.__dict__["__builtins__"])
        self._module, self._name, self._value = module.__dict__, name, value

    def __getitem__(self, key: str) -> Any:
        return self._value if key == self._name else self._module[key]


def swap() -> None:
    """Nova 26 says super(LibvirtDriver, self) in __init__, which would find itself: there the name stays the parent's."""
    import nova.virt.libvirt
    from nova.virt.libvirt import driver

    from heca_nova.driver import HecaLibvirtDriver

    parent = driver.LibvirtDriver
    init = parent.__init__
    parent.__init__ = types.FunctionType(init.__code__, _Globals(driver, "LibvirtDriver", parent), init.__name__,
                                         init.__defaults__, init.__closure__)
    # Nova's fixtures replace static methods where they lie, and take one that is inherited for an ordinary method.
    for name, value in vars(parent).items():
        if isinstance(value, staticmethod | classmethod) and name not in vars(HecaLibvirtDriver):
            setattr(HecaLibvirtDriver, name, value)
    driver.LibvirtDriver = HecaLibvirtDriver
    nova.virt.libvirt.LibvirtDriver = HecaLibvirtDriver
    ours = HecaLibvirtDriver.__init__

    def counted(self: Any, *args: Any, **kwargs: Any) -> None:
        made.append(type(self).__name__)
        ours(self, *args, **kwargs)

    HecaLibvirtDriver.__init__ = counted


made: list[str] = []  # drivers of ours: without any, nothing was tested


class Outcomes(unittest.TestResult):
    """Notes the worst that each test came to, and why it failed, for people."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, str] = {}
        self.why: dict[str, str] = {}

    def _note(self, test: Any, outcome: str, error: Any = None) -> None:
        if self.seen.get(test.id()) != "failed":
            self.seen[test.id()] = outcome
        if error is not None:
            self.why[test.id()] = self._exc_info_to_string(error, test)[-2000:]

    def addSuccess(self, test: Any) -> None:
        self._note(test, "passed")

    def addFailure(self, test: Any, err: Any) -> None:
        self._note(test, "failed", err)

    def addError(self, test: Any, err: Any) -> None:
        self._note(test, "failed", err)

    def addSkip(self, test: Any, reason: str) -> None:
        self._note(test, "skipped")

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self._note(test, "passed")

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._note(test, "failed")


def main() -> None:
    path, how, *pattern = sys.argv[1:]
    import nova.tests.unit  # noqa: F401 - patches threads, where this Nova does, before anything else is imported

    if how == "swap":
        swap()
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{part}*" for part in pattern] or None
    tests = loader.loadTestsFromNames(MODULES)
    if loader.errors:
        raise SystemExit("\n".join(loader.errors))
    result = Outcomes()
    tests.run(result)
    Path(path).write_text(json.dumps({"seen": result.seen, "why": result.why, "drivers": len(made)}), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # threads that tests have left behind keep nobody


if __name__ == "__main__":
    main()
