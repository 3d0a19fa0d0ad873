# SPDX-License-Identifier: MIT
"""How often the kernel changes threads for one task at a time: beside a bare pipe, multiprocessing.Pool and ProcessPoolExecutor.

    python benchmarks/pool_switches.py [--tasks 5000] [--workers 1] [--rounds 3]

Each way has a process of its own. Counted are the voluntary and the involuntary switches of each thread of the caller and of all
that it started, as /proc has them, from the first of the tasks to the last. A pipe there and back takes two: each side waits once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from pools.peers import PEERS, Peer

PLACES = ("caller", "its other threads", "workers")
WAYS = ("pipe", "fastgear", "fastgear, futures", "Pool", "ProcessPool")


def switches(thread: Path) -> int:
    lines = (thread / "status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def snapshot() -> dict[str, int]:
    counts = dict.fromkeys(PLACES, 0)
    for thread in Path("/proc/self/task").iterdir():
        place = PLACES[0] if int(thread.name) == threading.get_native_id() else PLACES[1]
        counts[place] += switches(thread)
    for process in psutil.Process().children(recursive=True):
        counts[PLACES[2]] += sum(map(switches, Path(f"/proc/{process.pid}/task").iterdir()))
    return counts


def pipe() -> tuple[Callable[[], object], Callable[[], object]]:
    """A byte to a process and back, and how that is ended."""
    there, back = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(there[1])
        while byte := os.read(there[0], 1):
            os.write(back[1], byte)
        os._exit(0)

    def once() -> None:
        os.write(there[1], b"x")
        os.read(back[0], 1)

    def end() -> None:
        os.close(there[1])
        os.waitpid(pid, 0)

    return once, end


def way(name: str, workers: int) -> tuple[Callable[[], object], Callable[[], object]]:
    if name == "pipe":
        return pipe()
    kind, _, futures = name.partition(", ")
    peer: Peer = PEERS[kind](workers)
    if futures:
        return lambda: peer.take(peer.submit(abs, 1)), peer.end
    return lambda: peer.one(abs, 1), peer.end


def measure(name: str, workers: int, tasks: int) -> dict[str, float]:
    """For each task: switches by place, and microseconds."""
    once, end = way(name, workers)
    for _ in range(100):
        once()
    before, begun = snapshot(), time.perf_counter()
    for _ in range(tasks):
        once()
    seconds, after = time.perf_counter() - begun, snapshot()
    end()
    return {**{place: (after[place] - before[place]) / tasks for place in PLACES}, "µs": seconds / tasks * 1e6}


def show(results: dict[str, list[dict[str, float]]]) -> None:
    print("| way | " + " | ".join(PLACES) + " | in all (least to most) | µs a task |")
    print("|---" * (len(PLACES) + 3) + "|")
    for name, found in results.items():
        totals = [sum(one[place] for place in PLACES) for one in found]
        cells = [f"{statistics.median(one[place] for one in found):.2f}" for place in PLACES]
        cells.append(f"{statistics.median(totals):.2f} ({min(totals):.2f} to {max(totals):.2f})")
        cells.append(f"{statistics.median(one['µs'] for one in found):.0f}")
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.workers, args.tasks)))
        return
    command = [sys.executable, __file__, "--tasks", str(args.tasks), "--workers", str(args.workers)]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for _ in range(args.rounds):
        for name, found in results.items():
            done = subprocess.run(
                [*command, "--measure", name], stdout=subprocess.PIPE, text=True, check=True, timeout=300
            )
            found.append(json.loads(done.stdout))
    print(
        f"Context switches for each of {args.tasks} tasks, one at a time, {args.workers} workers, {args.rounds} rounds: medians\n"
    )
    show(results)


if __name__ == "__main__":
    main()
