# SPDX-License-Identifier: MIT
"""How fast a store in SQLite takes batches, gives jobs back, and lets them end.

    python benchmarks/store.py [--jobs 1000000] [--batch 5000] [--durability full] [--folder /var/tmp] [--rounds 3]

The CPU time is that of this process; the rest of the elapsed time is the disk's, or others' on a busy machine. "beside a busy
thread": another thread of this process does nothing but Python meanwhile.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fastgear.storage.sqlite import DURABILITIES, SqliteStore
from fastgear.storage.store import Batch, JobRow
from fastgear.version import VERSION

ALONE = 500
BESIDE = 20_000


@dataclass
class Measure:
    name: str
    elapsed: list[float] = field(default_factory=list)  # us for a job
    cpu: list[float] = field(default_factory=list)

    def take(self, jobs: int, action: Callable[[], object]) -> None:
        start, cpu = time.perf_counter(), time.process_time()
        action()
        self.elapsed.append((time.perf_counter() - start) / jobs * 1e6)
        self.cpu.append((time.process_time() - cpu) / jobs * 1e6)

    def __str__(self) -> str:
        elapsed, best = statistics.median(self.elapsed), min(self.elapsed)
        rate = f"{1e6 / elapsed:12,.0f}/s (best {1e6 / best:,.0f})"
        return f"{self.name:44}{rate:40}{statistics.median(self.cpu):8.2f} us CPU"


def batches(first: int, jobs: int, size: int) -> list[list[JobRow]]:
    numbers = range(first, first + jobs)
    rows: list[JobRow] = [(n, b"reverse", b"", None, b"x" * 16, 1, 0, 0, 1_700_000_000 * 10**9) for n in numbers]
    return [rows[at : at + size] for at in range(0, jobs, size)]


def append(store: SqliteStore, some: list[list[JobRow]]) -> None:
    for rows in some:
        store.append(Batch(rows))


def end(store: SqliteStore, some: list[list[JobRow]]) -> None:
    for rows in some:
        store.append(Batch(ended=[row[0] for row in rows]))


def read(store: SqliteStore, limit: int | None, jobs: int) -> None:
    found = sum(map(len, store.replay(limit)))
    assert found == jobs


def beside_a_busy_thread(action: Callable[[], object]) -> None:
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)])
    busy.start()
    try:
        action()
    finally:
        stop.set()
        busy.join()


def run_round(path: str, args: argparse.Namespace, measures: dict[str, Measure]) -> None:
    def measure(name: str, jobs: int, action: Callable[[], object]) -> None:
        measures.setdefault(name, Measure(name)).take(jobs, action)

    first = 1_700_000_000 * 16_000_000
    many = batches(first, args.jobs, args.batch)
    with SqliteStore(path, durability=args.durability) as store:
        measure(f"appended, {args.batch:,} in a batch", args.jobs, lambda: append(store, many))
        measure("read back", args.jobs, lambda: read(store, None, args.jobs))
        measure("read back, workloads left", args.jobs, lambda: read(store, 0, args.jobs))
        measure(f"ended, {args.batch:,} in a batch", args.jobs, lambda: end(store, many))
        measure("appended, one in a batch", ALONE, lambda: append(store, batches(first + 10**9, ALONE, 1)))
        some = batches(first + 2 * 10**9, BESIDE, args.batch)
        measure("appended beside a busy thread", BESIDE, lambda: beside_a_busy_thread(lambda: append(store, some)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--durability", choices=DURABILITIES, default="full")
    parser.add_argument("--folder", help="on the disk that is measured (default: that of temporary files)")
    args = parser.parse_args()
    measures: dict[str, Measure] = {}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            run_round(os.path.join(folder, "jobs.db"), args, measures)
    print(
        f"fastgear {VERSION}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} CPUs, ",
        end="",
    )
    print(f"{args.jobs:,} jobs of 16 bytes, durability {args.durability}, medians of {args.rounds} rounds")
    for one in measures.values():
        print(one)


if __name__ == "__main__":
    main()
