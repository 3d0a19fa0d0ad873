# SPDX-License-Identifier: MIT
"""Jobs go on while the program that embeds the server holds the GIL.

    python benchmarks/gil.py [--rounds 5] [--seconds 2] [--unix]

This process embeds the server. Another process, with a client and a worker of its own, runs one job after the other through it.
Each round has two stretches of time: in the first this process sleeps, in the second it holds the GIL with one long C call. What
is shown is how many jobs were done meanwhile, and how many steps a Python thread of this process made.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastgear.version import VERSION

MARGIN_S = 0.1  # at both ends of a stretch, so that the load is measured only while the GIL is held


# -- the other process


def load(address: str) -> None:
    """For every line with a number of seconds, run jobs for so long; say how many, and when that was."""
    from fastgear import Client, Worker

    worker = Worker(address)
    worker.register("echo", lambda job: job.workload)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        with Client(address, timeout=10) as client:
            client.submit("echo", b"x").result(timeout=10)
            print("ready", flush=True)
            for line in sys.stdin:
                time.sleep(MARGIN_S)
                done, start = 0, time.monotonic()
                while time.monotonic() - start < float(line):
                    client.submit("echo", b"x").result(timeout=10)
                    done += 1
                print(json.dumps([done, start, time.monotonic()]), flush=True)
    finally:
        worker.stop()
        thread.join()


# -- this process


@dataclass(frozen=True)
class Measured:
    jobs_per_s: float
    steps: int


class Steps:
    """A thread that counts steps of a millisecond: it cannot while another one holds the GIL."""

    def __init__(self) -> None:
        self.count = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(0.001)
            self.count += 1


def let_go(seconds: float) -> None:
    time.sleep(seconds)


def hold(seconds: float) -> None:
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))  # PyDLL, unlike CDLL, keeps the GIL


def measure(
    process: subprocess.Popen[str], steps: Steps, meanwhile: Callable[[float], None], seconds: float
) -> Measured:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    before, start = steps.count, time.monotonic()
    meanwhile(seconds + 2 * MARGIN_S)
    end, after = time.monotonic(), steps.count
    line = process.stdout.readline()
    if not line:
        sys.exit("the load ended early")
    done, load_start, load_end = json.loads(line)
    if load_start < start or load_end > end:
        sys.exit("the load did not run within its time: the machine is too busy for this, or jobs stood still")
    return Measured(done / (load_end - load_start), after - before)


def run(address: str, rounds: int, seconds: float) -> dict[str, list[Measured]]:
    command = [sys.executable, __file__, "--load", address]
    steps = Steps()
    results: dict[str, list[Measured]] = {"free": [], "held": []}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                sys.exit("the load did not start")
            for _ in range(rounds):
                results["free"].append(measure(process, steps, let_go, seconds))
                results["held"].append(measure(process, steps, hold, seconds))
        except BaseException:
            process.kill()
            raise
    return results


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def show(results: dict[str, list[Measured]], seconds: float) -> None:
    print(f"  {'the GIL is':<10} {f'jobs in {seconds:g} s':>28} {'steps of a Python thread here':>36}")
    for name, rounds in results.items():
        jobs = spread([one.jobs_per_s * seconds for one in rounds])
        print(f"  {name:<10} {jobs:>28} {spread([one.steps for one in rounds]):>36}")
    pairs = zip(results["held"], results["free"], strict=True)
    ratios = [held.jobs_per_s / free.jobs_per_s for held, free in pairs]
    print(f"  held over free: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each stretch")
    parser.add_argument("--unix", action="store_true", help="a Unix socket instead of TCP")
    parser.add_argument("--load", metavar="ADDRESS", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        return load(args.load)
    from fastgear import Server

    print(f"fastgear {VERSION}, Python {platform.python_version()}, {platform.machine()},")
    print(
        f"Linux {platform.release()}, {os.cpu_count()} CPUs; {'Unix socket' if args.unix else 'TCP'}; {args.rounds} rounds, "
        "free and held in turn: median (least to most)"
    )
    with (
        tempfile.TemporaryDirectory(prefix="fastgear-gil-") as folder,
        Server(f"unix:{folder}/server" if args.unix else "127.0.0.1:0") as server,
    ):
        results = run(server.address, args.rounds, args.seconds)
    show(results, args.seconds)


if __name__ == "__main__":
    main()
