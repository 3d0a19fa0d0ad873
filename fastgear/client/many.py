# SPDX-License-Identifier: MIT
"""The course of one `submit_many`: which workloads to take when, and which jobs are finished. Knows no sockets."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from fastgear.client.requests import BytesLike
from fastgear.errors import ConfigError, ConnectionLost
from fastgear.protocol.session import SubmittedJob

__all__ = ["Course", "take"]

_TAKE_S = 0.001  # workloads that come within this time are submitted together


class Course:
    """At most `window` jobs under way; refilled once half of them are over, and at once where workloads come slowly."""

    def __init__(self, window: int) -> None:
        if window < 1:
            raise ConfigError(f"window: {window} is too small; it is at least 1")
        self.finished: deque[SubmittedJob] = deque()
        self.filling = True
        self._window = window
        self._room = 1  # the first alone: the second may be long in coming
        self._under_way: set[SubmittedJob] = set()
        self._exhausted = False
        self._failure: ConnectionLost | None = None

    @property
    def is_over(self) -> bool:
        return self._exhausted and not self._under_way

    @property
    def wanted(self) -> int:
        """How many workloads to take now."""
        return self._room if self.filling or (not self._exhausted and self._room > self._window // 2) else 0

    @property
    def is_waiting(self) -> bool:
        """Whether there is nothing to yield yet, and something to come."""
        return bool(self._under_way) and not self.finished

    def add(self, records: Iterable[SubmittedJob], exhausted: bool, notify: Callable[[], None] | None = None) -> None:
        """These are about to be submitted; whether they were the last."""
        for record in records:
            record.sink, record.notify = self.finished, notify
            self._under_way.add(record)
        self._exhausted = exhausted
        self._look()

    def fail(self, record: SubmittedJob, error: ConnectionLost) -> None:
        """No server can be reached for it: it ends, and no more workloads are taken."""
        record.error = self._failure = error
        record.deliver()
        self._exhausted = True
        self._look()

    def _look(self) -> None:
        self.filling = not self._exhausted and len(self._under_way) < self._window

    def take_finished(self) -> Iterator[SubmittedJob]:
        """Each job once; after an interruption it may be there twice."""
        while self.finished:
            record = self.finished.popleft()
            if record in self._under_way:
                self._under_way.remove(record)
                yield record
        self._room = self._window - len(self._under_way)

    def end(self) -> None:
        """Raises what has cut it short."""
        if self._failure is not None:
            raise self._failure


def take(source: Iterator[BytesLike], room: int) -> tuple[list[BytesLike], bool]:
    """Up to `room` workloads, fewer when they come slowly; and whether that was the end of them."""
    taken: list[BytesLike] = []
    until = time.monotonic() + _TAKE_S
    for workload in source:
        taken.append(workload)
        if len(taken) == room or time.monotonic() >= until:
            return taken, False
    return taken, True
