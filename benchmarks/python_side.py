# SPDX-License-Identifier: MIT
"""Clients and workers in Python, end to end through one `fastgear serve`: ours, gear's and pygearman's.

    python benchmarks/python_side.py [--rounds 5] [--jobs 20000] [--only WORD,...] [--save FILE.json]

A client in a process of its own sends foreground jobs that do nothing to two workers, each in another, and waits for all results:
as many at once as its library has a way for. Then one idle worker is given background jobs one by one, and says how long after
`submit_background` began each has reached the function. The libraries take turns; shown are medians, with the least and the most.
gear and pygearman (python-gearman for today's Python) are left out where they are not installed: `pip install --group foreign`.
"""

from __future__ import annotations

import argparse
import importlib.util
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
from contextlib import ExitStack
from pathlib import Path

from peers.servers import fastgear_command, running
from peers.tables import spread

WORKERS = 2
PICK_UPS = 300
PAUSE_S = 0.002  # between two jobs, so that the worker sleeps
PREFETCH = 16
LIMIT_S = 120
KINDS = {
    "fastgear, prefetch": "fastgear",
    "fastgear": "fastgear",
    "gear": "gear",
    "pygearman": "gearman",
}


# -- workers: `job` is given the workload of each; until they are terminated


def work(kind: str, address: str, function: str, job: Callable[[bytes], None]) -> None:
    if kind == "gear":
        work_by_gear(address, function, job)
    elif kind == "pygearman":
        import gearman

        worker = gearman.GearmanWorker([address])
        worker.register_task(function.encode(), lambda _, one: job(one.data) or b"")
        worker.work()
    else:
        import fastgear

        ours = fastgear.Worker(address, prefetch=PREFETCH if "prefetch" in kind else 1)
        ours.register(function, lambda one: job(one.workload) or b"")
        ours.run()


def work_by_gear(address: str, function: str, job: Callable[[bytes], None]) -> None:
    import gear

    host, _, port = address.rpartition(":")
    worker = gear.Worker("worker")
    worker.addServer(host, int(port))
    worker.waitForServer()
    worker.registerFunction(function)
    while True:
        one = worker.getJob()
        job(one.arguments)
        one.sendWorkComplete(b"")


def nothing(workload: bytes) -> None:
    pass


def tell_delay(workload: bytes) -> None:
    """On standard output, in microseconds; the workload is when it was submitted."""
    os.write(1, b"%d\n" % ((time.perf_counter_ns() - int(workload)) // 1000))


# -- clients


def submit_many(kind: str, address: str, function: str, jobs: int) -> None:
    """All of them, and wait for their results."""
    if kind == "gear":
        submit_by_gear(address, function, jobs)
    elif kind == "pygearman":
        import gearman

        client = gearman.GearmanClient([address])
        requests = [{"task": function, "data": b"x", "unique": b"%d" % number} for number in range(jobs)]
        for at in range(0, jobs, 1000):  # more at once make it slower
            client.submit_multiple_jobs(requests[at : at + 1000], poll_timeout=float(LIMIT_S))
    else:
        import fastgear

        with fastgear.Client(address) as ours:
            for job in ours.submit_many(function, (b"x" for _ in range(jobs))):
                job.result()


def submit_by_gear(address: str, function: str, jobs: int) -> None:
    import gear

    all_done, left = threading.Event(), jobs

    class Client(gear.Client):  # type: ignore[misc]
        def handleWorkComplete(self, packet: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                all_done.set()
            return super().handleWorkComplete(packet)

    client = connected(Client("client"), address)
    for number in range(jobs):
        client.submitJob(gear.Job(function, b"x", b"%d" % number))
    all_done.wait(LIMIT_S)


def connected(client: object, address: str) -> object:
    host, _, port = address.rpartition(":")
    client.addServer(host, int(port))  # type: ignore[attr-defined]
    client.waitForServer()  # type: ignore[attr-defined]
    return client


def background(kind: str, address: str, function: str) -> Callable[[bytes], object]:
    """How to submit one."""
    if kind == "gear":
        import gear

        client = connected(gear.Client("client"), address)
        return lambda data: client.submitJob(gear.Job(function, data, data), background=True)  # type: ignore[attr-defined]
    if kind == "pygearman":
        import gearman

        theirs = gearman.GearmanClient([address])
        return lambda data: theirs.submit_job(function, data, unique=data, background=True, wait_until_complete=False)
    import fastgear

    ours = fastgear.Client(address)
    return lambda data: ours.submit_background(function, data)


def call(kind: str, address: str, function: str, jobs: int) -> None:
    start = time.perf_counter()
    submit_many(kind, address, function, jobs)
    print(json.dumps(time.perf_counter() - start))


# -- this process


def spawn(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True)


def jobs_per_s(kind: str, address: str, jobs: int) -> float:
    with spawn("--client", kind, address, kind, str(jobs)) as client:
        out, _ = client.communicate(timeout=LIMIT_S)
    return float(jobs / json.loads(out))


def pick_up_us(kind: str, address: str, stack: ExitStack) -> float:
    """The median. The first ones do not count."""
    function = f"{kind}, one by one"
    worker = start_worker(stack, "--delays", kind, address, function)
    assert worker.stdout is not None
    submit, delays = background(kind, address, function), []
    for _ in range(PICK_UPS):
        submit(b"%d" % time.perf_counter_ns())
        delays.append(int(worker.stdout.readline()))
        time.sleep(PAUSE_S)
    worker.terminate()
    return statistics.median(delays[PICK_UPS // 10 :])


def start_worker(stack: ExitStack, *words: str) -> subprocess.Popen[str]:
    worker = stack.enter_context(spawn(*words))
    stack.callback(worker.terminate)
    return worker


def measure(address: str, kinds: list[str], rounds: int, jobs: int) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    with ExitStack() as stack:
        for kind in kinds:
            for _ in range(WORKERS):
                start_worker(stack, "--worker", kind, address, kind)
        for kind in kinds:
            jobs_per_s(kind, address, 100)  # until both workers are there, and warm
        for _ in range(rounds):
            for kind in kinds:
                some = jobs if kind.startswith("fastgear") else max(100, jobs // 10)
                found[kind].append((jobs_per_s(kind, address, some), pick_up_us(kind, address, stack)))
    return found


def chosen(words: str) -> list[str]:
    """Of the libraries that are here; of the others a sentence."""
    found = []
    for kind, module in KINDS.items():
        if not any(word in kind for word in words.split(",")):
            continue
        if importlib.util.find_spec(module):
            found.append(kind)
        else:
            print(f"{kind} is not installed, and left out", file=sys.stderr)
    return found


def save(path: str, found: dict[str, list[tuple[float, float]]]) -> None:
    """By library, of each round."""
    named = {
        kind: [{"jobs_per_s": rate, "pick_up_us": delay} for rate, delay in rounds] for kind, rounds in found.items()
    }
    Path(path).write_text(json.dumps({"Python": platform.python_version(), "results": named}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=20_000, help="of fastgear's; the others get a tenth")
    parser.add_argument("--only", default="", metavar="WORD,...", help="libraries that have one of those in their name")
    parser.add_argument("--save", metavar="FILE.json", help="all figures")
    for role in ("--worker", "--delays", "--client"):
        parser.add_argument(role, nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(*args.worker, nothing)
    if args.delays:
        return work(*args.delays, tell_delay)
    if args.client:
        return call(*args.client[:3], int(args.client[3]))
    kinds = chosen(args.only)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs; {args.rounds} rounds, all in turn", flush=True)
    with tempfile.TemporaryDirectory() as folder, running(fastgear_command, Path(folder)) as (_, port):
        found = measure(f"127.0.0.1:{port}", kinds, args.rounds, args.jobs)
    print(f"\n| | jobs/s, client to {WORKERS} workers and back | pick-up by an idle worker, p50, µs |\n|---|---|---|")
    for kind, values in found.items():
        print(f"| {kind} | {spread([one[0] for one in values], 0)} | {spread([one[1] for one in values], 0)} |")
    if args.save:
        save(args.save, found)


if __name__ == "__main__":
    main()
