# SPDX-License-Identifier: Apache-2.0
"""Installed as a wheel and editable, Nova finds the driver and the validators. Takes pip, and hatchling from PyPI; about
ten seconds each."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import pytest

PLUGIN = Path(__file__).resolve().parents[2]

# A stand-in for Nova: what counts is where the modules are found, not what is in them.
NOVA = {"nova/__init__.py": "", "nova/virt/__init__.py": "", "nova/virt/libvirt/__init__.py": ""}
LOOK = """
import importlib.util, sys
spec = importlib.util.find_spec("nova.virt.heca")
assert spec is not None and spec.origin.endswith("heca_nova/nova_virt_heca.py"), spec
assert importlib.util.find_spec("nova.virt.other") is None
assert "heca_nova.driver" not in sys.modules
from importlib.metadata import entry_points
(entry,) = [e for e in entry_points(group="nova.api.extra_spec_validators") if e.name == "heca"]
assert entry.value == "heca_nova.validators"
print("fine")
"""


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["wheel", "editable"])
@pytest.mark.timeout(600)
def test_nova_finds_what_is_installed(how: str, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    site = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])").strip())
    for name, text in NOVA.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    if how == "wheel":
        run(python, "-m", "pip", "-q", "wheel", "--no-deps", "-w", tmp_path, PLUGIN)
        (wheel,) = tmp_path.glob("heca_nova-*.whl")
        run(python, "-m", "pip", "-q", "install", "--no-deps", wheel)
    else:
        run(python, "-m", "pip", "-q", "install", "--no-deps", "-e", PLUGIN)
    assert run(python, "-c", LOOK) == "fine\n"
    run(python, "-m", "pip", "-q", "uninstall", "-y", "heca-nova")
    assert run(python, "-c", "import importlib.util as u; print(u.find_spec('nova.virt.heca'))") == "None\n"
