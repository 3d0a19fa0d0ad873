# SPDX-License-Identifier: MIT
"""How long the loop of `fastgear serve` hears nobody else, at the most, with millions of jobs queued; and what memory these take.

    python benchmarks/longest_turn.py [--jobs 10000000] [--connections 1000] [--seconds 5] [--rounds 3] [--quick] [--save FILE.json]

Each round has a fresh server, pinned to a CPU of its own where there are two. It is filled with background jobs of 16 bytes, each
with a unique of its own, by 4 clients with 100 in flight; then, with those queued, half of the connections submit foreground jobs
and the other half grab them; then 4 workers with 64 grabs each drain the queue; then it rests, and gives memory back.

After every phase the server is asked for its longest_turn_us. That is the most since its start: of a phase that did not raise it is
known only that it had no longer turn. And it is wall time: a turn in which the kernel let somebody else have the CPU is as much
longer. How long the server's thread was ready to run and did not is in /proc; it is shown for the whole phase and, as the most that
can be in one turn of up to 20 ms, for two looks of 20 ms in a row.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from peers.axes import number
from peers.choice import about
from peers.cpus import Placed, Scheduled, pin, placed, scheduled
from peers.points import Stopped, load
from peers.servers import PEERS, fastgear_command, running
from peers.tables import spread, table
from peers.turns import Turns, add_options, end, take_turns

from fastgear import AdminClient
from fastgear.addresses import Address
from fastgear.bench.connections import connect_many
from fastgear.bench.load import Load

LOOK_S = 0.02
REST_S = 1.0  # the server gives memory back after a fifth of that
MIB = 1 << 20
PHASES = ("fill", "load", "drain", "rest")


@dataclass(frozen=True)
class Phase:
    """What is known at its end."""

    jobs_per_s: float
    p99_us: float
    longest_turn_us: int  # since the server's start
    raised: bool  # by this phase
    ran_ms: float
    waited_ms: float
    most_waited_ms: float  # in two looks in a row
    rss: int


@dataclass(frozen=True)
class Measured:
    """Of a round."""

    rss_before: int
    bytes_per_job: float
    phases: dict[str, Phase]


# -- the server's thread


def loop_thread(pid: int) -> Scheduled:
    """The one that has run most."""
    return max(scheduled(pid).values(), key=lambda one: one.ran_ns, default=Scheduled(0, 0))


class Looks:
    """At how long the server's thread has waited for a CPU, again and again."""

    def __init__(self, pid: int) -> None:
        self.most_ns = 0
        self.first = self.last = loop_thread(pid)
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        before = last = self.first.waited_ns
        ended = False
        while not ended:
            ended = self._ended.wait(LOOK_S)
            before, last, now = last, loop_thread(self._pid).waited_ns, before
            self.most_ns = max(self.most_ns, last - now)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        self.last = loop_thread(self._pid)


@contextmanager
def looking(pid: int) -> Iterator[Looks]:
    looks = Looks(pid)
    try:
        yield looks
    finally:
        looks.end()


# -- the phases


@dataclass(frozen=True)
class Place:
    """Where a load goes."""

    pid: int
    port: int
    args: argparse.Namespace

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def limit_s(self) -> float:
        """For all jobs."""
        return 60.0 + int(self.args.jobs) * 20e-6


Rate = tuple[float, float]  # jobs/s, and p99 in µs or 0


def fill(place: Place) -> Rate:
    words = f"background --workers 0 --clients 4 --pipeline 100 --uniques all --keep --count {place.args.jobs}"
    found = load([*words.split(), "--seconds", str(place.limit_s)], place.port, place.pid, place.limit_s)
    if found["requests"] != place.args.jobs:
        raise Stopped(f"filling took more than {place.limit_s:g} s")
    return found["per_s"], found["latency_us"]["p99"]


def crowd(place: Place) -> Rate:
    half, seconds = str(max(1, place.args.connections // 2)), place.args.seconds
    words = ["foreground", "--clients", half, "--workers", half, "--seconds", str(seconds), "--warm-up", "0"]
    found = load(words, place.port, place.pid, seconds + 30)
    return found["per_s"], found["latency_us"]["p99"]


def drain(place: Place) -> Rate:
    with AdminClient(place.address) as admin:
        ((name, jobs),) = [(one.name, one.total) for one in admin.status() if one.total]
    address = Address.parse(place.address)
    with ExitStack() as stack:
        sockets = connect_many(address, 4, 10, stack)
        fds = [sock.fileno() for sock in sockets]
        workers = stack.enter_context(
            Load(address, [name.encode()], workers=fds, grabs=64, payload=16, result=16, taking=True)
        )
        workers.begin(jobs, place.limit_s)
        while not workers.run(0.1):
            pass
        if workers.counts["assigned"] != jobs:
            raise Stopped(f"draining took more than {place.limit_s:g} s")
        return jobs / workers.busy_s, 0.0


def rest(_: Place) -> Rate:
    time.sleep(REST_S)
    return 0.0, 0.0


DOES: dict[str, Callable[[Place], Rate]] = dict(zip(PHASES, (fill, crowd, drain, rest), strict=True))


def longest_turn_us(place: Place) -> int:
    with AdminClient(place.address) as admin:
        return admin.counters()["longest_turn_us"]


def run_phase(name: str, place: Place, longest_before: int) -> Phase:
    with looking(place.pid) as looks:
        jobs_per_s, p99_us = DOES[name](place)
    longest = longest_turn_us(place)
    return Phase(
        jobs_per_s=jobs_per_s,
        p99_us=p99_us,
        longest_turn_us=longest,
        raised=longest > longest_before,
        ran_ms=(looks.last.ran_ns - looks.first.ran_ns) / 1e6,
        waited_ms=(looks.last.waited_ns - looks.first.waited_ns) / 1e6,
        most_waited_ms=looks.most_ns / 1e6,
        rss=psutil.Process(place.pid).memory_info().rss,
    )


def measure(args: argparse.Namespace, cpus: Placed) -> Measured:
    with (
        tempfile.TemporaryDirectory(prefix="fastgear-longest-turn-") as folder,
        running(fastgear_command, Path(folder)) as (pid, port),
    ):
        pin(pid, cpus.server)
        place = Place(pid, port, args)
        rss_before, longest = psutil.Process(pid).memory_info().rss, longest_turn_us(place)
        phases: dict[str, Phase] = {}
        for name in PHASES:
            phases[name] = run_phase(name, place, longest)
            longest = phases[name].longest_turn_us
    return Measured(rss_before, (phases["fill"].rss - rss_before) / args.jobs, phases)


# -- a table


def row(rounds: list[Measured], name: str) -> list[str]:
    phases = [one.phases[name] for one in rounds]

    def cell(values: list[float], digits: int = 0) -> str:
        return spread(values, digits) if any(values) else ""

    return [
        name,
        cell([one.jobs_per_s for one in phases]),
        cell([one.p99_us for one in phases]),
        spread([one.longest_turn_us for one in phases], 0),
        f"{sum(one.raised for one in phases)} of {len(phases)}",
        spread([one.ran_ms for one in phases], 0),
        spread([one.waited_ms for one in phases], 1),
        spread([one.most_waited_ms for one in phases], 2),
        spread([one.rss / MIB for one in phases], 0),
    ]


def shown(turns: Turns[Measured]) -> str:
    ((_, rounds),) = turns.results.items()
    head = ["phase", "jobs/s", "p99, µs", "longest turn until then, µs", "raised by it, rounds"]
    head += ["server's thread ran, ms", "waited for a CPU, ms", "at most in a turn, ms", "RSS then, MiB"]
    before = f"Before: {statistics.median(one.rss_before for one in rounds) / MIB:,.0f} MiB."
    each = f"A queued job takes {spread([one.bytes_per_job for one in rounds], 0)} bytes."
    return f"{table(head, [row(rounds, name) for name in PHASES])}\n\n{before} {each}"


def line(found: Measured) -> str:
    phases = ", ".join(f"{name} {phase.longest_turn_us:,}" for name, phase in found.phases.items())
    return f"{phases} µs; {found.bytes_per_job:,.0f} bytes a job"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, metavar="N", help="queued (default: 10000000; quick: 10000)")
    parser.add_argument("--connections", type=int, metavar="N", help="half of them workers (default: 1000; quick: 50)")
    parser.add_argument("--seconds", type=float, metavar="S", help="of the load (default: 5; quick: 0.3)")
    add_options(parser)
    args = parser.parse_args()
    args.jobs = args.jobs or (10_000 if args.quick else 10_000_000)
    args.connections = args.connections or (50 if args.quick else 1000)
    args.seconds = args.seconds or (0.3 if args.quick else 5.0)
    said = about([peer for peer in PEERS if peer.name == "fastgear"])
    with placed() as cpus:

        def once(_: str) -> tuple[Measured, str]:
            found = measure(args, cpus)
            return found, line(found)

        turns = take_turns([f"{number(args.jobs)} jobs"], args, 3, once)
    said = f"{said}; {cpus}; {number(args.jobs)} jobs queued, {args.connections:,} connections"
    end(args, turns, said, lambda: shown(turns))


if __name__ == "__main__":
    main()
