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
    "Priority",
    "PriorityInfo",
    "ServerSnapshot",
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
