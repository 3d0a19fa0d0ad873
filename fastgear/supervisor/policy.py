# SPDX-License-Identifier: MIT
"""When a worker process is replaced, and how soon another follows one that died. Knows no processes; time comes in."""

from __future__ import annotations

from dataclasses import dataclass

from fastgear.config import SupervisorConfig
from fastgear.supervisor.board import Record
from fastgear.supervisor.events import Reason

__all__ = ["FOREVER", "Child", "Pauses", "lowered", "lowered_jobs", "surge"]

FOREVER = float("inf")

_SETTLED_S = 1.0  # a worker that lives longer, or has done a job, did not die of its start
_FIRST_S = 0.1
_IN_JOB_S = 0.1  # the longest pause after a death in the middle of a job, which is more likely the job's doing


@dataclass(slots=True)
class Child:
    """A worker process as the supervisor sees it. Times are of time.monotonic."""

    pid: int
    generation: int
    record: Record
    started: float
    max_age_at: float = FOREVER
    max_rss: float = FOREVER
    ready: bool = False
    due: Reason | None = None  # why a replacement is wanted; it works until that is ready
    leaving: Reason | None = None  # why it was told to leave
    detail: str = ""
    kill_at: float = FOREVER
    killed: bool = False  # it has been sent SIGKILL
    failure: tuple[str, str] | None = None  # what it raised before it was ready: class and text

    @property
    def serving(self) -> bool:
        return self.leaving is None

    @property
    def idle(self) -> bool:
        return not self.record.busy


def lowered(limit: float, jitter: float) -> float:
    """A limit's own value for one worker, so that workers that started together do not leave together; 0 is none."""
    if not limit:
        return FOREVER
    if not jitter:
        return limit
    from random import uniform  # not needed by most, and not for free

    return limit * (1 - uniform(0.0, jitter))


def lowered_jobs(config: SupervisorConfig) -> int:
    """The same for a number of jobs; 0 for none."""
    return max(1, round(lowered(config.max_jobs, config.jitter))) if config.max_jobs else 0


def surge(workers: int) -> int:
    """How many more than wanted there may be while workers are replaced: one, or a quarter where there are many."""
    return max(1, workers // 4)


class Pauses:
    """How long to wait before the next fork: not at all, unless workers die of their start one after the other.

    Then from a tenth of a second up to `most` seconds, doubling, with jitter from half to all.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._deaths = 0
        self._last = -FOREVER
        self.until = -FOREVER

    def died(self, child: Child, now: float, jobs: int, busy: bool) -> None:
        """It died without being told to. It is of its start that it died when it was not ready, or had not been for long."""
        quick = not child.ready or (not jobs and now - child.started <= _SETTLED_S)
        if not quick or child.started - self._last > max(_SETTLED_S, 2 * (self.until - self._last)):
            self._deaths = 0
        self._deaths += quick
        most = min(self._most, _IN_JOB_S) if busy else self._most
        self._last = now
        self.until = now + self._pause(most) if self._deaths > 1 else now

    def fork_failed(self, now: float) -> None:
        """The system has no room for another process."""
        self._deaths = max(self._deaths + 1, 2)
        self._last = now
        self.until = now + self._pause(max(self._most, _FIRST_S))

    def _pause(self, most: float) -> float:
        from random import uniform

        return min(most, _FIRST_S * 2.0 ** min(self._deaths - 2, 16)) * uniform(0.5, 1.0)

    def forget(self) -> None:
        """Try at once: there is reason to hope."""
        self._deaths = 0
        self.until = -FOREVER
