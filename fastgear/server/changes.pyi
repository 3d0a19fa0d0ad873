# SPDX-License-Identifier: MIT
from collections.abc import Iterable

from fastgear.server.loop import Loop
from fastgear.storage.store import JobRow, ReplayedJob

WRITTEN: int
FAILED: int
FAILED_FOR_GOOD: int

def take_changes(
    loop: Loop,
) -> tuple[list[JobRow], list[tuple[int, int]], list[tuple[int, str, int]], list[int]] | None:
    """Wait for what the store is to take as one, the fields of a Batch; None when there will be no more. From one thread."""

def answer_changes(loop: Loop, outcome: int, complaint: str) -> None:
    """How it went, once for each `take_changes`. Where it failed, the complaint is what clients are told."""

def restore(loop: Loop, jobs: Iterable[ReplayedJob]) -> None:
    """Put stored jobs back into their lines; before `run` only. Raises ValueError for what cannot be a job."""
