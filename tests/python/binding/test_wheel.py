# SPDX-License-Identifier: LGPL-2.1-or-later
"""pip: the package is built through CMake and works in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Fake
from programs import BUILD, ROOT

USE = "import heca, sys; print(heca.__version__, heca.Client(sys.argv[1]).about().name, heca.__file__)"


def run(*command: object, seconds: float, **environment: str) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=seconds, cwd=ROOT,
                          env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def works(wheel: Path, home: Path, hecad: Fake) -> None:
    """Installed where nothing else is."""
    assert {"heca/py.typed", "heca/_core.pyi", "heca/client.py"} <= set(zipfile.ZipFile(wheel).namelist())
    run(sys.executable, "-m", "venv", home, seconds=60)
    run(home / "bin/pip", "install", "--no-index", wheel, seconds=60)
    version, name, path = run(home / "bin/python", "-I", "-c", USE, hecad.socket, seconds=20).split()
    assert version in wheel.name and name and path.startswith(str(home))


def test_a_wheel_of_the_build_under_test(fake: Callable[..., Fake], tmp_path: Path) -> None:
    """About 15 s. Needs no network: Debian's setuptools, and what is compiled already."""
    wheels = tmp_path / "wheels"
    run(sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", wheels, ROOT,
        seconds=300, HECA_PYTHON_BUILD=str(BUILD))
    (wheel,) = wheels.glob("heca-*.whl")
    works(wheel, tmp_path / "venv", fake())


@pytest.mark.long
def test_a_wheel_of_the_source_distribution(fake: Callable[..., Fake], tmp_path: Path) -> None:
    """As a user has it: everything compiled, ten minutes of CPU where no cache has it. setuptools and pybind11 from PyPI."""
    run(sys.executable, "setup.py", "-q", "sdist", "-d", tmp_path, seconds=60)
    (source,) = tmp_path.glob("heca-*.tar.gz")
    wheels = tmp_path / "wheels"
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", wheels, source, seconds=3600)
    (wheel,) = wheels.glob("heca-*.whl")
    works(wheel, tmp_path / "venv", fake())
