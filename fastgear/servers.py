# SPDX-License-Identifier: MIT
"""Which of several servers a job goes to, and which of them is left alone for a while. Knows no sockets; time comes in."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from fastgear.addresses import Address

__all__ = ["Backoff", "Servers"]

_REST = 4  # times what was spent


@dataclass(slots=True)
class Backoff:
    """How long to leave a server alone after failures: doubling from `first` to `most` seconds, with jitter from half to all.

    The jitter keeps many clients of one dead server from coming back in step.
    """

    first: float = 0.05
    most: float = 5.0
    failures: int = 0
    until: float = 0.0

    def failed(self, now: float, spent: float = 0.0) -> None:
        """`spent` is how many seconds it took to find out: most of the time must not go into finding out again."""
        delay = max(min(self.most, self.first * 2 ** min(self.failures, 16)), _REST * spent)
        self.failures += 1
        self.until = now + delay * random.uniform(0.5, 1.0)

    def fell_silent(self) -> None:
        """It is connected, and does not answer: leave it alone until it `worked`, or `failed`."""
        self.until = math.inf

    def worked(self) -> None:
        self.failures = 0
        self.until = 0.0


class Servers:
    """An ordered choice among servers.

    By rendezvous hashing (Thaler and Ravishankar, 1998) a unique goes to the same server from every client that knows the
    same servers, in whatever order, so that jobs coalesce; when a server is away only its share moves. Jobs without a
    unique go round in turn.
    """

    def __init__(self, addresses: Sequence[Address], backoff: Backoff | None = None) -> None:
        model = backoff or Backoff()
        self.addresses = tuple(dict.fromkeys(addresses))
        self._backoffs = {address: Backoff(first=model.first, most=model.most) for address in self.addresses}
        self._turn = random.randrange(len(self.addresses))

    def backoff(self, address: Address) -> Backoff:
        return self._backoffs[address]

    def order(self, unique: bytes, now: float) -> list[Address]:
        """All servers, the best choice first; those that failed lately come last, soonest to be tried again first."""
        if len(self.addresses) == 1:
            return list(self.addresses)
        preferred = self._by_hash(unique) if unique else self._by_turn()
        return sorted(preferred, key=lambda address: max(0.0, self._backoffs[address].until - now))

    def known_first(self, now: float) -> list[Address]:
        """All servers as they were given, but those that failed lately come last."""
        return sorted(self.addresses, key=lambda address: self._backoffs[address].until > now)

    def _by_hash(self, unique: bytes) -> list[Address]:
        def weight(address: Address) -> bytes:
            return hashlib.blake2b(str(address).encode() + b"\0" + unique, digest_size=8).digest()

        return sorted(self.addresses, key=weight, reverse=True)

    def _by_turn(self) -> list[Address]:
        self._turn = (self._turn + 1) % len(self.addresses)
        return [*self.addresses[self._turn :], *self.addresses[: self._turn]]
