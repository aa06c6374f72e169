# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).resolve().parents[2]


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=180, cwd=PLUGIN)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(240)  # Nova is imported anew
def test_nova_finds_the_driver_below_its_own_name() -> None:
    printed = run("import heca_nova.alias as a; a.install(); a.install()\n"
                  "import sys; assert sum(type(f).__name__ == '_Finder' for f in sys.meta_path) == 1\n"
                  "from oslo_utils import importutils\n"
                  "print(importutils.import_class('nova.virt.heca.HecaLibvirtDriver').__module__)\n"
                  "from nova.virt.libvirt.driver import LibvirtDriver\n")
    assert printed == "heca_nova.driver\n"


def test_every_other_process_imports_next_to_nothing() -> None:
    printed = run("import sys; before = set(sys.modules)\n"
                  "exec(open('heca_nova.pth').read())\n"
                  "print(sorted(name for name in set(sys.modules) - before if '.' not in name))\n")
    assert set(ast.literal_eval(printed)) <= {"heca_nova", "__future__", "importlib", "warnings", "collections", "types"}


def test_other_names_are_not_answered_for() -> None:
    run("import heca_nova.alias as a; a.install()\n"
        "import importlib.util as u; assert u.find_spec('nova_virt_heca') is None\n")
