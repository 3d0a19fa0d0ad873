# SPDX-License-Identifier: MIT
"""What a server's process takes, looked at again and again, and whether that rises."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

__all__ = ["MIB", "Sample", "after_warm_up", "complaints", "lows", "rise", "slope"]

MIB = 1 << 20
WARM_UP = 0.25  # of the samples
STRETCHES = 10
MOST_RISE = 0.5  # of what is counted, in all


@dataclass(frozen=True)
class Sample:
    """At one moment."""

    seconds: float
    rss: int
    descriptors: int
    threads: int
    connections: int
    jobs: int
    memory: int  # of jobs and workloads
    output: int
    at_rest: bool = False

    @property
    def beside_connections(self) -> int:
        return self.descriptors - self.connections


Figure = Callable[[Sample], float]


def after_warm_up(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[int(len(samples) * WARM_UP) :]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil and Sen's: the median of the slopes between all pairs of points, on which a few odd ones have no bearing."""
    found = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return statistics.median(found) if found else 0.0


def rise(samples: Sequence[Sample], figure: Figure) -> float:
    """Over all of these samples, as their slope has it."""
    points = [(one.seconds, float(figure(one))) for one in samples]
    return slope(points) * (points[-1][0] - points[0][0]) if points else 0.0


def lows(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Of the samples at rest, the one with the least memory in each of some stretches.

    The shelf of large blobs (docs/decisions/0026) and the store's cache of pages fill and empty by tens of MiB, in the middle of
    the load; what is left behind is there at the lowest points, too.
    """
    rests = [one for one in samples if one.at_rest]
    size = max(1, len(rests) // STRETCHES)
    return [min(rests[at : at + size], key=lambda one: one.rss) for at in range(0, len(rests) - size + 1, size)]


def complaints(samples: Sequence[Sample], most_rise: int) -> list[str]:
    """One sentence for each thing that rises. Connections come and go, so descriptors are counted beside them."""
    late = after_warm_up(samples)
    rests = lows(late)
    if len(rests) < 3:
        return ["there are too few samples to tell what rises"]
    found = []
    memory = rise(rests, lambda one: one.rss)
    if memory > most_rise:
        found.append(f"the server's memory rose by {memory / MIB:.2f} MiB, and may by {most_rise / MIB:g}")
    counted: dict[str, Figure] = {
        "descriptors beside those of connections": lambda one: one.beside_connections,
        "threads": lambda one: one.threads,
    }
    for name, figure in counted.items():
        if (by := rise(late, figure)) > MOST_RISE:
            found.append(f"the server's {name} rose by {by:.1f}, from {figure(late[0])} to {figure(late[-1])}")
    return found
