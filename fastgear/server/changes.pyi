# SPDX-License-Identifier: MIT
from collections.abc import Iterable

from fastgear.server.loop import Loop
from fastgear.storage.store import Batch, ReplayedJob

WRITTEN: int
FAILED: int
FAILED_FOR_GOOD: int
REFUSING: int
LOST: str  # why a job is put aside, with a place for the number of attempts

def take_changes(loop: Loop) -> tuple[Batch, list[int]] | None:
    """Wait for what the store is to take as one, and the numbers of the jobs whose workloads are to be brought.

    None when there will be no more. From one thread.
    """

def bring_workload(loop: Loop, number: int, workload: bytes | None) -> None:
    """Before the answer; None: the store does not have it."""

def answer_changes(loop: Loop, outcome: int, complaint: str) -> None:
    """How it went, once for each `take_changes`. Where it failed, the complaint is what clients are told."""

def restore(loop: Loop, jobs: Iterable[ReplayedJob]) -> list[tuple[int, str]]:
    """Put stored jobs back into their lines; before `run` only. Returns the numbers of those that no server can serve, and why."""
