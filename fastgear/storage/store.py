# SPDX-License-Identifier: MIT
"""What every store of jobs can do, and the shapes of what goes in and out.

A server hands its durable changes over in batches and acknowledges them when `append` has returned; at its start it reads
them back by `replay`. Numbers are those in the handles; what a job means is not known here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

__all__ = ["Batch", "DeadJob", "JobRow", "ReplayedJob", "Store", "StoredJob"]

JobRow = tuple[int, bytes, bytes, bytes | None, bytes, int, int, int, int]
"""A StoredJob as a plain tuple, as C makes it."""


LARGEST_NUMBER = 2**62  # that comes from elsewhere; so there are enough beyond it


class StoredJob(NamedTuple):
    """A job as it was submitted, and how often it has been tried."""

    number: int  # in its handle; above 0, below 2**63, never used again
    function: bytes
    unique: bytes  # empty: none; such jobs are kept apart
    reducer: bytes | None
    workload: bytes
    priority: int  # 0 high, 1 normal, 2 low
    due_ns: int  # since 1970; 0: at once
    attempts: int
    submitted_ns: int  # since 1970


class ReplayedJob(NamedTuple):
    """A StoredJob whose workload may have been left in the store, and the length of its workload in either case."""

    number: int
    function: bytes
    unique: bytes
    reducer: bytes | None
    workload: bytes | None
    priority: int
    due_ns: int
    attempts: int
    submitted_ns: int
    workload_length: int


class DeadJob(NamedTuple):
    """A job that is not tried any more, why, and since when."""

    job: StoredJob
    reason: str
    died_ns: int  # since 1970


@dataclass(slots=True)
class Batch:
    """Changes that become durable together: applied in the order of the fields here, whatever their order in time.

    A submission replaces a job of its number. Attempts, deaths and ends of numbers that are not there do nothing. So a
    batch may be appended a second time, when nobody knows whether the first time worked, and the outcome is the same.
    """

    submitted: list[JobRow] = field(default_factory=list)
    attempts: list[tuple[int, int]] = field(default_factory=list)  # (attempts so far, number)
    dead: list[tuple[int, str, int]] = field(default_factory=list)  # (number, reason, when, in ns since 1970)
    ended: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.submitted or self.attempts or self.dead or self.ended)

    def portions(self, size: int) -> Iterator[Batch]:
        """Batches of no more than so many changes, which come to the same one after the other. Not for submissions."""
        for at in range(0, len(self.attempts), size):
            yield Batch(attempts=self.attempts[at : at + size])
        for one in self.dead:  # of which each brings its workload along
            yield Batch(dead=[one])
        ended = sorted(self.ended)  # neighbours in the file
        for at in range(0, len(ended), size):
            yield Batch(ended=ended[at : at + size])


class Store(ABC):
    """Keeps the jobs of one server. Made in any thread; then used by one thread at a time. Closing twice is allowed.

    What keeps jobs for several servers gives each a Store of its own: prefix, numbers and jobs are that server's and nobody else's,
    until it is gone and another one adopts what it has left.

    Every method may raise StoreTrouble, after which it may be called again, or StoreLost, after which this process must not use
    the store any more.
    """

    @property
    @abstractmethod
    def prefix(self) -> str:
        """What stands before the numbers in the handles of these jobs; empty in a new store."""

    @abstractmethod
    def remember_prefix(self, prefix: str) -> None:
        """Keep the prefix for the next start; written at once, whatever the durability."""

    @property
    @abstractmethod
    def last_number(self) -> int:
        """No number up to this one may be given to a new job, even if no job is left. 0 in a new store."""

    @abstractmethod
    def replay(self, with_workloads_up_to: int | None = None) -> Iterator[list[ReplayedJob]]:
        """Yield the jobs that are there now, in order of their numbers, in lists of bounded size.

        The first job with whose workload there would be more than `with_workloads_up_to` bytes of them has None in its
        place, and so have all that follow; `workload` fetches one. Other methods may be called between two lists.
        """

    @abstractmethod
    def workload(self, number: int) -> bytes:
        """Return the workload of a job that has not ended. Raises KeyError when there is no such job."""

    @abstractmethod
    def append(self, batch: Batch) -> None:
        """Apply the batch as a whole or not at all; returns when it is as durable as the store was made to be.

        After StoreTrouble or StoreLost, nobody knows whether it was applied: append it again (see Batch), to this store
        or to the next one.
        """

    def health(self) -> str:
        """Say why no new jobs can be taken now, in a sentence, though other changes can; empty when they can. Soon done.

        Asked after trouble, once a batch without new jobs was taken, and every second from then on.
        """
        return ""

    def adopt(self, numbers_from: int) -> Iterator[list[ReplayedJob]]:
        """Take the jobs of servers that are gone for good, under numbers above `numbers_from`, and yield them in order.

        They are this server's from then on, the dead ones too, which are not yielded. Of several servers that ask, one gets a job.
        A store that one server has at a time has none to give.
        """
        return iter(())

    @abstractmethod
    def dead(self, limit: int | None = None) -> Iterator[DeadJob]:
        """Yield the jobs that are not tried any more, in order of their numbers."""

    @abstractmethod
    def retry_dead(self, number: int) -> StoredJob:
        """Make a dead job one that waits again, under its number, with no attempts counted. Raises KeyError."""

    @abstractmethod
    def drop_dead(self, number: int) -> None:
        """Forget a dead job. Raises KeyError."""

    @abstractmethod
    def check(self) -> list[str]:
        """Read everything and say what is wrong with it, a sentence each."""

    @abstractmethod
    def close(self) -> None:
        """Write what is not written yet, and let go. If that raises StoreTrouble, the store is still open."""

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
