# SPDX-License-Identifier: MIT
"""Durable background jobs: fastgear beside Debian's gearmand with its SQLite queue, on the same disk, in one run.

    python benchmarks/durable.py [--rounds 5] [--seconds 3] [--folder DIR] [--save FILE.json]

The servers take turns, each round with fresh processes and stores; what is shown is the median of the rounds, with the lowest and
the highest. Of each server, four things: submissions by 4 connections with 100 in flight each; one submission at a time; how long
foreground jobs take, alone and while such a flood goes on; and the CPU that the kernel counted for the server in the first one.
"fastgear, no store" is not durable: what it has less than the others is what durability costs. "fdatasync" is what the disk itself
takes for 4 KiB at the end of a file, which is the least that one durable job at a time can take.
"""

from __future__ import annotations

import argparse
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
from dataclasses import asdict, dataclass
from pathlib import Path

from durables.flood import Flooded, flood, one_at_a_time, requests
from durables.foreground import foreground
from durables.servers import MISSING, Command, fastgear_on, gearmand_on
from durables.wire import connect
from peers.servers import GEARMAND, running
from peers.tables import spread

from fastgear.bench.target import Target, cpu_ns
from fastgear.version import VERSION

MOST_JOBS = 1_200_000  # in one flood, so that no server grows without bound
OURS = "fastgear, full"

SERVERS: dict[str, Callable[[Path], Command]] = {
    OURS: lambda store: fastgear_on(store, "full"),
    "fastgear, normal": lambda store: fastgear_on(store, "normal"),
    "fastgear, no store": lambda store: fastgear_on(None),
    "gearmand": gearmand_on,
}


@dataclass(frozen=True)
class Measured:
    submits_per_s: float
    jobs_per_commit: float
    server_cpu_us: float  # a job
    client_cpu: float  # share of a CPU
    alone_per_s: float
    alone_p50_us: float
    alone_p99_us: float
    foreground_p50_us: float
    foreground_p99_us: float
    under_load_p50_us: float
    under_load_p99_us: float
    disk_p50_us: float


def commits(port: int) -> int:
    """How often the server has committed, or 0 where it does not say."""
    with connect(port) as made, made.makefile("rb") as lines:
        made.sendall(b"counters\n")
        for line in lines:
            if line.startswith(b"commits_total"):
                return int(line.split()[1])
            if line.startswith((b".", b"ERR")):
                break
    return 0


def disk_us(folder: Path, times: int = 200) -> float:
    """The median of a write of 4 KiB at a file's end, and fdatasync."""
    found = []
    with open(folder / "disk", "wb", buffering=0) as file:
        for _ in range(times):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            found.append((time.perf_counter() - start) * 1e6)
    os.unlink(folder / "disk")
    return statistics.median(found)


def flood_beside(port: int, prepared: tuple[bytes, int], seconds: float, patience_s: float) -> tuple[float, float]:
    """The latency of foreground jobs while a flood goes on."""
    ended = threading.Event()
    flooded: list[Flooded] = []
    thread = threading.Thread(target=lambda: flooded.append(flood(port, prepared, lambda _: ended.is_set())))
    thread.start()
    try:
        time.sleep(0.2)
        found = foreground(port, seconds, patience_s)
        if not thread.is_alive():
            print(f"(the flood of {flooded[0].jobs:,} jobs ended before the foreground jobs did)", file=sys.stderr)
    finally:
        ended.set()
        thread.join()
    return found.p50_us, found.p99_us


def measure(command: Command, args: argparse.Namespace, prepared: tuple[bytes, int], folder: Path) -> Measured:
    with running(command, folder) as (pid, port):
        data, length = prepared
        warm = length * min(200, len(data) // length // 4)
        one_at_a_time(port, (data[:warm], length), args.seconds)
        alone = one_at_a_time(port, (data[warm : len(data) // length // 2 * length], length), args.seconds / 2)
        plain = foreground(port, args.seconds / 2, args.patience)
    with running(command, folder) as (pid, port):
        server = Target(pid)
        before, commits_before = server.read(), commits(port)
        flooded = flood(port, prepared, lambda seconds: seconds > args.seconds)
        cpu_us = cpu_ns(before, server.read()) / flooded.jobs / 1000
        count = commits(port) - commits_before
    with running(command, folder) as (pid, port):
        under_load = flood_beside(port, prepared, args.seconds / 3, args.patience)
    return Measured(
        submits_per_s=flooded.jobs / flooded.seconds,
        jobs_per_commit=flooded.jobs / count if count else 0.0,
        server_cpu_us=cpu_us,
        client_cpu=flooded.client_cpu_s / flooded.seconds,
        alone_per_s=len(alone) / sum(alone),
        alone_p50_us=statistics.median(alone) * 1e6,
        alone_p99_us=statistics.quantiles(alone, n=100)[98] * 1e6,
        foreground_p50_us=plain.p50_us,
        foreground_p99_us=plain.p99_us,
        under_load_p50_us=under_load[0],
        under_load_p99_us=under_load[1],
        disk_p50_us=disk_us(folder),
    )


# -- tables


def show(results: dict[str, list[Measured]], patience_s: float) -> None:
    def values(name: str, field: str) -> list[float]:
        return [getattr(one, field) for one in results[name]]

    def cell(name: str, field: str, digits: int = 0) -> str:
        found = values(name, field)
        return spread(found, digits) if any(found) else ""

    def latency(name: str, field: str) -> str:
        found = values(name, field)
        return f"none in {patience_s:g} s" if statistics.median(found) > patience_s * 1e6 else spread(found, 0)

    def ratio(name: str, field: str) -> str:
        pairs = zip(values(OURS, field), values(name, field), strict=True)
        return f"{statistics.median(ours / theirs for ours, theirs in pairs):.2f}"

    print("\n4 connections with 100 in flight, 16 bytes and a unique each")
    print(
        f"  {'server':<20} {'submits/s':>32} {'jobs a commit':>22} {'server CPU, µs a job':>26}"
        f" {'client, of a CPU':>22}   {OURS} is"
    )
    for name in results:
        print(
            f"  {name:<20} {cell(name, 'submits_per_s'):>32} {cell(name, 'jobs_per_commit'):>22}"
            f" {cell(name, 'server_cpu_us', 2):>26} {cell(name, 'client_cpu', 2):>22}"
            f"   {ratio(name, 'submits_per_s')} x jobs/s, {ratio(name, 'server_cpu_us')} x CPU"
        )
    disk = [one.disk_p50_us for rounds in results.values() for one in rounds]
    print(f"\none at a time; the disk's own fdatasync of 4 KiB, p50: {spread(disk, 0)} µs")
    print(f"  {'server':<20} {'submits/s':>32} {'p50, µs':>28} {'p99, µs':>28}   {OURS} is")
    for name in results:
        print(
            f"  {name:<20} {cell(name, 'alone_per_s'):>32} {cell(name, 'alone_p50_us'):>28} {cell(name, 'alone_p99_us'):>28}"
            f"   {ratio(name, 'alone_per_s')} x jobs/s"
        )
    print("\nforeground jobs one at a time, µs: alone, and while a flood of background jobs goes on as above")
    print(f"  {'server':<20} {'p50':>24} {'p99':>26} {'p50 in a flood':>28} {'p99 in a flood':>32}")
    for name in results:
        print(
            f"  {name:<20} {latency(name, 'foreground_p50_us'):>24} {latency(name, 'foreground_p99_us'):>26}"
            f" {latency(name, 'under_load_p50_us'):>28} {latency(name, 'under_load_p99_us'):>32}"
        )


def versions() -> dict[str, str]:
    found = {"fastgear": VERSION}
    if GEARMAND is not None:
        said = subprocess.run([GEARMAND, "--version"], capture_output=True, text=True, check=False).stdout
        found["gearmand"] = said.strip().partition(" - ")[0].removeprefix("gearmand ")
    return found | {"Python": platform.python_version(), "Linux": platform.release()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each flood")
    parser.add_argument("--jobs", type=int, default=MOST_JOBS, help="at most, in each flood")
    parser.add_argument(
        "--only", default="", help="servers whose name has this in it, beside fastgear with its default"
    )
    parser.add_argument(
        "--patience", type=float, default=5.0, help="seconds for a foreground job, before that is given up"
    )
    parser.add_argument("--folder", help="on the disk to use; a temporary one by default")
    parser.add_argument("--save", help="write all numbers to this file, as JSON")
    args = parser.parse_args()
    chosen = {name: on for name, on in SERVERS.items() if args.only in name or name == OURS}
    if GEARMAND is None and chosen.pop("gearmand", None):
        print(f"{MISSING}; it is left out", file=sys.stderr)
    found = versions()
    print(
        ", ".join(f"{name} {number}" for name, number in found.items())
        + f", {platform.machine()}, {os.cpu_count()} CPUs;"
    )
    print(f"{args.rounds} rounds, the servers in turn: median (least to most)", flush=True)
    prepared = requests(args.jobs)
    results: dict[str, list[Measured]] = {name: [] for name in chosen}
    for _ in range(args.rounds):
        for name, on in chosen.items():
            with tempfile.TemporaryDirectory(prefix="fastgear-durable-", dir=args.folder) as folder:
                results[name].append(measure(on(Path(folder) / "jobs.db"), args, prepared, Path(folder)))
    show(results, args.patience)
    if args.save:
        saved = {
            "versions": found,
            "results": {name: [asdict(one) for one in rounds] for name, rounds in results.items()},
        }
        Path(args.save).write_text(json.dumps(saved, indent=1))


if __name__ == "__main__":
    main()
