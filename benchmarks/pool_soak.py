# SPDX-License-Identifier: MIT
"""A pool for minutes, with workers that die at random: by signals from outside, by their own tasks, in the middle of chunks.

Keeps a ledger: every task that was submitted must be delivered with its own value, or fail as it should, exactly once; no task
whose value was delivered may have run twice. At the end nothing may be left: processes, descriptors, shared memory, files.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil

from fastgear import Executor, WorkerDied

TASKS = 20_000_000  # room in the ledger; a byte each
DEADLY = ("kill", "segfault", "exit", "abort")
LEDGER: mmap.mmap | None = None


def mark(number: int) -> None:
    """Count a run of the task."""
    assert LEDGER is not None
    LEDGER[number] += 1


def quick(number: int) -> int:
    mark(number)
    return number


def slow(number: int) -> int:
    mark(number)
    time.sleep(0.001 * (number % 20))
    return number


def large(number: int) -> bytes:
    mark(number)
    return number.to_bytes(8, "little") * 20_000


def raising(number: int) -> int:
    mark(number)
    raise ValueError(number)


def deadly(number: int) -> int:
    mark(number)
    how = DEADLY[number % len(DEADLY)]
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    os._exit(3)


def begin(fd: int) -> None:
    """In each worker."""
    global LEDGER
    import faulthandler

    faulthandler.disable()
    LEDGER = mmap.mmap(fd, TASKS)


class Ledger:
    def __init__(self) -> None:
        self.fd = os.memfd_create("ledger")
        os.ftruncate(self.fd, TASKS)
        self.runs = mmap.mmap(self.fd, TASKS)
        self.counts: Counter[str] = Counter()
        self.next = 0
        self.wrong = 0

    def numbers(self, count: int) -> range:
        first, self.next = self.next, self.next + count
        return range(first, self.next)

    def take(self, kind: str, number: int, outcome: Any) -> None:
        """What came of a task."""
        runs = self.runs[number]
        if isinstance(outcome, WorkerDied):
            what = "died as it should" if kind == "deadly" else "died with its worker"
            right = runs <= 1
        elif kind == "raising":
            what, right = "raised as it should", isinstance(outcome, ValueError) and outcome.args == (number,)
        elif kind == "large":
            what, right = "delivered", outcome == number.to_bytes(8, "little") * 20_000
        else:
            what, right = "delivered", kind != "deadly" and outcome == number
        self.counts["submitted"] += 1
        self.counts[what if right else "WRONG"] += 1
        if runs > 1:
            self.counts["RUN TWICE"] += 1
        if not right:
            print("wrong:", kind, number, repr(outcome)[:100], "runs", runs)
            self.wrong += 1
            if self.wrong > 20:
                raise SystemExit("too much is wrong")


FUNCTIONS = {"quick": quick, "slow": slow, "large": large, "raising": raising, "deadly": deadly}


def single_calls(executor: Executor, ledger: Ledger) -> None:
    kinds = random.choices(list(FUNCTIONS), weights=[60, 20, 5, 10, 2], k=500)
    numbers = ledger.numbers(len(kinds))
    futures: list[Future[Any]] = [
        executor.submit(FUNCTIONS[kind], number) for kind, number in zip(kinds, numbers, strict=True)
    ]
    for kind, number, future in zip(kinds, numbers, futures, strict=True):
        error = future.exception(120)
        ledger.take(kind, number, error if error is not None else future.result(0))


def outcomes(run: Iterator[Any]) -> Iterator[Any]:
    """One at a time, errors too: a map goes on behind them as far as its iterator does."""
    try:
        yield from run
    except BaseException as error:
        yield error


def a_map(executor: Executor, ledger: Ledger) -> None:
    numbers = ledger.numbers(20_000)
    taken = 0
    for outcome in outcomes(executor.map(quick, numbers)):
        ledger.take("quick", numbers[taken], outcome)
        taken += 1
    ledger.counts["submitted"] += len(numbers) - taken
    ledger.counts["given up behind a death, as a map does"] += len(numbers) - taken


def killer(executor: Executor, stop: threading.Event, counts: Counter[str]) -> None:
    """From outside, any worker at any time."""
    while not stop.wait(random.uniform(0.05, 0.5)):
        engine = executor._started
        infos = engine.stats().workers if engine is not None else ()
        if infos:
            try:
                os.kill(random.choice(infos).pid, signal.SIGKILL)
                counts["killed from outside"] += 1
            except ProcessLookupError:
                pass


def left_behind(before: tuple[int, set[int], set[str], set[str]]) -> list[str]:
    descriptors, children, shm, folders = before
    left = [f"{len(os.listdir('/proc/self/fd')) - descriptors} descriptors"]
    left += [f"process {child.pid}" for child in psutil.Process().children(recursive=True) if child.pid not in children]
    left += [f"/dev/shm/{name}" for name in set(os.listdir("/dev/shm")) - shm]
    left += sorted(set(map(str, Path(tempfile.gettempdir()).glob("fastgear-*"))) - folders)
    return [word for word in left if not word.startswith("0 ")]


def what_is_there() -> tuple[int, set[int], set[str], set[str]]:
    return (
        len(os.listdir("/proc/self/fd")),
        {child.pid for child in psutil.Process().children(recursive=True)},
        set(os.listdir("/dev/shm")),
        set(map(str, Path(tempfile.gettempdir()).glob("fastgear-*"))),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # of its own, so that what is left there is its own
        return soak(args)


def soak(args: argparse.Namespace) -> int:
    ledger = Ledger()
    before = what_is_there()
    end = time.monotonic() + args.minutes * 60
    stop = threading.Event()
    rss: list[int] = []
    executor = Executor(3, initializer=begin, initargs=(ledger.fd,), start_method="fork")
    single_calls(executor, ledger)
    thread = threading.Thread(target=killer, args=(executor, stop, ledger.counts))
    thread.start()
    try:
        while time.monotonic() < end and ledger.next < TASKS - 100_000:
            single_calls(executor, ledger)
            a_map(executor, ledger)
            rss.append(psutil.Process().memory_info().rss)
    finally:
        stop.set()
        thread.join()
        executor.shutdown()
    del executor
    for name, count in ledger.counts.items():
        print(f"{name:45} {count:>12,}")
    lost = ledger.counts["submitted"] - ledger.next
    print(f"{'lost':45} {lost:>12,}")
    tenth = max(1, len(rss) // 10)
    print(f"resident memory: {max(rss[:tenth]) / 1e6:.1f} MB at first, {max(rss[-tenth:]) / 1e6:.1f} MB at the end")
    left = left_behind(before)
    print("left behind:", ", ".join(left) or "nothing", f"(seed {args.seed})")
    return 1 if lost or left or ledger.counts["WRONG"] or ledger.counts["RUN TWICE"] else 0


if __name__ == "__main__":
    sys.exit(main())
