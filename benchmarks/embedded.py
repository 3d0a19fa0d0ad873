# SPDX-License-Identifier: MIT
"""A server inside of a Python program beside one in a process of its own: jobs/s, and what it costs the program.

    python benchmarks/embedded.py [--rounds 5] [--seconds 3] [--only WORD] [--quick] [--save FILE.json]

Four ways, by turns: `fastgear serve`; `fastgear.Server` in a program whose main thread sleeps; and both once more while pure Python
burns a CPU, in the main thread of the program with the server, or in a process of its own beside `fastgear serve`. So there is the
same work either way, and the same number of busy threads: with two CPUs, server, load and burner share them. The burner is also
measured alone. The load is that of `fastgear bench`, from this process, and the burner's steps are counted over the same seconds.
"waited for it" is how much of the time that the server wanted a CPU somebody else had it.
"""

from __future__ import annotations

import argparse
import json
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers.choice import about
from peers.cpus import Scheduled, ran_ns, scheduled, waited_share
from peers.points import Stopped
from peers.servers import PEERS, fastgear_command, running
from peers.tables import spread, table
from peers.turns import Turns, add_options, end, take_turns

from fastgear import FastgearError, Server
from fastgear.addresses import Address
from fastgear.bench.bench import Outcome, bench
from fastgear.bench.plan import Plan

LOADS = {"one job each": {"pipeline": 1, "grabs": 1}, "32 in flight": {"pipeline": 32, "grabs": 32}}
STANDALONE, IDLE, BESIDE, INSIDE = (
    "standalone",
    "embedded, program idle",
    "standalone beside a burner",
    "embedded, program burns",
)
ALONE = "burner alone"
WARM_UP_S = 0.3
STEPS = 20_000  # between two looks at the clock and at the standard input, some milliseconds
GOAL = 0.9

Samples = list[tuple[float, int]]  # times, and steps until then


# -- the other process: a program that sleeps or burns, with a server in it or without


def host(with_server: bool) -> None:
    """For each line, burn until the next one; say when how many steps were done. Ends with the standard input."""
    with ExitStack() as stack:
        server = stack.enter_context(Server("127.0.0.1:0")) if with_server else None
        print(server.address if server is not None else "ready", flush=True)
        try:
            while sys.stdin.readline():
                print(json.dumps(burn()), flush=True)
        except KeyboardInterrupt:
            pass  # the other process knows, too


def burn() -> Samples:
    samples: Samples = [(time.monotonic(), 0)]
    value = 1
    while not select.select([0], [], [], 0)[0]:
        for _ in range(STEPS):
            value = (value * 31 + 7) % 1_000_003
        samples.append((time.monotonic(), samples[-1][1] + STEPS))
    sys.stdin.readline()
    return samples


class Host:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process
        self.address = self._read().strip()

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def stop(self) -> Samples:
        self.begin()
        found: Samples = json.loads(self._read())
        return found

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Stopped("the program ended early")
        return line


@contextmanager
def hosting(with_server: bool) -> Iterator[Host]:
    command = [sys.executable, __file__, "--host", "server" if with_server else "nothing"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            yield Host(process)
        except BaseException:
            process.kill()
            raise


# -- this process, which is the load


@dataclass(frozen=True)
class Measured:
    """jobs_per_s is 0 for a burner alone, steps_per_s where nothing burns."""

    jobs_per_s: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    load_share: float = 0.0  # of a CPU
    server_share: float = 0.0  # likewise, by the threads that are not the burner
    waited: float = 0.0  # of the time that those wanted a CPU, without getting one
    steps_per_s: float = 0.0


def steps_per_s(samples: Samples, begin: float, until: float) -> float:
    within = [sample for sample in samples if begin <= sample[0] <= until]
    if len(within) < 2:
        raise Stopped("the burner took less than two steps: the machine is too busy for so short a time")
    (first_s, first), (last_s, last) = within[0], within[-1]
    return (last - first) / (last_s - first_s)


def load(name: str, address: str, pid: int, seconds: float) -> Outcome:
    plan = Plan(clients=8, workers=8, seconds=seconds, warm_up=WARM_UP_S, **LOADS[name])  # type: ignore[arg-type]
    try:
        outcome = bench(Address.parse(address), plan, pid=pid, check_handles=False)
    except FastgearError as error:
        raise Stopped(str(error)) from None
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome


def server_threads(pid: int, burner: Host | None) -> dict[int, Scheduled]:
    """Without the main thread of the program where that burns."""
    found = scheduled(pid)
    if burner is not None and burner.pid == pid:
        found.pop(pid, None)
    return found


def loaded(name: str, address: str, pid: int, seconds: float, burner: Host | None) -> Measured:
    """The burner's steps count from the end of the warm-up to the end of the load."""
    if burner is not None:
        burner.begin()
    begin, before = time.monotonic() + WARM_UP_S, server_threads(pid, burner)
    outcome = load(name, address, pid, seconds)
    until, after = time.monotonic(), server_threads(pid, burner)
    return Measured(
        jobs_per_s=outcome.per_s,
        p50_us=outcome.latency_us.p50,
        p99_us=outcome.latency_us.p99,
        load_share=outcome.own_cpu_share,
        server_share=ran_ns(before, after) / 1e9 / (until - begin + WARM_UP_S),
        waited=waited_share(before, after),
        steps_per_s=steps_per_s(burner.stop(), begin, until) if burner is not None else 0.0,
    )


def standalone(name: str, seconds: float, beside: bool) -> Measured:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastgear-embedded-"))
        pid, port = stack.enter_context(running(fastgear_command, Path(folder)))
        burner = stack.enter_context(hosting(False)) if beside else None
        return loaded(name, f"127.0.0.1:{port}", pid, seconds, burner)


def embedded(name: str, seconds: float, burns: bool) -> Measured:
    with hosting(True) as program:
        return loaded(name, program.address, program.pid, seconds, program if burns else None)


def alone(seconds: float) -> Measured:
    with hosting(False) as burner:
        burner.begin()
        begin = time.monotonic() + WARM_UP_S
        time.sleep(WARM_UP_S + seconds)
        return Measured(steps_per_s=steps_per_s(burner.stop(), begin, time.monotonic()))


WAYS: dict[str, Callable[[str, float], Measured]] = {
    STANDALONE: lambda name, seconds: standalone(name, seconds, False),
    IDLE: lambda name, seconds: embedded(name, seconds, False),
    BESIDE: lambda name, seconds: standalone(name, seconds, True),
    INSIDE: lambda name, seconds: embedded(name, seconds, True),
}


# -- tables


def ratio(turns: Turns[Measured], one: str, other: str, field: str) -> tuple[float, str]:
    """Of rounds that took turns: the median, and a cell. Raises KeyError where there is not one round."""
    pairs = zip(turns.results[one], turns.results[other], strict=False)
    found = [getattr(first, field) / getattr(second, field) for first, second in pairs]
    return statistics.median(found), f"{spread(found, 2)} x"


def row(turns: Turns[Measured], name: str, way: str) -> list[str]:
    title, rounds = f"{name}: {way}", turns.results[f"{name}: {way}"]

    def against(other: str, field: str, has: bool = True) -> str:
        if other == title:
            return "1"
        return ratio(turns, title, other, field)[1] if has and other in turns.results else ""

    burns = way in (BESIDE, INSIDE)
    return [
        name,
        way,
        spread([one.jobs_per_s for one in rounds], 0),
        spread([one.p50_us for one in rounds], 0),
        *(
            f"{statistics.median(values):.0%}"
            for values in zip(*((one.load_share, one.server_share, one.waited) for one in rounds), strict=True)
        ),
        against(f"{name}: {BESIDE if burns else STANDALONE}", "jobs_per_s"),
        spread([one.steps_per_s / 1e6 for one in rounds], 2) if burns else "",
        against(f"{name}: {BESIDE}", "steps_per_s", burns),
        against(ALONE, "steps_per_s", burns),
    ]


def shown(turns: Turns[Measured]) -> str:
    rows = [row(turns, name, way) for name in LOADS for way in WAYS if f"{name}: {way}" in turns.results]
    if ALONE in turns.results:
        steps = spread([one.steps_per_s / 1e6 for one in turns.results[ALONE]], 2)
        rows.append(["none", ALONE, *[""] * 6, steps, "", "1"])
    head = ["8 clients, 8 workers", "server", "jobs/s", "p50, µs", "the load's CPU", "server's CPU", "waited for it"]
    made = table([*head, "of standalone's jobs/s", "burner, M steps/s", "of beside standalone", "of alone"], rows)
    return "\n".join([made, "", *(verdict(turns, name) for name in LOADS if f"{name}: {INSIDE}" in turns.results)])


def verdict(turns: Turns[Measured], name: str) -> str:
    try:
        found, cell = ratio(turns, f"{name}: {INSIDE}", f"{name}: {BESIDE}", "jobs_per_s")
    except KeyError:
        return f"{name}: there is no whole round."
    word = "reached" if found >= GOAL else "MISSED"
    return (
        f"{name}: while Python burns, embedded has {cell} of standalone's jobs/s; at least {GOAL} is the goal: {word}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, metavar="S", help="of each load (default: 3; quick: 0.3)")
    parser.add_argument("--only", default="", metavar="WORD", help="loads whose name has this in it")
    parser.add_argument("--host", choices=("server", "nothing"), help=argparse.SUPPRESS)
    add_options(parser, rounds=5)
    args = parser.parse_args()
    if args.host:
        return host(args.host == "server")
    seconds = args.seconds or (0.3 if args.quick else 3.0)

    def measure(title: str) -> tuple[Measured, str]:
        name, _, way = title.partition(": ")
        found = WAYS[way](name, seconds) if way else alone(seconds)
        return found, f"{found.jobs_per_s:,.0f} jobs/s, {found.steps_per_s / 1e6:.2f} M steps/s"

    said = f"{about([peer for peer in PEERS if peer.name == 'fastgear'])}; {seconds:g} s each, TCP"
    names = [f"{name}: {way}" for name in LOADS if args.only in name for way in WAYS]
    turns = take_turns([*names, ALONE], args, 5, measure)
    end(args, turns, said, lambda: shown(turns))


if __name__ == "__main__":
    main()
