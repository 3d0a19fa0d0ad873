# SPDX-License-Identifier: MIT
"""Large arrays to worker processes and back: fastgear's pool beside multiprocessing.Pool and joblib.

    python benchmarks/pool_transfer.py [--rounds 7] [--workers 2] [--json FILE]

Each way is measured in turn, round after round, on a pool that is already running, so that a disturbance hits all; what is
shown is the median of the rounds, with the lowest and the highest. Arrays are new ones for each way and round, unless it says
otherwise: joblib knows those again that it has sent before, and hands them out to be read only. Results are dropped at the
end of a round. MB are 2**20 bytes, of arguments and results together. Needs numpy and joblib.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy

import fastgear
from fastgear.version import VERSION

MIB = 1 << 20


def same(array: Any) -> Any:
    return array


def times_one(array: Any) -> Any:
    return array * 1


def first(array: Any) -> float:
    return float(array[0])


def total(array: Any) -> float:
    return float(array.sum())


def make(seed: int, mib: int) -> Any:
    return numpy.full(mib * MIB // 8, float(seed))


def fresh(mib: int) -> Any:
    return numpy.ones(mib * MIB // 8)


@dataclass(frozen=True)
class Load:
    title: str
    function: Callable[[Any], Any]
    arrays: int
    mib: int
    moved: int  # MiB in all
    makes: bool = False  # the function is given a size instead of an array
    again: bool = False  # the same arrays each time

    def items(self) -> list[Any]:
        return [self.mib if self.makes else make(seed, self.mib) for seed in range(self.arrays)]


LOADS = (
    Load("200 x 1 MiB, both ways: the array itself", same, 200, 1, 400),
    Load("200 x 1 MiB, both ways: array * 1", times_one, 200, 1, 400),
    Load("200 x 1 MiB, out only", fresh, 200, 1, 200, makes=True),
    Load("8 x 64 MiB, in only: its first number", first, 8, 64, 512),
    Load("8 x 64 MiB, in only: its sum", total, 8, 64, 512),
    Load("8 x 64 MiB, in only: its sum, the same arrays in each round", total, 8, 64, 512, again=True),
    Load("8 x 64 MiB, both ways: the array itself", same, 8, 64, 1024),
)

Map = Callable[[Callable[[Any], Any], list[Any]], list[Any]]


@contextlib.contextmanager
def ways(workers: int) -> Iterator[dict[str, Map]]:
    parallel = joblib.Parallel(n_jobs=workers)
    with fastgear.Pool(workers) as ours, multiprocessing.get_context("fork").Pool(workers) as pool, parallel:
        yield {
            "fastgear": ours.map,
            "Pool": pool.map,
            "joblib": lambda function, items: parallel(joblib.delayed(function)(item) for item in items),
        }


def measure(load: Load, maps: dict[str, Map], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round; the first one, which is not counted, warms all up."""
    items = load.items()
    seconds: dict[str, list[float]] = {name: [] for name in maps}
    for number in range(rounds + 1):
        for name, run in maps.items():
            items = items if load.again else load.items()
            begun = time.perf_counter()
            results = run(load.function, items)
            elapsed = time.perf_counter() - begun
            assert len(results) == load.arrays
            del results
            if number:
                seconds[name].append(elapsed)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    versions = f"fastgear {VERSION}, numpy {version('numpy')}, joblib {version('joblib')}"
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {versions}")
    print(f"MB/s, median of {options.rounds} rounds (lowest to highest)\n")
    saved: dict[str, dict[str, list[float]]] = {}
    with ways(options.workers) as maps:
        for load in LOADS:
            seconds = saved[load.title] = measure(load, maps, options.rounds)
            rates = {name: sorted(load.moved / one for one in some) for name, some in seconds.items()}
            medians = {name: statistics.median(some) for name, some in rates.items()}
            print(load.title)
            for name, some in rates.items():
                ratio = "" if name == "fastgear" else f"   fastgear is {medians['fastgear'] / medians[name]:.1f} x"
                print(f"  {name:10}{medians[name]:8.0f}  ({some[0]:.0f} to {some[-1]:.0f}){ratio}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(saved, indent=1))


if __name__ == "__main__":
    main()
