# SPDX-License-Identifier: LGPL-2.1-or-later
"""Says why the other tests of this directory are not here, where they are not."""

from __future__ import annotations

import pytest
from programs import BUILD


def test_the_extension_is_built() -> None:
    if not any((BUILD / "python/heca").glob("_core*.so")):
        pytest.skip(f"{BUILD}/python/heca has no _core: tools/build dev _core")
    import heca

    assert heca.__version__
