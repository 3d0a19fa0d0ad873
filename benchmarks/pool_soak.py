# SPDX-License-Identifier: MIT
"""A pool for minutes, with workers that die at random.

    python benchmarks/pool_soak.py [--minutes 10] [--seed N]

Workers are killed from outside, and by their own tasks: by SIGKILL, a segmentation fault, os._exit, abort, and for want of
memory. Every task that was submitted must be delivered with its own value, or fail as it should, exactly once, and none may run
twice. At the end nothing may be left: processes, descriptors, shared memory, files.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
from pools import memory_limit
from pools.ledger import Ledger
from pools.soak_tasks import FUNCTIONS, begin

from fastgear import Executor, Pool, WorkerDied

WORKERS = 2  # of each
PATIENCE_S = 120  # for an outcome, before it counts as lost


# -- the load


def single_calls(executor: Executor, ledger: Ledger) -> None:
    shares = [share for _, share in FUNCTIONS.values()]
    kinds = random.choices(list(FUNCTIONS), weights=shares, k=500)
    numbers = ledger.numbers(len(kinds))
    futures: list[Future[Any]] = [
        executor.submit(FUNCTIONS[kind][0], number) for kind, number in zip(kinds, numbers, strict=True)
    ]
    for kind, number, future in zip(kinds, numbers, futures, strict=True):
        try:
            ledger.take(kind, number, future.result(PATIENCE_S))
        except Exception as error:
            ledger.take(kind, number, error)


def for_a_map(ledger: Ledger) -> tuple[str, range]:
    """Many that are quick, or some that take so long that a death is among them."""
    kind = random.choice(["quick", "slow"])
    return kind, ledger.numbers(20_000 if kind == "quick" else 200)


def a_map(executor: Executor, ledger: Ledger) -> None:
    """It ends at the first error, as those of concurrent.futures do; what is behind that is cancelled."""
    kind, numbers = for_a_map(ledger)
    taken = 0
    try:
        for value in executor.map(FUNCTIONS[kind][0], numbers, timeout=PATIENCE_S):
            ledger.take(kind, numbers[taken], value)
            taken += 1
    except WorkerDied as error:
        ledger.take(kind, numbers[taken], error)
        ledger.cancelled += len(numbers) - taken - 1


def an_imap(pool: Pool, ledger: Ledger) -> None:
    """It goes on behind an error."""
    kind, numbers = for_a_map(ledger)
    results = pool.imap(FUNCTIONS[kind][0], numbers)
    for number in numbers:
        try:
            ledger.take(kind, number, next(results))
        except Exception as error:
            ledger.take(kind, number, error)


class Killer(threading.Thread):
    """Kills any worker of those pools at any time."""

    def __init__(self, *pools: Executor | Pool) -> None:
        super().__init__()
        self._pools = pools
        self._end = threading.Event()
        self.count = 0
        self.start()

    def run(self) -> None:
        while not self._end.wait(random.uniform(0.05, 0.5)):
            infos = random.choice(self._pools).stats().workers
            if infos:
                try:
                    os.kill(random.choice(infos).pid, signal.SIGKILL)
                    self.count += 1
                except ProcessLookupError:
                    pass

    def stop(self) -> None:
        self._end.set()
        self.join()


# -- what is left


class Before:
    """What was there, so that what is left can be told."""

    def __init__(self) -> None:
        self._there = self._look()

    @staticmethod
    def _look() -> dict[str, set[str]]:
        """Of shared memory what is mapped here, and what /dev/shm has by our name: others use that folder, too."""
        gc.collect()
        children = psutil.Process().children(recursive=True)
        mapped = {region.path for region in psutil.Process().memory_maps(grouped=False) if "memfd:" in region.path}
        return {
            "processes": {f"{child.pid} {child.name()}" for child in children},
            "descriptors": set(os.listdir("/proc/self/fd")),
            "shared memory": mapped | {path.name for path in Path("/dev/shm").glob("*fastgear*")},
            "files": {str(path) for path in Path(tempfile.gettempdir()).rglob("*")},
        }

    def show_left(self) -> bool:
        """Whether nothing is left."""
        left = {what: sorted(there - self._there[what]) for what, there in self._look().items()}
        for what, names in left.items():
            print(f"{what + ' left':45} {len(names):>12,}  {', '.join(names)}".rstrip())
        return not any(left.values())


def load(ledger: Ledger, minutes: float, begin_with: tuple[Any, ...]) -> tuple[int, list[int]]:
    """How many were killed from outside, and the memory of this process now and then."""
    memory: list[int] = []
    executor = Executor(WORKERS, initializer=begin, initargs=begin_with, start_method="fork")
    single_calls(executor, ledger)
    pool = Pool(WORKERS, begin, begin_with, start_method="fork")
    killer = Killer(executor, pool)
    end = time.monotonic() + minutes * 60
    try:
        while time.monotonic() < end:
            single_calls(executor, ledger)
            a_map(executor, ledger)
            an_imap(pool, ledger)
            info = psutil.Process().memory_info()
            memory.append(info.rss - info.shared)
    finally:
        killer.stop()
        executor.shutdown()
        pool.close()
        pool.join()
    return killer.count, memory


def soak(minutes: float, seed: int) -> int:
    random.seed(seed)
    before = Before()
    with memory_limit.group() as group:
        how = f"in a control group (version {group.version})" if group else "by RLIMIT_AS, so with MemoryError"
        print(f"{minutes:g} minutes, {2 * WORKERS} workers, out of memory {how}, seed {seed}", flush=True)
        ledger = Ledger(kernel_kills=group is not None)
        folder, version = (str(group.folder), group.version) if group else (None, 0)
        begun = time.monotonic()
        killed, memory = load(ledger, minutes, (ledger.fd, folder, version))
        seconds = time.monotonic() - begun
        kills = group.kills() if group else 0
    right = ledger.close()
    print(f"{'workers killed from outside':45} {killed:>12,}")
    print(f"{'killed by the kernel for want of memory':45} {kills:>12,}")
    tenth = max(1, len(memory) // 10)
    first, last = max(memory[:tenth]) / 1e6, max(memory[-tenth:]) / 1e6
    nothing_left = before.show_left()
    print(f"{seconds:.0f} s; memory of this process {first:.1f} MB at first, {last:.1f} MB at the end")
    return 0 if right and nothing_left and ledger.bystanders <= killed else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # of its own, so that what is left there is its own
        return soak(args.minutes, args.seed)


if __name__ == "__main__":
    sys.exit(main())
