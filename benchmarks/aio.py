# SPDX-License-Identifier: MIT
"""asyncio's client and worker beside the blocking ones.

    python benchmarks/aio.py [--rounds 5] [--jobs 10000] [--tcp]

This process embeds the server. Each worker is a process of its own, with a function of its own that returns its workload; so is
each client, one after the other, in rounds in which all take turns. Shown are medians: jobs a second, and the time of the CPU that
client and worker took for each job. Loads: one job at a time; `submit_many`; and 100 tasks (threads would be the blocking client's
way, each with a client) that each submit a job and wait for it, again and again. uvloop's rows are there when it is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import psutil

import fastgear
import fastgear.aio
from fastgear.version import VERSION

AHEAD = 32  # jobs that each worker has in hand or asks for
TASKS = 100
WORKLOAD = b"sixteen bytes..."
CLIENTS = ["blocking", "asyncio"]
WORKERS = ["blocking", "asyncio, plain", "asyncio, async"]
LOADS = ["one at a time", "submit_many", f"{TASKS} tasks"]


# -- the other processes


def run(main: Coroutine[Any, Any, Any], kind: str) -> Any:
    if not kind.startswith("uvloop"):
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)


async def echo(job: fastgear.aio.WorkerJob) -> bytes:
    return job.workload


def work(kind: str, address: str) -> None:
    """Until this process is terminated."""
    if kind == "blocking":
        blocking = fastgear.Worker(address, prefetch=AHEAD)
        blocking.register(kind, lambda job: job.workload)
        blocking.run()
        return
    worker = fastgear.aio.Worker(address, concurrency=AHEAD)
    worker.register(kind, echo if kind.endswith("async") else lambda job: job.workload)
    run(worker.run(handle_signals=True), kind)


def submit(address: str, function: str, load: str, jobs: int) -> None:
    with fastgear.Client(address) as client:
        if load == "one at a time":
            for _ in range(jobs):
                client.submit(function, WORKLOAD).result()
        else:
            for job in client.submit_many(function, (WORKLOAD for _ in range(jobs))):
                job.result()


async def submit_in_loop(address: str, function: str, load: str, jobs: int) -> None:
    async with fastgear.aio.Client(address) as client:
        if load == "submit_many":
            async for job in client.submit_many(function, (WORKLOAD for _ in range(jobs))):
                await job
            return

        async def some(count: int) -> None:
            for _ in range(count):
                await (await client.submit(function, WORKLOAD))

        tasks = 1 if load == "one at a time" else TASKS
        await asyncio.gather(*(some(jobs // tasks) for _ in range(tasks)))


def call(kind: str, address: str, function: str, load: str, jobs: int) -> None:
    """Print the seconds, and those of this process on a CPU."""
    start, start_cpu = time.perf_counter(), time.process_time()
    if kind == "blocking":
        submit(address, function, load, jobs)
    else:
        run(submit_in_loop(address, function, load, jobs), kind)
    print(json.dumps([time.perf_counter() - start, time.process_time() - start_cpu]))


# -- this process


def spawn(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True)


def cpu_of(process: subprocess.Popen[str]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def measure(
    worker: subprocess.Popen[str], client: str, address: str, function: str, load: str, jobs: int
) -> tuple[float, float, float]:
    """Jobs a second, and microseconds of the CPU for each at the client and at the worker."""
    before = cpu_of(worker)
    with spawn("--client", client, address, function, load, str(jobs)) as process:
        out, _ = process.communicate(timeout=300)
    seconds, cpu = json.loads(out)
    return jobs / seconds, cpu * 1e6 / jobs, (cpu_of(worker) - before) * 1e6 / jobs


def rounds(address: str, count: int, jobs: int) -> dict[tuple[str, str, str], list[tuple[float, float, float]]]:
    """Every client with every worker under every load, in turn; the blocking client has no tasks."""
    workers = {kind: spawn("--worker", kind, address) for kind in WORKERS}
    found: dict[tuple[str, str, str], list[tuple[float, float, float]]] = {}
    try:
        for _ in range(count):
            for load in LOADS:
                for client in CLIENTS:
                    for kind, worker in workers.items():
                        if client == "blocking" and load.endswith("tasks"):
                            continue
                        total = jobs // 5 if load == "one at a time" else jobs
                        figures = measure(worker, client, address, kind, load, total)
                        found.setdefault((load, client, kind), []).append(figures)
    finally:
        for worker in workers.values():
            worker.terminate()
            worker.communicate(timeout=10)
    return found


def show(found: dict[tuple[str, str, str], list[tuple[float, float, float]]]) -> None:
    print(f"{'load':<14} {'client':<9} {'worker':<16} {'jobs/s':>8} {'spread':>7} {'client µs':>10} {'worker µs':>10}")
    for (load, client, worker), figures in found.items():
        rates, clients, workers = zip(*figures, strict=True)
        spread = (max(rates) - min(rates)) / statistics.median(rates)
        medians = f"{statistics.median(clients):>10.1f} {statistics.median(workers):>10.1f}"
        print(f"{load:<14} {client:<9} {worker:<16} {statistics.median(rates):>8.0f} {spread:>7.0%} {medians}")


def main() -> None:
    parser = argparse.ArgumentParser(description="asyncio's client and worker beside the blocking ones")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--tcp", action="store_true", help="over TCP on loopback rather than a Unix socket")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--client", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(*options.worker)
    if options.client:
        *words, jobs = options.client
        return call(*words, int(jobs))
    if importlib.util.find_spec("uvloop"):
        CLIENTS.append("uvloop")
        WORKERS.append("uvloop, async")
    versions = (
        f"fastgear {VERSION}, {platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} CPUs"
    )
    print(f"{versions}; {options.rounds} rounds of {options.jobs} jobs, one at a time {options.jobs // 5}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        listen = "127.0.0.1:0" if options.tcp else f"unix:{Path(folder) / 'server'}"
        with fastgear.Server(listen) as server:
            show(rounds(server.address, options.rounds, options.jobs))


if __name__ == "__main__":
    main()
