# SPDX-License-Identifier: MIT
"""fastgear's pool beside multiprocessing.Pool, ProcessPoolExecutor, joblib with loky, mpire, and doing it serially.

    python benchmarks/pool.py [--rounds 3] [--workers 2] [--limit 170] [--only WORD] [--save FILE.json]

Each measurement has a process of its own, so that nobody's threads or imports are another's; peers take turns in each
round. What is shown is the median of the rounds with the lowest and the highest; ratios are medians of the rounds' ratios.
Slow peers get fewer tasks where the result is a rate. Skewed tasks sleep, so that other load does not count as imbalance.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import operator
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

MIB = 1 << 20


# -- peers: each has maps, futures, and single calls, by its own names


class Peer:
    """A pool that is up. `slow` divides the number of tasks where the result is a rate."""

    slow = 1

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(self, function: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Any:
        raise NotImplementedError

    def gather(self, function: Callable[..., Any], items: Iterable[Any]) -> Any:
        raise NotImplementedError

    def one(self, function: Callable[..., Any], item: Any) -> Any:
        raise NotImplementedError

    def end(self) -> None:
        pass


class Fastgear(Peer):
    def __init__(self, workers: int) -> None:
        import fastgear

        super().__init__(workers)
        self.pool = fastgear.Pool(workers)

    def map(self, function: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Any:
        return self.pool.map(function, items, chunksize)

    def gather(self, function: Callable[..., Any], items: Iterable[Any]) -> Any:
        import fastgear

        with fastgear.Executor(self.workers) as executor:
            executor.submit(abs, 1).result()
            begun = time.perf_counter()
            futures = [executor.submit(function, item) for item in items]
            results = [future.result() for future in futures]
            return time.perf_counter() - begun, results

    def one(self, function: Callable[..., Any], item: Any) -> Any:
        return self.pool.apply(function, (item,))

    def end(self) -> None:
        self.pool.terminate()
        self.pool.join()


class Multiprocessing(Peer):
    def __init__(self, workers: int) -> None:
        import multiprocessing

        super().__init__(workers)
        self.pool = multiprocessing.get_context("fork").Pool(workers)

    def map(self, function: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Any:
        return self.pool.map(function, items, chunksize)

    def gather(self, function: Callable[..., Any], items: Iterable[Any]) -> Any:
        begun = time.perf_counter()
        calls = [self.pool.apply_async(function, (item,)) for item in items]
        results = [call.get() for call in calls]
        return time.perf_counter() - begun, results

    def one(self, function: Callable[..., Any], item: Any) -> Any:
        return self.pool.apply(function, (item,))

    def end(self) -> None:
        self.pool.terminate()
        self.pool.join()


class Futures(Peer):
    slow = 5

    def __init__(self, workers: int) -> None:
        import concurrent.futures
        import multiprocessing

        super().__init__(workers)
        context = multiprocessing.get_context("fork")
        self.executor: Any = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)

    def map(self, function: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Any:
        return list(self.executor.map(function, items, chunksize=chunksize or 1))

    def gather(self, function: Callable[..., Any], items: Iterable[Any]) -> Any:
        begun = time.perf_counter()
        futures = [self.executor.submit(function, item) for item in items]
        results = [future.result() for future in futures]
        return time.perf_counter() - begun, results

    def one(self, function: Callable[..., Any], item: Any) -> Any:
        return self.executor.submit(function, item).result()

    def end(self) -> None:
        self.executor.shutdown()


class Joblib(Futures):
    """Its maps are joblib's, its futures those of the loky inside of it."""

    def __init__(self, workers: int) -> None:
        Peer.__init__(self, workers)
        self.executor = None  # both make it at their first use

    def gather(self, function: Callable[..., Any], items: Iterable[Any]) -> Any:
        self.executor = self.executor or self.loky()
        return super().gather(function, items)

    def one(self, function: Callable[..., Any], item: Any) -> Any:
        self.executor = self.executor or self.loky()
        return super().one(function, item)

    def loky(self) -> Any:
        from joblib.externals.loky import get_reusable_executor

        return get_reusable_executor(self.workers)

    def map(self, function: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Any:
        import joblib

        call = joblib.delayed(function)
        return joblib.Parallel(self.workers, batch_size=chunksize or "auto")(call(item) for item in items)

    def end(self) -> None:
        self.loky().shutdown(kill_workers=True)
        self.executor = None


class Mpire(Peer):
    slow = 5

    def __init__(self, workers: int) -> None:
        import mpire

        super().__init__(workers)
        self.pool = mpire.WorkerPool(workers, keep_alive=True)

    def map(self, function: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Any:
        return self.pool.map(function, items, chunk_size=chunksize, concatenate_numpy_output=False)

    def gather(self, function: Callable[..., Any], items: Iterable[Any]) -> Any:
        begun = time.perf_counter()
        calls = [self.pool.apply_async(function, (item,)) for item in items]
        results = [call.get() for call in calls]
        return time.perf_counter() - begun, results

    def one(self, function: Callable[..., Any], item: Any) -> Any:
        return self.pool.apply(function, (item,))

    def end(self) -> None:
        self.pool.terminate()


class Serial(Peer):
    def map(self, function: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Any:
        return list(map(function, items))


PEERS: dict[str, type[Peer]] = {
    "fastgear": Fastgear,
    "Pool": Multiprocessing,
    "ProcessPool": Futures,
    "joblib": Joblib,
    "mpire": Mpire,
    "serial": Serial,
}
NEEDS = {"joblib": "joblib", "mpire": "mpire"}


# -- workloads: each returns a number


def one_by_one(kind: type[Peer], workers: int) -> float:
    count = 20_000 // kind.slow
    return count / mapped(kind, workers, abs, range(count), 1)


def tiny(kind: type[Peer], workers: int) -> float:
    count = 200_000 // (1 if kind is not Futures else 50)
    return count / mapped(kind, workers, abs, range(count), rounds=5)


def mapped(
    kind: type[Peer],
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
    peer.end()
    return statistics.median(seconds)


def futures(kind: type[Peer], workers: int) -> float:
    count = 20_000 // kind.slow
    peer = kind(workers)
    peer.one(abs, 1)
    rates = []
    for _ in range(3):
        seconds, results = peer.gather(abs, range(count))
        assert results == list(range(count))
        rates.append(count / seconds)
    peer.end()
    return statistics.median(rates)


def there_and_back(kind: type[Peer], workers: int) -> float:
    peer = kind(workers)
    times = []
    for _ in range(1000):
        begun = time.perf_counter()
        peer.one(abs, 1)
        times.append(time.perf_counter() - begun)
    peer.end()
    return statistics.median(times[100:]) * 1e6


def start_and_stop(kind: type[Peer], workers: int) -> float:
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        peer = kind(workers)
        peer.one(abs, 1)
        peer.end()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3


def small_arrays(kind: type[Peer], workers: int) -> float:
    import numpy

    arrays = [numpy.random.default_rng(1).random(MIB // 8) for _ in range(100)]
    return 2 * len(arrays) * MIB / 1e6 / mapped(kind, workers, operator.neg, arrays)


def large_arrays(kind: type[Peer], workers: int) -> float:
    import numpy

    arrays = [numpy.ones(8 * MIB) for _ in range(4)]
    return len(arrays) * 64 * MIB / 1e6 / mapped(kind, workers, len, arrays, rounds=2)


def durations() -> list[float]:
    """Heavy-tailed: a few take most of the 1.2 s."""
    chance = random.Random(7)
    weights = [min(40.0, chance.paretovariate(1.1)) for _ in range(200)]
    return [1.2 * weight / sum(weights) for weight in weights]


def skewed(kind: type[Peer], workers: int) -> float:
    return makespan(kind, workers, durations())


def skewed_longest_first(kind: type[Peer], workers: int) -> float:
    return makespan(kind, workers, sorted(durations(), reverse=True))


def makespan(kind: type[Peer], workers: int, naps: list[float]) -> float:
    ideal = max(sum(naps) / workers, *naps)
    return mapped(kind, workers, time.sleep, naps, rounds=1) / ideal


@dataclass(frozen=True)
class Workload:
    """`targets` are what fastgear's number is to be, divided by a peer's; by itself where there is no name."""

    title: str
    unit: str
    run: Callable[[type[Peer], int], float]
    targets: tuple[tuple[str, str, float], ...]
    without: tuple[str, ...] = ("serial",)
    digits: int = 0

    def text(self) -> str:
        words = {"<=": "at most", ">=": "at least"}
        return ", ".join(f"{words[how]} {limit:g} x {peer or 'ideal'}" for how, peer, limit in self.targets)


WORKLOADS = (
    Workload("20 k tasks, chunksize=1", "tasks/s", one_by_one, ((">=", "Pool", 8),)),
    Workload("200 k tiny tasks, default chunks", "tasks/s", tiny, ((">=", "Pool", 1.5),), ()),
    Workload("submit 20 k futures and gather", "tasks/s", futures, ((">=", "Pool", 6), (">=", "ProcessPool", 15))),
    Workload("one task, there and back, p50", "µs", there_and_back, (("<=", "Pool", 0.5),)),
    Workload("100 arrays of 1 MiB both ways", "MB/s", small_arrays, ((">=", "Pool", 4),)),
    Workload("4 arrays of 64 MiB in", "MB/s", large_arrays, ((">=", "joblib", 2),)),
    Workload("skewed tasks, random order", "x ideal", skewed, (("<=", "", 1.04),), digits=3),
    Workload("skewed tasks, longest first", "x ideal", skewed_longest_first, (("<=", "", 1.08),), digits=3),
    Workload("start, one task, stop", "ms", start_and_stop, (("<=", "Pool", 1),), digits=1),
)


# -- the command


def measure(peer: str, workload: Workload, workers: int) -> float | None:
    """In a process of its own; None, with a word, when that fails."""
    command = [sys.executable, __file__, "--workers", str(workers), "--measure", peer, workload.title]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return float(done.stdout.split()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        last = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        print(f"{peer}, {workload.title}: {' '.join(last)}", file=sys.stderr)
        return None


Results = dict[str, dict[str, list[float]]]


def run_rounds(workloads: Sequence[Workload], peers: Sequence[str], args: argparse.Namespace) -> Results:
    """By workload and peer; one value a round. A round that would pass the time limit is not begun."""
    results: Results = {workload.title: {peer: [] for peer in peers} for workload in workloads}
    begun = time.monotonic()
    longest = 0.0
    for number in range(args.rounds):
        round_begun = time.monotonic()
        if number and round_begun - begun + longest > args.limit:
            print(f"stopped after {number} rounds: the next would pass {args.limit:.0f} s", file=sys.stderr)
            break
        for workload in workloads:
            for peer in peers:
                value = measure(peer, workload, args.workers) if peer not in workload.without else None
                if value is not None:
                    results[workload.title][peer].append(value)
        longest = max(longest, time.monotonic() - round_begun)
    return results


def ratio(rounds: dict[str, list[float]], peer: str) -> float | None:
    """fastgear's numbers over a peer's, round by round; the numbers themselves where no peer is named."""
    ours = rounds["fastgear"]
    theirs = rounds.get(peer, []) if peer else [1.0] * len(ours)
    pairs = list(zip(ours, theirs, strict=False))
    return statistics.median(one / other for one, other in pairs) if pairs else None


def amount(value: float, digits: int) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 10_000:
        return f"{value / 1000:.0f} k"
    return f"{value:.{digits}f}"


def cell(values: list[float], digits: int) -> str:
    if not values:
        return ""
    middle, least, most = (amount(value, digits) for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


def verdict(workload: Workload, rounds: dict[str, list[float]]) -> str:
    said = []
    for how, peer, limit in workload.targets:
        found = ratio(rounds, peer)
        if found is None:
            continue
        met = found >= limit if how == ">=" else found <= limit
        said.append(f"{found:.{workload.digits or 2}f} x {peer or 'ideal'}{'' if met else ' (missed)'}")
    return ", ".join(said)


def show(workloads: Sequence[Workload], peers: Sequence[str], results: Results) -> None:
    print(f"| what | unit | {' | '.join(peers)} | fastgear is | target |")
    print("|---" * (len(peers) + 4) + "|")
    for workload in workloads:
        rounds = results[workload.title]
        cells = " | ".join(cell(rounds[peer], workload.digits) for peer in peers)
        print(f"| {workload.title} | {workload.unit} | {cells} | {verdict(workload, rounds)} | {workload.text()} |")


def versions(peers: Sequence[str]) -> dict[str, str]:
    from fastgear.version import VERSION  # here: nothing of fastgear may slow the start of its peers

    found = {NEEDS[peer]: version(NEEDS[peer]) for peer in peers if peer in NEEDS}
    return {"fastgear": VERSION} | found | {"Python": platform.python_version(), "Linux": platform.release()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=170, help="seconds after which no round is begun")
    parser.add_argument("--only", default="", help="workloads whose title has this in it")
    parser.add_argument("--save", help="write all numbers to this file, as JSON")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse()
    if args.measure:
        peer, title = args.measure
        (workload,) = (one for one in WORKLOADS if one.title == title)
        print(workload.run(PEERS[peer], args.workers))
        return
    peers = [peer for peer in PEERS if peer not in NEEDS or importlib.util.find_spec(NEEDS[peer])]
    for peer in PEERS.keys() - set(peers):
        print(f"{peer} is not installed, and left out", file=sys.stderr)
    workloads = [workload for workload in WORKLOADS if args.only in workload.title]
    found = versions(peers)
    print(", ".join(f"{name} {number}" for name, number in found.items()) + f", {os.cpu_count()} CPUs,")
    print(f"{args.workers} workers, peers in turn, up to {args.rounds} rounds: median (least to most)\n")
    results = run_rounds(workloads, peers, args)
    show(workloads, peers, results)
    if args.save:
        with open(args.save, "w") as file:
            json.dump({"versions": found, "workers": args.workers, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
