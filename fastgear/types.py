# SPDX-License-Identifier: MIT
"""What is handed to callers: priorities, and pictures of jobs, functions and connections at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = [
    "ConnectionInfo",
    "FunctionInfo",
    "JobInfo",
    "JobStatus",
    "PoolFunctionInfo",
    "PoolStats",
    "PoolWorkerInfo",
    "Priority",
    "PriorityInfo",
    "ServerSnapshot",
    "SlowTask",
]


class Priority(str, Enum):
    """Jobs of a higher priority are given out first, across all functions of a worker."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A server's answer about one job.

    `known` is False for a job that is done as well as for one that never was. `waiting_clients` is None where the server
    was asked by handle, which does not tell.
    """

    known: bool
    running: bool
    numerator: int = 0
    denominator: int = 0
    waiting_clients: int | None = None

    @property
    def fraction(self) -> float | None:
        """The part that is done, from 0 to 1; None while the worker has not said."""
        return self.numerator / self.denominator if self.denominator else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionInfo:
    """One line of `status`: `total` jobs, of which `running` are with a worker; `workers` are able to do it."""

    name: str
    total: int
    running: int
    workers: int

    @property
    def queued(self) -> int:
        return self.total - self.running


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityInfo:
    """One line of `prioritystatus`: queued jobs by priority."""

    name: str
    high: int
    normal: int
    low: int
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """One line of `workers`: every connection is there, clients too. `client_id` is None where it was not set."""

    fd: int
    address: str
    client_id: str | None
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """One line of `show jobs`."""

    handle: str
    retries: int
    ignored: bool
    background: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSnapshot:
    """What a server looks like now."""

    functions: tuple[FunctionInfo, ...] = ()
    connections: tuple[ConnectionInfo, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowTask:
    """One of the slowest tasks of a function: what somebody would have written to call it, shortened.

    Tasks of less than 2 µs are measured some together: then `tasks` is more than one, `text` is the first of them, and
    `duration_s` is that of all.
    """

    duration_s: float
    text: str
    tasks: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFunctionInfo:
    """What a pool's workers have done of one function: tasks that ended, also with an exception, in frames that came back.

    `count` and `total_s` are exact. They include the pickling of results, and, of a task that travels alone, the unpickling of
    its arguments. `p50_s` and `p99_s` are right to about 3 percent for tasks of 2 µs and more; below, they are of means over up
    to 64 tasks.
    """

    name: str
    count: int
    total_s: float
    p50_s: float
    p99_s: float
    slowest: tuple[SlowTask, ...] = ()

    @property
    def mean_s(self) -> float:
        """Seconds for each."""
        return self.total_s / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWorkerInfo:
    """A living worker process of a pool. `tasks` travel in `frames`; `busy` is the share of its life that it has worked."""

    pid: int
    frames: int
    tasks: int
    busy: float
    rss: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """What a pool is doing, and has done.

    `waiting` single calls were not sent yet; `under_way` tasks are with workers, or in line for them. `died` is the number of
    workers that ended without being told to. Functions are in the order of the time they have taken, workers in that of slots.
    """

    workers: tuple[PoolWorkerInfo, ...] = ()
    functions: tuple[PoolFunctionInfo, ...] = ()
    waiting: int = 0
    under_way: int = 0
    died: int = 0
