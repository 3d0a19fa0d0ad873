# SPDX-License-Identifier: MIT
"""The pool, beside pipes to as many forked processes, and nothing else.

What counts is the CPU time of all processes together, on one CPU: see servers.py. There a pool does not spin before it sleeps, so
how well it does that is not guarded here; `pool_switches.py` shows it.
"""

from __future__ import annotations

import multiprocessing
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from fastgear import Pool
from guards.pairs import Guard, Pair, one_cpu

__all__ = ["POOLS"]

WORKERS = 2
CHUNKS = 32


def serve(pipe: Connection) -> None:
    while message := pipe.recv_bytes():
        function, items = pickle.loads(message)
        pipe.send_bytes(pickle.dumps([function(item) for item in items]))


class Pipes:
    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("fork")
        self._ours, self._processes = [], []
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._ours.append(ours)
            self._processes.append(process)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """A chunk for each by turns; each has one in hand while the next one waits in its pipe."""
        size = -(-len(items) // CHUNKS)
        chunks = [items[at : at + size] for at in range(0, len(items), size)]
        found: list[Any] = []
        waiting = 0
        for number, chunk in enumerate(chunks):
            if number >= 2 * len(self._ours):
                found += self._receive(waiting)
                waiting += 1
            self._ours[number % len(self._ours)].send_bytes(pickle.dumps((function, chunk)))
        for number in range(waiting, len(chunks)):
            found += self._receive(number)
        return found

    def _receive(self, number: int) -> list[Any]:
        results: list[Any] = pickle.loads(self._ours[number % len(self._ours)].recv_bytes())
        return results

    def one(self, function: Callable[[Any], Any], item: Any) -> Any:
        return self.map(function, [item])[0]

    def end(self) -> None:
        for ours in self._ours:
            ours.send_bytes(b"")
        for process in self._processes:
            process.join()
        for ours in self._ours:
            ours.close()


def all_cpu_s(action: Callable[[], object]) -> float:
    """CPU time of this process and its children, none of which may come or go meanwhile."""
    begun = _all_cpu_ns()
    action()
    return (_all_cpu_ns() - begun) / 1e9


def _all_cpu_ns() -> int:
    total = time.process_time_ns()
    for child in psutil.Process().children(recursive=True):
        for path in Path(f"/proc/{child.pid}/task").glob("*/schedstat"):
            total += int(path.read_text().split()[0])
    return total


@contextmanager
def beside_pipes(ours: Callable[[Pool], object], theirs: Callable[[Pipes], object]) -> Iterator[Pair]:
    with one_cpu():
        pipes, pool = Pipes(WORKERS), Pool(WORKERS)
        try:
            yield lambda: all_cpu_s(lambda: ours(pool)), lambda: all_cpu_s(lambda: theirs(pipes))
        finally:
            pool.terminate()
            pool.join()
            pipes.end()


def tiny() -> Any:
    return beside_pipes(
        lambda pool: pool.map(abs, range(100_000)),
        lambda pipes: pipes.map(abs, range(100_000)),
    )


def one_at_a_time() -> Any:
    return beside_pipes(
        lambda pool: [pool.apply(abs, (number,)) for number in range(200)],
        lambda pipes: [pipes.one(abs, number) for number in range(200)],
    )


POOLS = [
    Guard("pool_tiny_tasks", "pools", "pipes", 30, 0.1, tiny),
    Guard("pool_one_at_a_time", "pools", "pipes", 30, 0.15, one_at_a_time),
]
