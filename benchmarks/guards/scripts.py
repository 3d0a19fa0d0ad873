# SPDX-License-Identifier: MIT
"""References in Python: like the server's core, an interpreter is much code that is all over the place, and little arithmetic.

Next to a busy neighbour it slows down as the core does, which no small loop in C was found to do.
"""

from __future__ import annotations

import json

__all__ = ["Bytecode", "Objects"]

PORTION = 110


class Bytecode:
    """Small tuples in a small dictionary."""

    def run(self, count: int) -> int:
        kept: dict[int, tuple[int, int]] = {}
        found = 0
        for number in range(count):
            kept[number & 255] = (number, found)
            found += len(kept) + kept.get(number * 7 & 255, (0, 0))[0]
        return found


class Objects:
    """The same in portions, with texts written and read in between."""

    THING = {"a": [1, 2, 3, "text" * 3], "b": {"c": None, "d": 1.5, "e": "x" * 20}}  # noqa: RUF012

    def __init__(self) -> None:
        self._bytecode = Bytecode()

    def run(self, count: int) -> int:
        found = 0
        for _ in range(max(1, count // PORTION)):
            found += self._bytecode.run(PORTION)
            for _ in range(4):
                found += len(json.loads(json.dumps(self.THING)))
        return found
