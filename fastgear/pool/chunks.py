# SPDX-License-Identifier: MIT
"""How many tasks go together: as many as take a few milliseconds, by what those before them took.

One at first, since nothing is known; then at most eight times as many as the largest frame that has come back; fewer
towards a known end, so that all workers end together. Never so many that the thread that packs and unpacks them keeps all
workers waiting meanwhile.
"""

from __future__ import annotations

__all__ = ["MOST_BYTES", "Sizer"]

MOST_BYTES = 4 << 20  # of large buffers in one frame, so that the memory for them stays small, and is used again

_TARGET_NS = 4_000_000
_FLOOR_NS = 200_000  # towards the end: a frame costs some ten microseconds itself
_GROWTH = 8
_MOST = 8192  # tasks
_KEPT = 0.7  # of what is known, with each frame that comes back


class Sizer:
    """Of tasks of one kind. `least` is the chunksize that somebody asked for, so that frames are multiples of it."""

    def __init__(self, workers: int, least: int = 1) -> None:
        self._workers = workers
        self._least = least
        self._ns = self._tasks = 0.0  # of the last frames, the newest counting most
        self._largest = 0
        self._mean_bytes = 0.0

    @property
    def mean_ns(self) -> float:
        """Of a task; 0 before the first has come back."""
        return max(1.0, self._ns / self._tasks) if self._tasks else 0.0

    def measured(self, tasks: int, elapsed_ns: int) -> None:
        """A frame has come back."""
        if tasks <= 0:
            return
        self._ns = self._ns * _KEPT + elapsed_ns
        self._tasks = self._tasks * _KEPT + tasks
        self._largest = max(self._largest, tasks)

    def weighed(self, tasks: int, nbytes: int) -> None:
        """So many bytes of large buffers went with a frame, or came back with it."""
        mean = nbytes / max(1, tasks)
        self._mean_bytes = mean if not self._mean_bytes else self._mean_bytes * _KEPT + mean * (1 - _KEPT)

    def next(self, remaining: int | None) -> int:
        """How many tasks the next frame is to have; `remaining` are those that are left, None where nobody knows."""
        mean_ns = self.mean_ns
        if not mean_ns:
            return self._least
        size = int(_TARGET_NS / mean_ns)
        if remaining is not None:
            size = min(size, max(remaining // (2 * self._workers) + 1, int(_FLOOR_NS / mean_ns)))
        size = min(size, self._largest * _GROWTH, _MOST)
        if self._mean_bytes:
            size = min(size, int(MOST_BYTES / self._mean_bytes) + 1)
        return max(self._least, size - size % self._least)
