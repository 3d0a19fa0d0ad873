# SPDX-License-Identifier: MIT
"""Batches that wait in memory for the store to be closed, folded into one."""

from __future__ import annotations

from fastgear.storage.store import Batch, JobRow

__all__ = ["Pending"]


class Pending:
    """What several batches come to. Jobs that have come and gone meanwhile take no room."""

    def __init__(self, last_stored: int) -> None:
        self._last_stored = last_stored  # no number above it is in the store
        self.last_number = last_stored
        self.has_changed = False
        self._submitted: dict[int, JobRow] = {}
        self._attempts: dict[int, int] = {}
        self._dead: dict[int, tuple[str, int]] = {}
        self._ended: set[int] = set()

    def takes(self, batch: Batch) -> bool:
        """Whether it can be folded in: not when a number comes anew that has died or ended in here."""
        return not any(row[0] in self._ended or row[0] in self._dead for row in batch.submitted)

    def add(self, batch: Batch) -> None:
        self.has_changed = True
        for row in batch.submitted:
            self._submitted[row[0]] = row
            self._attempts.pop(row[0], None)
            self.last_number = max(self.last_number, row[0])
        for count, number in batch.attempts:
            if number not in self._dead:
                self._attempts[number] = count
        for number, reason, at_ns in batch.dead:
            if number not in self._ended:
                self._dead.setdefault(number, (reason, at_ns))
        for number in batch.ended:
            if number not in self._dead:
                self._end(number)

    def _end(self, number: int) -> None:
        self._attempts.pop(number, None)
        if self._submitted.pop(number, None) is None or number <= self._last_stored:
            self._ended.add(number)

    def workload(self, number: int) -> bytes | None:
        """None when the store has it, if anybody; raises KeyError for a job that has ended or died in here."""
        if number in self._ended or number in self._dead:
            raise KeyError(number)
        row = self._submitted.get(number)
        return None if row is None else row[4]

    def batch(self) -> Batch:
        return Batch(
            list(self._submitted.values()),
            [(count, number) for number, count in self._attempts.items()],
            [(number, reason, at_ns) for number, (reason, at_ns) in self._dead.items()],
            list(self._ended),
        )
