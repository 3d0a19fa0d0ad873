# SPDX-License-Identifier: MIT
"""What is to be done when, by one thread, so that processes may be started at any time."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from itertools import count

__all__ = ["Schedule"]


class Schedule:
    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), call))

    def every(self, pause: Callable[[], float], call: Callable[[], None]) -> None:
        def again() -> None:
            call()
            self.later(pause(), again)

        self.later(pause(), again)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            if self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            else:
                time.sleep(max(0.0, min(self._due[0][0] if self._due else end, end) - now))
