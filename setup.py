# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Python package heca. What is fixed about it is in pyproject.toml; this builds its extension by CMake.

What the extension links (gRPC and the rest) is the host's: tools/install-packages names it. So a wheel is for hosts of the
same distribution, not for PyPI. CMAKE_ARGS are given on to CMake. HECA_PYTHON_BUILD names a build directory that is
configured already, such as build/dev.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))


def version() -> str:
    found = re.search(r"^project\(\w+ VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("CMakeLists.txt has no project(... VERSION ...)")
    return found.group(1)


def configure(tree: Path) -> None:
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DHECA_TESTS=OFF", "-DHECA_PYTHON=ON", f"-DPython_EXECUTABLE={sys.executable}"]
    try:
        import pybind11  # the one of pyproject.toml; without build isolation the host's, which CMake finds by itself

        options.append(f"-Dpybind11_DIR={pybind11.get_cmake_dir()}")
    except ImportError:
        pass
    options += shlex.split(os.environ.get("CMAKE_ARGS", ""))
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    subprocess.run(["cmake", "-S", str(ROOT), "-B", str(tree), *generator, *options], check=True)


class BuildByCMake(build_ext):
    def build_extension(self, ext: Extension) -> None:
        given = os.environ.get("HECA_PYTHON_BUILD")
        tree = Path(given) if given else ROOT / "build" / f"python{SUFFIX.removesuffix('.so')}"
        if not given:
            configure(tree)
        subprocess.run(["cmake", "--build", str(tree), "--parallel", str(os.cpu_count()), "--target", "_core"], check=True)
        made = tree / "python" / "heca" / f"_core{SUFFIX}"
        if not made.exists():
            raise SystemExit(f"{tree} has made no {made.name}: it is for another Python than {sys.executable}")
        wanted = Path(self.get_ext_fullpath(ext.name))
        wanted.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, wanted)


setup(
    version=version(),
    packages=["heca"],
    package_dir={"heca": "pybind/heca"},
    package_data={"heca": ["py.typed", "*.pyi"]},
    ext_modules=[Extension("heca._core", sources=[])],
    cmdclass={"build_ext": BuildByCMake},
    zip_safe=False,
)
