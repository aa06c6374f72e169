# SPDX-License-Identifier: Apache-2.0
"""`nova.virt.heca`, as which Nova loads the driver.

Nova looks for compute drivers below `nova.virt` only, and that is an ordinary package (a namespace package before
Nova 31), so another distribution cannot put a module there. A finder at the end of sys.meta_path answers for that one
name. It is put there by heca_nova.pth, at the start of every Python process: it imports nothing and reads no file
before somebody asks for the name.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing itself would be imported by every process
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

NAME = "nova.virt.heca"


class _Finder:
    """Answers for NAME with the file beside this one."""

    def find_spec(self, fullname: str, path: Sequence[str] | None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != NAME:
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(fullname, __file__.replace("alias.py", "nova_virt_heca.py"))


def install() -> None:
    """Once a process, however often it is called."""
    if not any(type(finder).__name__ == "_Finder" and type(finder).__module__ == __name__
               for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
