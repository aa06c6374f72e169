# SPDX-License-Identifier: LGPL-2.1-or-later
"""heca's Python packages for the services of the lab's cloud: the binding of the build under test, the Nova driver and the
client's plugin, installed by pip into a directory of their own. Nothing of it is in the machine's Python.

The directory is a user base (PYTHONUSERBASE): like site-packages it may have .pth files, by one of which Nova finds the
driver, and PYTHONPATH may not.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from lab.deadline import LabError
from lab.paths import BUILD, LAB, ROOT

BASE = LAB / "openstack-python"
PLUGIN = ROOT / "nova-plugin"
BINDING = BUILD / "python"
# What tools leave in a source tree, and what is not installed.
APART = ("tests", "build", "*.egg-info", "__pycache__", ".*")


def _site() -> Path:
    return Path(sysconfig.get_path("purelib", "posix_user", {"userbase": str(BASE)}))


def _copy(into: Path) -> Path:
    """The sources, since pip builds where they are."""
    return Path(shutil.copytree(PLUGIN, into, ignore=shutil.ignore_patterns(*APART)))


def _key(sources: Path) -> str:
    digest = hashlib.sha256(str(BINDING).encode())
    for path in sorted(path for path in sources.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(sources)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _install(sources: Path) -> None:
    shutil.rmtree(BASE, ignore_errors=True)
    site = _site()
    site.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(sources),
               str(sources / "osc")]
    made = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if made.returncode != 0:
        raise LabError(f"{' '.join(command)}: exit {made.returncode}: {made.stderr[-2000:]}")
    (site / "heca-binding.pth").write_text(f"{BINDING}\n")


def install() -> dict[str, str]:
    """What a program needs in its environment to have them; installed anew if a source of theirs has changed."""
    if not list(BINDING.glob("heca/_core*.so")):
        raise LabError(f"no Python binding in {BINDING}: build the target _core")
    done = BASE / "key"
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        sources = _copy(Path(scratch) / "nova-plugin")
        key = _key(sources)
        if not done.exists() or done.read_text() != key:
            _install(sources)
            done.write_text(key)
    return {"PYTHONUSERBASE": str(BASE)}
