# SPDX-License-Identifier: MIT
"""The soak's books: which tasks were submitted, how often each ran, and what came of it."""

from __future__ import annotations

import mmap
import os
from collections import Counter
from typing import Any

from fastgear import WorkerDied
from pools.soak_tasks import CELLS, large_value

__all__ = ["Ledger"]

DEADLY = {"kill": -9, "segfault": -11, "leave": 3, "abort": -6, "out_of_memory": -9}  # exit codes
MOST_WRONG = 20  # then it is no use to go on


class Ledger:
    """Numbers are handed out once; the cell of a number is looked at when it is handed out again, and at the end."""

    def __init__(self, kernel_kills: bool) -> None:
        self.fd = os.memfd_create("ledger")
        os.ftruncate(self.fd, CELLS)
        self.runs = mmap.mmap(self.fd, CELLS)
        self.kernel_kills = kernel_kills  # what runs out of memory, which gets MemoryError otherwise
        self.next = 0
        self.delivered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()  # as they should
        self.bystanders = 0  # whose worker was killed from outside
        self.cancelled = 0  # with the map that they were of
        self.wrong = 0
        self.lost = 0
        self.twice = 0

    def numbers(self, count: int) -> range:
        first, self.next = self.next, self.next + count
        for number in range(first, self.next):
            if self.runs[number % CELLS]:
                self._settle(number % CELLS)
        return range(first, self.next)

    def _settle(self, cell: int) -> None:
        """All of its life is over."""
        self.twice += self.runs[cell] > 1
        self.runs[cell] = 0

    def take(self, kind: str, number: int, outcome: Any) -> None:
        """What came of a task: a value, or an exception."""
        if isinstance(outcome, TimeoutError):
            self.lost += 1
            print("lost:", kind, number)
        elif isinstance(outcome, WorkerDied) and str(number) in outcome.task:
            self._bury(kind, number, outcome)
        elif kind == "raising" and isinstance(outcome, ValueError) and outcome.args == (number,):
            self.failed["raised"] += 1
        elif kind == "out_of_memory" and isinstance(outcome, MemoryError) and not self.kernel_kills:
            self.failed["raised MemoryError"] += 1
        elif kind not in DEADLY and self._is_value(kind, number, outcome) and self.runs[number % CELLS] == 1:
            self.delivered[kind] += 1
        else:
            self._complain(kind, number, outcome)

    def _bury(self, kind: str, number: int, died: WorkerDied) -> None:
        if died.exit_code == DEADLY.get(kind):
            self.failed[f"died: {kind}"] += 1
        elif died.exit_code == -9:
            self.bystanders += 1
        else:
            self._complain(kind, number, died)

    @staticmethod
    def _is_value(kind: str, number: int, outcome: Any) -> bool:
        return kind != "raising" and bool(outcome == (large_value(number) if kind == "large" else number))

    def _complain(self, kind: str, number: int, outcome: Any) -> None:
        self.wrong += 1
        print("wrong:", kind, number, repr(outcome)[:100], "runs", self.runs[number % CELLS])
        if self.wrong > MOST_WRONG:
            raise SystemExit("too much is wrong")

    def close(self) -> bool:
        """Print the balance; whether it is right."""
        for cell in range(min(self.next, CELLS)):
            if self.runs[cell]:
                self._settle(cell)
        self.runs.close()
        os.close(self.fd)
        delivered, failed = self.delivered.total(), self.failed.total()
        self.lost += self.next - delivered - failed - self.bystanders - self.cancelled - self.wrong - self.lost
        self._line("submitted", self.next)
        self._line("delivered", delivered, self.delivered)
        self._line("failed as they should", failed, self.failed)
        self._line("died with a worker killed from outside", self.bystanders)
        self._line("cancelled behind such a death, as a map does", self.cancelled)
        for name, count in (("lost", self.lost), ("wrong", self.wrong), ("run twice", self.twice)):
            self._line(name, count)
        return not (self.lost or self.wrong or self.twice)

    @staticmethod
    def _line(name: str, count: int, parts: Counter[str] | None = None) -> None:
        rest = ", ".join(f"{part} {number:,}" for part, number in (parts or {}).items())
        print(f"{name:45} {count:>12,}{'  (' + rest + ')' if rest else ''}")
