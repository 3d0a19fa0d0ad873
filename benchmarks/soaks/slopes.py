# SPDX-License-Identifier: MIT
"""What a server's process takes, looked at again and again, and whether that rises."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

__all__ = ["MIB", "Sample", "after_warm_up", "at_rest", "complaints", "rise", "slope"]

MIB = 1 << 20
WARM_UP = 0.5  # of the samples: the store's cache, of 16 MiB, fills and empties with large jobs, and fills slowly
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


def at_rest(samples: Sequence[Sample]) -> Sequence[Sample]:
    return [one for one in samples if one.at_rest]


def complaints(samples: Sequence[Sample], most_rise: int) -> list[str]:
    """One sentence for each thing that rises. Connections come and go, so descriptors are counted beside them."""
    late = after_warm_up(samples)
    rests = at_rest(late)
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
