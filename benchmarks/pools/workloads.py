# SPDX-License-Identifier: MIT
"""What is measured: workloads, each of which gives the numbers of a row or two, and what fastgear's are to be.

Slow peers get fewer tasks where the result is a rate. Skewed tasks sleep, so that other load does not count as imbalance.
"""

from __future__ import annotations

import operator
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pools.peers import Peer

__all__ = ["WORKLOADS", "Row", "Workload"]

MIB = 1 << 20
Kind = type[Peer]


def mapped(
    kind: Kind,
    workers: int,
    function: Callable[..., Any],
    items: Sequence[Any],
    chunksize: int | None = None,
    rounds: int = 3,
) -> float:
    """Seconds; the median of some rounds in a pool that is warm."""
    peer = kind(workers)
    peer.map(abs, range(100))
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        results = peer.map(function, items, chunksize)
        seconds.append(time.perf_counter() - begun)
        assert len(results) == len(items)
        del results
    peer.end()
    return statistics.median(seconds)


def start_and_stop(kind: Kind, workers: int) -> list[float]:
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        peer = kind(workers)
        peer.one(abs, 1)
        peer.end()
        times.append(time.perf_counter() - begun)
    return [statistics.median(times) * 1e3]


def tiny(kind: Kind, workers: int, make: Callable[[range], Sequence[int]]) -> list[float]:
    count = 200_000 // (50 if kind.maps_singly else 1)
    return [count / mapped(kind, workers, abs, make(range(count)), rounds=5)]


def tiny_of_a_range(kind: Kind, workers: int) -> list[float]:
    return tiny(kind, workers, lambda numbers: numbers)


def tiny_of_a_list(kind: Kind, workers: int) -> list[float]:
    return tiny(kind, workers, list)


def one_a_message(kind: Kind, workers: int) -> list[float]:
    count = 20_000 // kind.slow
    return [count / mapped(kind, workers, abs, range(count), 1)]


def there_and_back(kind: Kind, workers: int) -> list[float]:
    peer = kind(workers)
    times = []
    for _ in range(2000):
        begun = time.perf_counter()
        peer.one(abs, 1)
        times.append(time.perf_counter() - begun)
    peer.end()
    hundredths = statistics.quantiles(times[200:], n=100)
    return [hundredths[49] * 1e6, hundredths[98] * 1e6]


def futures(kind: Kind, workers: int) -> list[float]:
    count = 20_000 // kind.slow
    peer = kind(workers)
    peer.take(peer.submit(abs, 1))
    rates = []
    for _ in range(3):
        seconds, results = peer.gather(abs, range(count))
        assert results == list(range(count))
        rates.append(count / seconds)
    peer.end()
    return [statistics.median(rates)]


def small_arrays(kind: Kind, workers: int) -> list[float]:
    import numpy

    arrays = [numpy.random.default_rng(1).random(MIB // 8) for _ in range(200)]
    return [2 * len(arrays) * MIB / 1e6 / mapped(kind, workers, operator.neg, arrays)]


def large_arrays(kind: Kind, workers: int) -> list[float]:
    import numpy

    arrays = [numpy.ones(8 * MIB) for _ in range(8)]
    return [len(arrays) * 64 * MIB / 1e6 / mapped(kind, workers, len, arrays)]


def compute(steps: int) -> int:
    """Some 5 ms for 100 000."""
    total = 0
    for number in range(steps):
        total += number * number
    return total


def even(kind: Kind, workers: int) -> list[float]:
    tasks = [100_000] * 200
    return [len(tasks) / mapped(kind, workers, compute, tasks, rounds=1)]


def durations() -> list[float]:
    """Heavy-tailed: a few take most of the 1.2 s."""
    chance = random.Random(7)
    weights = [min(40.0, chance.paretovariate(1.1)) for _ in range(200)]
    return [1.2 * weight / sum(weights) for weight in weights]


def makespan(kind: Kind, workers: int, naps: list[float]) -> list[float]:
    ideal = max(sum(naps) / workers, *naps)
    return [mapped(kind, workers, time.sleep, naps, rounds=1) / ideal]


def skewed(kind: Kind, workers: int) -> list[float]:
    return makespan(kind, workers, durations())


def skewed_longest_first(kind: Kind, workers: int) -> list[float]:
    return makespan(kind, workers, sorted(durations(), reverse=True))


# -- what they give


@dataclass(frozen=True)
class Row:
    """`targets` are what fastgear's number is to be, divided by a peer's; by itself where there is no name.

    A target without a number is a comparison that is only shown.
    """

    title: str
    unit: str
    targets: tuple[tuple[str, str, float | None], ...]
    digits: int = 0

    def text(self) -> str:
        words = {"<=": "at most", ">=": "at least"}
        said = [f"{words[how]} {limit:g} x {peer or 'ideal'}" for how, peer, limit in self.targets if limit is not None]
        return ", ".join(said)


@dataclass(frozen=True)
class Workload:
    """`run` gives a number for each row."""

    run: Callable[[Kind, int], list[float]]
    rows: tuple[Row, ...]
    without: tuple[str, ...] = ("serial",)


WORKLOADS = (
    Workload(start_and_stop, (Row("start, one task, stop", "ms", (("<=", "Pool", 1),), 1),)),
    Workload(
        tiny_of_a_range, (Row("200 k tiny tasks of a range, default chunks", "tasks/s", ((">=", "Pool", 1.5),)),), ()
    ),
    Workload(
        tiny_of_a_list, (Row("200 k tiny tasks of a list, default chunks", "tasks/s", ((">=", "Pool", 1.5),)),), ()
    ),
    Workload(one_a_message, (Row("20 k tiny tasks, chunksize=1", "tasks/s", ((">=", "Pool", 8),)),)),
    Workload(
        there_and_back,
        (
            Row("one task at a time, p50", "µs", (("<=", "Pool", 0.5),)),
            Row("one task at a time, p99", "µs", (("<=", "Pool", None),)),
        ),
    ),
    Workload(
        futures,
        (Row("submit 20 k futures and gather", "tasks/s", ((">=", "Pool", 6), (">=", "ProcessPool", 15))),),
        ("joblib", "serial"),
    ),
    Workload(small_arrays, (Row("200 arrays of 1 MiB both ways", "MB/s", ((">=", "Pool", 4),)),)),
    Workload(large_arrays, (Row("8 arrays of 64 MiB in", "MB/s", ((">=", "joblib", 2),)),)),
    Workload(even, (Row("200 even tasks of some 5 ms of CPU", "tasks/s", ((">=", "Pool", None),)),), ()),
    Workload(skewed, (Row("heavy-tailed tasks, random order", "x ideal", (("<=", "", 1.04),), 3),)),
    Workload(skewed_longest_first, (Row("heavy-tailed tasks, longest first", "x ideal", (("<=", "", 1.08),), 3),)),
)
