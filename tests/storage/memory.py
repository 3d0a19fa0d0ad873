# SPDX-License-Identifier: MIT
"""The model of a store: two dictionaries; and of one that several servers share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from fastgear.storage.store import Batch, DeadJob, ReplayedJob, Store, StoredJob

_CHUNK = 1000
_CHUNK_BYTES = 8_000_000


class MemoryStore(Store):
    """Keeps nothing beyond the process; whoever reopens it takes the same object.

    Those with a list in common share it: each is a server's, and a closed one is that of a server that is gone.
    """

    def __init__(self, shared: list[MemoryStore] | None = None) -> None:
        self._shared = [] if shared is None else shared
        self._shared.append(self)
        self._is_gone = False
        self._jobs: dict[int, StoredJob] = {}
        self._dead: dict[int, DeadJob] = {}
        self._prefix = ""
        self._last = 0

    @property
    def prefix(self) -> str:
        return self._prefix

    def remember_prefix(self, prefix: str) -> None:
        self._prefix = prefix

    @property
    def last_number(self) -> int:
        return self._last

    def append(self, batch: Batch) -> None:
        for row in batch.submitted:
            self._jobs[row[0]] = StoredJob._make(row)
            self._last = max(self._last, row[0])
        for attempts, number in batch.attempts:
            if number in self._jobs:
                self._jobs[number] = self._jobs[number]._replace(attempts=attempts)
        for number, reason, at_ns in batch.dead:
            if number in self._jobs:
                self._dead[number] = DeadJob(self._jobs.pop(number), reason, at_ns)
        for number in batch.ended:
            self._jobs.pop(number, None)

    def replay(self, with_workloads_up_to: int | None = None) -> Iterator[list[ReplayedJob]]:
        left = float("inf") if with_workloads_up_to is None else with_workloads_up_to
        chunk: list[ReplayedJob] = []
        size = 0
        for number in sorted(self._jobs):
            if number not in self._jobs:
                continue  # ended meanwhile
            job = self._jobs[number]
            left = -1 if len(job.workload) > left else left - len(job.workload)
            chunk.append(ReplayedJob(*job[:4], job.workload if left >= 0 else None, *job[5:], len(job.workload)))  # type: ignore[arg-type]
            size += len(job.workload)
            if len(chunk) == _CHUNK or size > _CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def workload(self, number: int) -> bytes:
        return self._jobs[number].workload

    def dead(self, limit: int | None = None) -> Iterator[DeadJob]:
        yield from [self._dead[number] for number in sorted(self._dead)][:limit]

    def retry_dead(self, number: int) -> StoredJob:
        self._jobs[number] = self._dead.pop(number).job._replace(attempts=0)
        return self._jobs[number]

    def drop_dead(self, number: int) -> None:
        del self._dead[number]

    def check(self) -> list[str]:
        return []

    def adopt(self, numbers_from: int) -> Iterator[list[ReplayedJob]]:
        numbers = count(max(numbers_from, self._last) + 1)
        for other in self._shared:
            if other is not self and other._is_gone:
                yield from self._take_over(other, numbers)

    def _take_over(self, other: MemoryStore, numbers: Iterator[int]) -> Iterator[list[ReplayedJob]]:
        mine = {number: next(numbers) for number in sorted([*other._jobs, *other._dead])}
        taken = [job._replace(number=mine[job.number]) for _, job in sorted(other._jobs.items())]
        for dead in other._dead.values():
            job = dead.job._replace(number=mine[dead.job.number])
            self._dead[job.number] = dead._replace(job=job)
        other._jobs, other._dead = {}, {}
        self.append(Batch([tuple(job) for job in taken]))  # type: ignore[misc]
        self._last = max(self._last, *mine.values(), 0)
        if taken:
            yield [ReplayedJob(*job, len(job.workload)) for job in taken]

    def close(self) -> None:
        self._is_gone = True
