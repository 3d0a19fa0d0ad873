# SPDX-License-Identifier: MIT
"""The books about durable jobs, kept outside the server: what was acknowledged, under which handle, and what ran, in which life."""

from __future__ import annotations

from collections import Counter

__all__ = ["Ledger"]


class Ledger:
    """A job is known by its name. `over` has those whose end the store must know.

    That an end is recorded nobody is told, but changes are recorded in their order: when the server has heard of an end, and then
    acknowledges a job that was submitted later, the end is there, too. Such a job must not come back.
    """

    def __init__(self) -> None:
        self.life = 0
        self.submitted = 0
        self.acknowledged: dict[bytes, bytes] = {}  # and its handle
        self.refused: Counter[bytes] = Counter()
        self.runs: dict[bytes, list[int]] = {}  # the lives in which it ran
        self.heard: list[bytes] = []  # those whose end the server has heard of, in this life
        self.unsure: set[bytes] = set()  # done by workers that hung up before they knew that the server had heard of it
        self.over: set[bytes] = set()
        self._over_to = 0  # of those heard
        self.came_back: list[bytes] = []  # though over
        self.other_handles: list[bytes] = []
        self._handles: dict[bytes, bytes] = {}

    def begin_life(self) -> None:
        self.life += 1
        self.heard.clear()
        self._over_to = 0

    def new_name(self) -> bytes:
        self.submitted += 1
        return b"%d" % self.submitted

    def acknowledge(self, name: bytes, handle: bytes, heard: int) -> None:
        """`heard`: how many ends the server had heard of when the job was submitted."""
        self.acknowledged[name] = handle
        self._check(name, handle)
        if heard > self._over_to:
            self.over.update(self.heard[self._over_to : heard])
            self._over_to = heard

    def run(self, name: bytes, handle: bytes) -> None:
        if name in self.over:
            self.came_back.append(name)
        self.runs.setdefault(name, []).append(self.life)
        self._check(name, handle)

    def _check(self, name: bytes, handle: bytes) -> None:
        if self._handles.setdefault(handle, name) != name:
            self.other_handles.append(name)

    # -- the balance

    def waiting(self) -> set[bytes]:
        return self.acknowledged.keys() - self.runs.keys()

    def balance(self, put_aside: set[bytes]) -> dict[str, int]:
        lives = list(self.runs.values())
        sure = [lives for name, lives in self.runs.items() if name not in self.unsure]
        return {
            "submitted": self.submitted,
            "acknowledged": len(self.acknowledged),
            "refused": self.refused.total(),
            "run": len(self.runs),
            "run without having been acknowledged": len(self.runs.keys() - self.acknowledged.keys()),
            "run twice, or more often": sum(len(one) > 1 for one in lives),
            "jobs put aside": len(put_aside),
            "lost": len(self.waiting() - put_aside),
            "run twice in one life": sum(len(one) > len(set(one)) for one in sure),
            "run again though its end was recorded": len(self.came_back),
            "another job's handle": len(self.other_handles),
        }
