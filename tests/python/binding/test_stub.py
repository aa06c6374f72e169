# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stub of the extension names what is in the extension, and nothing else."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from heca import _core

STUB = ast.parse((Path(str(sys.modules["heca"].__file__)).parent / "_core.pyi").read_text())


def public(names: list[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_names() -> None:
    declared: set[str] = set()
    for node in STUB.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            declared.add(node.target.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            declared.add(node.name)
    assert declared == public(dir(_core))


def test_methods() -> None:
    classes = [node for node in STUB.body if isinstance(node, ast.ClassDef)]
    assert len(classes) == 4
    for node in classes:
        methods = public([item.name for item in node.body if isinstance(item, ast.FunctionDef)])
        assert methods and methods == public(dir(getattr(_core, node.name))), node.name
