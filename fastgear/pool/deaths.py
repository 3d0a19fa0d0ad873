# SPDX-License-Identifier: MIT
"""What a worker's death costs: the task that it was at, and no other.

The server says first that a worker has gone, with which frame; its area tells how far it came; the supervisor says how it
died. All under the engine's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from fastgear.errors import WorkerDied
from fastgear.pool.area import PoolArea
from fastgear.pool.memory import Memory
from fastgear.pool.pieces import Piece
from fastgear.pool.processes import Processes
from fastgear.pool.traffic import Traffic

__all__ = ["Deaths"]

_UNNOTED = 0.1  # how much the death of a worker says of the frame in hand that it had not noted


class Deaths:
    """`retries` is how often a task may be given to another worker after one has died of it."""

    def __init__(self, memory: Memory, retries: int) -> None:
        self.traffic: Traffic
        self.processes: Processes
        self._memory = memory
        self._retries = retries
        self._fallen: deque[tuple[Piece, int, int]] = deque()  # with the worker's pid, and how many tasks were begun

    # -- what the server says

    def fall(self, piece: Piece) -> None:
        """Its worker is dead: look into its area before the supervisor's word frees that."""
        self._fallen.append((piece, *self._recover(piece)))

    def _recover(self, piece: Piece) -> tuple[int, int]:
        """Take what the dead worker has left in its area; its pid, and how many tasks it had begun."""
        for area in self.traffic.areas:
            if area.frame == piece.number:
                pid, begun = area.owner, area.claimed
                left = area.look(piece.number)
                if left is not None and left[0] == piece.flushed:
                    self.traffic.deliver_records(piece, left[1], piece.seen_bytes)
                if self.processes.has_died(pid):
                    self._clear(area)
                return pid, begun
        return 0, 0

    @property
    def fallen(self) -> bool:
        """Whether there is something to bury."""
        return bool(self._fallen)

    def take_fallen(self) -> Iterator[Piece]:
        """When all has failed, and there is nothing to be buried."""
        while self._fallen:
            yield self._fallen.popleft()[0]

    # -- burials

    def bury(self) -> None:
        """Name the task that a dead worker was at, and run the others elsewhere. May wait for the supervisor's word."""
        if not self._fallen:  # all has failed meanwhile
            return
        piece, pid, begun = self._fallen[0]  # where `fail` finds it, until it is settled
        finished = len(piece.values)
        if self._has_culprit(piece, finished, pid, begun):
            self.traffic.pump()
            task = piece.source.describe(piece.tasks[finished], begun=begun > finished)
            self.traffic.deliver_failure(piece, self._obituary(pid, task), 1)
        self.traffic.settle_fallen(piece)
        if self._fallen:
            self._fallen.popleft()
        self.traffic.pump()

    def _has_culprit(self, piece: Piece, finished: int, pid: int, begun: int) -> bool:
        """Whether the first task that is not finished is to blame, and stays alone in the piece; the others are sent again."""
        if finished == len(piece.tasks):
            return False
        if begun <= finished:
            return self._is_to_blame(piece, finished, pid)
        if piece.attempts < self._retries:
            self._try_again(piece, finished)
            return False
        if begun < len(piece.tasks):
            self.traffic.send_again(piece.split(begun))
        return True

    def _try_again(self, piece: Piece, finished: int) -> None:
        """The task that was begun on its own, so that only it counts the attempt."""
        rest = piece.split(finished) if finished else piece
        if len(rest.tasks) > 1:
            self.traffic.send_again(rest.split(1))
        rest.attempts = piece.attempts + 1
        self.traffic.send_again(rest)

    def _is_to_blame(self, piece: Piece, finished: int, pid: int) -> bool:
        """The worker had begun none of the tasks that are left. By chance; or it died of what it unpickled for one of them,
        which is found by halves. True when a single one is left, whose workers die each time. One that has not even noted in
        its area that it has the frame (0 is its pid) may have been killed while it was idle, again and again."""
        rest = piece.split(finished) if finished else piece
        rest.deaths += 1 if pid else _UNNOTED
        if rest.deaths > max(1, self._retries):
            if rest is piece and len(rest.tasks) == 1:
                return True
            if len(rest.tasks) > 1:
                half = rest.split(len(rest.tasks) // 2)
                half.deaths = rest.deaths = max(1, self._retries)
                self.traffic.send_again(half)
        self.traffic.send_again(rest)
        return False

    def _obituary(self, pid: int, task: str) -> WorkerDied:
        died = self.processes.death(pid, useless=lambda: self.traffic.failure is not None)
        how = str(died).partition(": ")[2] if died is not None else "nobody knows how"
        who = (
            f"worker process {pid} died while it ran" if pid else "worker processes died again and again when they got"
        )
        return WorkerDied(
            f"{who} {task}: {how}",
            pid=pid,
            exit_code=died.exit_code if died is not None else None,
            task=task,
        )

    # -- what the supervisor says

    def note(self, pid: int) -> None:
        """A worker is gone. Its area is free, unless the server has yet to say which frame it had in hand."""
        for area in self.traffic.areas:
            if area.owner == pid and not (area.frame and self.traffic.has_number(area.frame)):
                self._clear(area)

    def _clear(self, area: PoolArea) -> None:
        self._memory.clear_area(area, self.traffic.areas.index(area), self._numbers())

    def tidy(self) -> None:
        """Every few seconds: give back shared memory that was not used since the last time."""
        self._memory.tidy(self._numbers())

    def _numbers(self) -> Iterator[int]:
        return (piece.number for piece in self.traffic.under_way)
