# SPDX-License-Identifier: LGPL-2.1-or-later
"""What shows that nobody sits on the GIL."""

from __future__ import annotations

import threading


class Spinner:
    """A thread that only computes: it goes on only while nobody sits on the GIL."""

    def __init__(self) -> None:
        self.turns = 0
        self._stop = False
        self._thread = threading.Thread(target=self._spin)

    def _spin(self) -> None:
        while not self._stop:
            self.turns += 1

    def __enter__(self) -> Spinner:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join(5)
