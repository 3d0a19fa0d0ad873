# SPDX-License-Identifier: MIT
"""All guards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from guards.pairs import Guard, Pair, cpu_s
from guards.paths import PATHS, REFERENCES, Path
from guards.pools import POOLS
from guards.servers import SERVERS

__all__ = ["GUARDS"]

ROUNDS = 250


@contextmanager
def beside_reference(path: Path) -> Iterator[Pair]:
    loop, beside = path.make(), REFERENCES[path.beside]
    reference = beside.make()
    yield (
        lambda: cpu_s(lambda: loop.run(path.count)) / path.count,
        lambda: cpu_s(lambda: reference.run(beside.count)) / beside.count,
    )


GUARDS = [
    *(Guard(path.name, "paths", path.beside, ROUNDS, path.least, partial(beside_reference, path)) for path in PATHS),
    *SERVERS,
    *POOLS,
]
