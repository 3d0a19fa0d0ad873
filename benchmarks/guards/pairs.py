# SPDX-License-Identifier: MIT
"""A thing and its reference, by turns; what it costs is said in multiples of what the reference costs at the same time."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Cost", "Guard", "Pair", "Ratio", "cpu_s", "interleave", "one_cpu", "ratio_of"]

LOOK_S = 0.1

Cost = Callable[[], float]  # of one round, in any unit
Pair = tuple[Cost, Cost]  # the thing, the reference


@dataclass(frozen=True)
class Guard:
    """`pair` sets up what is needed, and clears it away. `least` is the slowdown that is reported at the earliest."""

    name: str
    group: str
    beside: str
    rounds: int
    least: float
    pair: Callable[[], AbstractContextManager[Pair]]


@dataclass(frozen=True)
class Ratio:
    value: float
    spread: float  # of single rounds, relative: the median distance from the median


def cpu_s(action: Callable[[], object]) -> float:
    """CPU time of this thread: others that are given the CPU meanwhile do not count."""
    begun = time.thread_time_ns()
    action()
    return (time.thread_time_ns() - begun) / 1e9


@contextmanager
def one_cpu() -> Iterator[None]:
    """For this thread, and the processes that it starts: the one that others used least a moment ago."""
    before = os.sched_getaffinity(0)
    begun = _busy()
    time.sleep(LOOK_S)
    busy = {cpu: after - begun.get(cpu, 0) for cpu, after in _busy().items() if cpu in before}
    os.sched_setaffinity(0, {min(busy or before, key=lambda cpu: busy.get(cpu, 0))})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _busy() -> dict[int, int]:
    """By CPU, hundredths of seconds since the machine started."""
    found = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name[:3] == "cpu" and name != "cpu":
            found[int(name[3:])] = sum(map(int, numbers)) - int(numbers[3]) - int(numbers[4])  # idle, waiting for disks
    return found


def ratio_of(costs: Sequence[float], references: Sequence[float]) -> Ratio:
    """Each over the mean of the reference before and after it: a machine that changes its speed changes it for all three."""
    around = zip(costs, references, references[1:], strict=False)
    ratios = [cost * 2 / (before + after) for cost, before, after in around]
    middle = statistics.median(ratios)
    return Ratio(middle, statistics.median(abs(one - middle) for one in ratios) / middle)


def interleave(benchmark: Any, pair: Pair, rounds: int) -> Ratio:
    """Under pytest-benchmark, whose own figures are of the thing alone."""
    costs: list[float] = []
    references: list[float] = []
    thing, reference = pair
    thing(), reference()

    def before() -> None:
        references.append(reference())

    benchmark.pedantic(lambda: costs.append(thing()), setup=before, rounds=rounds)
    before()
    return ratio_of(costs, references)
