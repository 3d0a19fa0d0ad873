# SPDX-License-Identifier: MIT
"""What is due at a time: kills, replacements for age and memory, and when the loop has to look again."""

from __future__ import annotations

import time
from collections.abc import Iterable

from fastgear.config import SupervisorConfig
from fastgear.supervisor.board import NEVER, Board
from fastgear.supervisor.crew import Crew
from fastgear.supervisor.events import Reason
from fastgear.supervisor.memory import resident_bytes
from fastgear.supervisor.policy import FOREVER, Child

__all__ = ["Limits"]

_RSS_S = 1.0  # between two looks at memory


class Limits:
    """Of one crew. Nothing of it wakes up where nothing is limited."""

    def __init__(self, config: SupervisorConfig, crew: Crew, board: Board) -> None:
        self._config, self._crew, self._board = config, crew, board
        self._rss_at = 0.0

    def enforce(self, now: float) -> int:
        """End what is over its time, and mark what is to be replaced. Returns how many were killed."""
        killed, now_ns = 0, time.monotonic_ns()
        for child in self._crew:
            deadline_ns = child.record.deadline_ns
            if 0 < deadline_ns <= now_ns:
                self._end_overdue(child, deadline_ns / 1e9)
            if now >= child.kill_at and not child.killed:
                self._crew.kill(child, Reason.STOPPED)
                killed += 1
            if now >= child.max_age_at:
                child.due = child.due or Reason.MAX_AGE
        if self._config.max_rss and now >= self._rss_at:
            self._rss_at = now + _RSS_S
            self._look_at_memory()
        return killed

    def _end_overdue(self, child: Child, deadline: float) -> None:
        """SIGTERM, unless it has had that for another reason, and SIGKILL after the grace."""
        if child.serving:
            self._crew.retire(child, Reason.TIME_LIMIT)
        child.kill_at = min(child.kill_at, deadline + self._config.grace_s)

    def _look_at_memory(self) -> None:
        for child in self._crew:
            if child.due is None and child.serving and resident_bytes(child.pid) >= child.max_rss:
                child.due = Reason.MAX_RSS

    def next_at(self, others: Iterable[float], ending: bool) -> float | None:
        """The time of the first thing to be done without being asked; `others` are known to the loop.

        Workers read it on the board, and ask for an earlier look when they set an earlier deadline. The board says "never"
        while deadlines are read: a worker that sets one meanwhile either is seen, or asks.
        """
        self._board.looks_at_ns = NEVER
        now_ns = time.monotonic_ns()
        times = [FOREVER, *others]
        for child in self._crew:
            if not child.killed:
                times.append(child.kill_at)
                if child.record.deadline_ns > now_ns:
                    times.append(child.record.deadline_ns / 1e9)
            if child.serving and child.due is None:
                times.append(child.max_age_at)
        if self._config.max_rss and not ending:
            times.append(self._rss_at)
        first = min(times)
        if first == FOREVER:
            return None
        self._board.looks_at_ns = int(first * 1e9)
        return first
