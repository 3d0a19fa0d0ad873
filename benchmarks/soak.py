# SPDX-License-Identifier: MIT
"""An hour of everything at once, with workers and clients that are killed at random: what becomes of the server, and of the jobs.

    python benchmarks/soak.py [--minutes 60] [--rate 100] [--seed N] [--most-rise 2] [--save FILE.json]

One `fastgear serve` with a store, on TCP and a Unix socket, with a worker process of its own. Beside it, a process each: blocking,
asyncio's and raw clients; a worker, one that prefetches, asyncio's, and a raw one, whose abilities come and go and which hangs up
with jobs in hand; and one whose connections end in the middle of a packet, are idle, read slowly or talk garbage. Jobs are
foreground, background and durable, delayed, of each priority, with and without a unique, of some MiB; with data, warnings and a
status; they fail, raise, and pass their function's timeout. Text commands ask and cancel. Every few seconds one of these processes
is killed by SIGKILL or told to leave, and started again, or is stopped for a while. The load is steady, and far from what the
server can do.

Now and then all but the server stand still for a second, so that its memory at rest is seen: while it has something to do it keeps
some of large workloads for the next ones. The store's cache, of 16 MiB, fills and empties meanwhile: in a run of less than some
thirty minutes, a rise of a few MiB says nothing. Exact counts are in functional/test_durable.py.

The books are kept outside the server, by what all processes note. In the end all that was acknowledged is waited for. The exit code
is 1 when one of these is not true: the memory of the server's process at rest, in the second half, rises by less than
--most-rise MiB, as Theil and Sen's slope has it, its descriptors beside connections and its threads not at all; then the server is
as it was in the beginning; nothing acknowledged was lost; who waited was told the end once, and the right one; no job ran twice
unless its worker may have been lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from durables.servers import fastgear_on, life
from peers.choice import about
from peers.servers import PEERS, free_port
from peers.tables import table
from soaks import slopes
from soaks.crew import CLIENTS, WORKERS, Crew
from soaks.ledger import MUST_BE_NONE, Ledger
from soaks.notes import VARIABLE, Note, Notes, read_notes
from soaks.schedule import Schedule
from soaks.slopes import MIB, Sample

from fastgear import AdminClient, FastgearError, ServerError
from fastgear.storage.sqlite import SqliteStore

COMMANDS = ("status", "prioritystatus", "workers", "show jobs", "show unique jobs", "counters", "version")
COMMAND_S = 0.5
REST_S = 0.6
SETTLE_S = 30.0
LINES = 60  # of progress, at most one each 10 s
DRAIN_S, QUIET_S = 60.0, 15.0
NEVER = ("store_failures_total", "store_in_trouble", "cut_off_total")  # counters that have no reason to count
BENCHMARKS = Path(__file__).parent


class Soak:
    """`server` is the process, `admin` a connection to it."""

    def __init__(self, args: argparse.Namespace, pid: int, admin: AdminClient, crew: Crew, notes: Notes, path: Path):
        self._args, self._crew, self._notes = args, crew, notes
        self._server, self._admin = psutil.Process(pid), admin
        self._begun = time.monotonic()
        self._new_notes = read_notes(path)
        self._command = 0
        self.ledger = Ledger()
        self.samples: list[Sample] = []
        self.faults: list[str] = []
        self.cpu_s = 0.0

    # -- looks

    def sample(self, at_rest: bool = False) -> Sample:
        process, rss = self._server, self._server.memory_info().rss
        counters = self._admin.counters()
        with process.oneshot():
            return Sample(
                seconds=time.monotonic() - self._begun,
                rss=rss,
                descriptors=process.num_fds(),
                threads=process.num_threads(),
                connections=counters["connections"],
                jobs=counters["queued"] + counters["running"] + counters["delayed"],
                memory=counters["memory_bytes"],
                output=counters["output_bytes"],
                at_rest=at_rest,
            )

    def look(self) -> None:
        self.samples.append(self.sample())
        self._crew.look()
        self.read()

    def look_at_rest(self) -> None:
        """When it has nothing to do for longer than it takes to give memory back."""
        with self._crew.held():
            time.sleep(REST_S)
            self.samples.append(self.sample(at_rest=True))

    def read(self) -> None:
        found: list[Note] = []
        for note in self._new_notes:
            if note is None:
                break
            found.append(note)
        self.ledger.take(found)

    def tell(self) -> None:
        last, counts = self.samples[-1], self.ledger.counts
        print(
            f"{last.seconds / 60:.1f} of {self._args.minutes:g} min: {counts['runs']:,} runs, {counts['kills']:,} kills, "
            f"{last.rss / MIB:.1f} MiB, {last.descriptors} descriptors of which {last.connections} connections, "
            f"{last.jobs} jobs",
            flush=True,
        )

    # -- text commands

    def command(self) -> None:
        """Ask, make and drop a function, or cancel a job."""
        self._command += 1
        name = f"soak{self._command}"
        self._admin.command(COMMANDS[self._command % len(COMMANDS)])
        self._admin.create_function(name)
        self._admin.drop_function(name)
        if self._command % 4 == 0:
            self._cancel()

    def _cancel(self) -> None:
        self.read()
        handles = self.ledger.unfinished()
        if not handles:
            return
        handle = random.choice(handles)
        self._notes.write("cancels", handle)
        try:
            self._admin.cancel(handle)
        except ServerError:
            self._notes.write("spared", handle)

    # -- the course

    def run(self) -> None:
        for role in (*WORKERS, *CLIENTS):
            self._crew.start(role)
        args, schedule = self._args, Schedule()
        seconds = 60 * args.minutes
        schedule.every(lambda: args.every, self.look)
        schedule.every(lambda: args.rest_every, self.look_at_rest)
        schedule.every(lambda: COMMAND_S, self.command)
        schedule.every(lambda: random.expovariate(1 / args.kill_every), lambda: self._crew.harm(schedule.later))
        schedule.every(lambda: SETTLE_S, lambda: self.ledger.settle(time.monotonic()))
        schedule.every(lambda: max(10.0, seconds / LINES), self.tell)
        schedule.run(seconds)
        self.cpu_s = sum(self._server.cpu_times()[:2])

    def drain(self) -> None:
        """Until all have left, and all that was acknowledged has ended."""
        self._crew.calm_down()
        self._crew.leave(CLIENTS)
        if not self.comes(lambda one: one.jobs == 0, DRAIN_S):
            self.faults.append(f"{self.sample().jobs:,} jobs were left after {DRAIN_S:g} s")
        self._crew.leave(WORKERS)

    def compare(self, before: Sample) -> None:
        """With what the server was in the beginning."""

        def differences(one: Sample) -> list[str]:
            names = ("descriptors", "threads", "connections", "jobs", "memory", "output")
            pairs = [(name, getattr(before, name), getattr(one, name)) for name in names]
            return [f"{name}: {was:,} in the beginning, {now:,} in the end" for name, was, now in pairs if was != now]

        self.comes(lambda one: not differences(one), QUIET_S)
        self.faults += differences(self.sample())
        counters = self._admin.counters()
        self.faults += [f"the server's {name} is {counters[name]:,}" for name in NEVER if counters[name]]

    def comes(self, condition: Callable[[Sample], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition(self.sample()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True


def put_aside(store: Path) -> tuple[set[str], list[str]]:
    """The tokens of the dead, and what is odd about the store."""
    with SqliteStore(store) as found:
        odd = [f"the store's check: {line}" for line in found.check()]
        left = found.count()[0]
        if left:
            odd.append(f"{left:,} jobs are still in the store, though all had ended")
        return {dead.job.workload[:80].split(b" ")[0].decode() for dead in found.dead()}, odd


def soak(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures, and what is not met."""
    unix, path, store, port = folder / "socket", folder / "notes", folder / "jobs.db", free_port()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    search = os.pathsep.join(filter(None, (str(BENCHMARKS), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": search, VARIABLE: str(path)}
    words = ("--listen", f"unix:{unix}", "--import", "soaks.supervised", "--workers", "1")
    with ExitStack() as stack:
        notes = stack.enter_context(closing(Notes(str(path))))
        server = stack.enter_context(life(fastgear_on(store, "full", *words), port, folder, env))
        if server.wait_until_up() < 0:
            sys.exit(f"the server does not start: {server.log.read_text()[-1000:]}")
        admin = stack.enter_context(AdminClient(f"127.0.0.1:{port}"))
        crew = stack.enter_context(closing(Crew(server.process.pid, port, unix, env, folder, args.rate, notes)))
        one = Soak(args, server.process.pid, admin, crew, notes, path)
        one.comes(lambda sample: sample.connections > 1, QUIET_S)  # its own worker's
        first = one.sample()
        try:
            one.run()
            one.drain()
            one.compare(first)
        except FastgearError as error:
            one.faults.append(f"the server did not answer: {type(error).__name__}: {error}")
        admin.close()
        server.stop()
        if server.process.returncode != 0 or "Traceback" in server.log.read_text():
            said = server.log.read_text()[-1500:]
            one.faults.append(f"the server ended with code {server.process.returncode}: {said}")
        one.read()
    dead, odd = put_aside(store)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    all_cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return summary(args, one, dead, odd + crew.faults, all_cpu_s)


def summary(args: argparse.Namespace, one: Soak, dead: set[str], odd: list[str], all_cpu_s: float) -> dict[str, Any]:
    balance = one.ledger.balance(dead)
    late = slopes.after_warm_up(one.samples)
    rests = slopes.at_rest(late)
    points = [(sample.seconds, float(sample.rss)) for sample in rests]
    failures = [
        *one.faults,
        *odd,
        *one.ledger.complaints(balance),
        *slopes.complaints(one.samples, args.most_rise * MIB),
    ]
    return {
        "balance": balance,
        "memory under load, MiB": span(sample.rss / MIB for sample in late),
        "memory at rest, MiB": span(sample.rss / MIB for sample in rests),
        "its rise, MiB an hour": 3600 * slopes.slope(points) / MIB,
        "its rise, MiB in all": slopes.rise(rests, lambda sample: sample.rss) / MIB,
        "rise of descriptors beside connections, in all": slopes.rise(late, lambda sample: sample.beside_connections),
        "descriptors": span(sample.descriptors for sample in late),
        "server's CPU, share of one": one.cpu_s / (60 * args.minutes),
        "CPU of all, share of one": all_cpu_s / (60 * args.minutes),
        "samples": [asdict(sample) for sample in one.samples],
        "not met": failures,
    }


def span(values: Iterable[float]) -> list[float]:
    """The least and the most."""
    found = sorted(values) or [0]
    return [found[0], found[-1]]


def rows(found: dict[str, Any]) -> Sequence[Sequence[str]]:
    def said(value: Any) -> str:
        if isinstance(value, list):
            return " to ".join(said(each) for each in value)
        return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"

    balance = [
        (f"**{name}**" if name in MUST_BE_NONE else name, said(value)) for name, value in found["balance"].items()
    ]
    return balance + [
        (name, said(value)) for name, value in found.items() if name not in ("balance", "samples", "not met")
    ]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--minutes", type=float, default=60.0)
    add("--rate", type=float, default=100.0, help="jobs a second that are submitted (default: 100)")
    add("--kill-every", type=float, default=5.0, metavar="S", help="on average (default: 5)")
    add("--every", type=float, default=2.0, metavar="S", help="between samples (default: 2)")
    add("--rest-every", type=float, default=10.0, metavar="S", help="between seconds of rest (default: 10)")
    add("--most-rise", type=float, default=2.0, metavar="MIB", help="of the server's memory, in all (default: 2)")
    add("--folder", help="on the disk to use for the store; a temporary one by default")
    add("--seed", type=int, default=int(time.time()))
    add("--save", metavar="FILE.json", help="write all figures to this file")
    return parser.parse_args()


def main() -> int:
    args = parsed()
    random.seed(args.seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    said = about([peer for peer in PEERS if peer.name == "fastgear"])
    said = (
        f"{said}; {args.minutes:g} minutes, {args.rate:g} jobs/s, a kill each {args.kill_every:g} s, seed {args.seed}"
    )
    print(said, flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="fastgear-soak-", dir=args.folder) as name:
            found = soak(args, Path(name))
    except KeyboardInterrupt:
        print("interrupted; all that was started has been ended")
        return 130
    print(f"\n{table(('what', 'how much'), rows(found))}")
    print("".join(f"\nnot met: {sentence}" for sentence in found["not met"]) or "\nall conditions are met")
    if args.save:
        Path(args.save).write_text(json.dumps({"about": said, **found}, indent=1))
    return 1 if found["not met"] else 0


if __name__ == "__main__":
    sys.exit(main())
