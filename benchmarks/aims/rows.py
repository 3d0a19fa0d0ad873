# SPDX-License-Identifier: MIT
"""The rows: what fastgear is to reach, the program that measures it, and where in the file that it saves the figures are.

Each program is run for one round at a time; in every other round its servers, pools and points come in reverse order, so that
nobody is always the first. The aims of the pool are those of pools/workloads.py.
"""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from peers.axes import CURVES
from pools.workloads import WORKLOADS

__all__ = ["Figure", "Program", "Row", "Saved", "read", "rows", "why_not"]

Saved = dict[str, Any]

TUNED = "gearmand tuned -t 1"
PAYLOAD = 16
DURABLE = "fastgear, full"
LONG_ROUNDS = 5  # of what takes half a minute


@dataclass(frozen=True)
class Program:
    """`turned` are options, with values that change their order from round to round."""

    file: str
    words: tuple[str, ...]
    turned: tuple[tuple[str, tuple[str, ...]], ...] = ()
    most_rounds: int = 1000

    def command(self, turn: int) -> list[str]:
        """Without what says how many rounds there are, and where they are to be saved."""
        turned = [(option, values[::-1] if turn % 2 else values) for option, values in self.turned]
        return [self.file, *self.words, *(word for option, values in turned for word in (option, ",".join(values)))]


@dataclass(frozen=True)
class Figure:
    """The keys that lead to a list in the saved file, and of each one in it a field; without a name, itself."""

    path: tuple[str, ...]
    field: str = ""
    less: float = 0.0


@dataclass(frozen=True)
class Row:
    title: str
    unit: str
    program: Program
    ours: Figure
    beside: str
    theirs: Figure
    how: str
    limit: float
    is_ratio: bool = True

    @property
    def command(self) -> str:
        return shlex.join(["python", f"benchmarks/{self.program.command(0)[0]}", *self.program.command(0)[1:]])


# -- what a program has saved


def at(saved: Saved, path: tuple[str, ...]) -> Any:
    """None when there is nothing."""
    found: Any = saved
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def read(figure: Figure, saved: Saved) -> float | None:
    """The median, where a round has several."""
    found = [one[figure.field] if figure.field else one for one in at(saved, figure.path) or []]
    return statistics.median(found) - figure.less if found else None


def why_not(figure: Figure, saved: Saved, said: str) -> str:
    """Why a figure is not there, by what the program has saved and said."""
    stopped = at(saved, ("stopped", *figure.path[1:]))
    if isinstance(stopped, str):
        return stopped
    lines = said.strip().splitlines() or ["it is not among what was saved"]
    return next((line for line in lines if figure.path[-1].partition(" ")[0] in line), lines[-1])


# -- job servers


def compare(
    curve: str, points: tuple[int, ...], peers: tuple[str, ...], seconds: float, most_rounds: int = 1000
) -> Program:
    words = ("--only", curve, "--seconds", f"{seconds:g}")
    turned = (("--points", tuple(map(str, points))), ("--peers", peers))
    return Program("compare.py", words, turned, most_rounds)


def on_curve(curve: str, value: int, peer: str, field: str, less: float = 0.0) -> Figure:
    (labels,) = ({point.value: point.label for point in one.points} for one in CURVES if one.name == curve)
    return Figure(("rounds", curve, labels[value], peer), field, less)


def beside_peer(curve: str, value: int, peer: str, seconds: float) -> Any:
    """What makes a row of fastgear beside a server, at one point."""
    program = compare(curve, (value,), ("fastgear", peer), seconds)

    def row(title: str, unit: str, field: str, how: str, limit: float, is_ratio: bool = True, less: float = 0.0) -> Row:
        ours, theirs = (on_curve(curve, value, name, field, less) for name in ("fastgear", peer))
        return Row(title, unit, program, ours, peer, theirs, how, limit, is_ratio)

    return row


def foreground(seconds: float) -> Iterator[Row]:
    one_each, many, single, echo = (beside_peer("loads", number, "roofline", seconds) for number in (1, 2, 3, 4))
    yield one_each("server CPU per foreground job, 8 workers, one job each", "µs", "cpu_us", "<=", 1.15)
    yield single("one foreground job at a time, p50", "µs", "p50_us", "<=", 1.1)
    yield many("server CPU per foreground job, 8 workers with 32 grabs in flight", "µs", "cpu_us", "<=", 1.25)
    yield many("foreground jobs/s, 8 workers with 32 grabs in flight", "jobs/s", "jobs_per_s", ">=", 0.9)
    yield echo("echo requests/s, 4 connections with 100 in flight", "requests/s", "jobs_per_s", ">=", 0.8)


def queues(seconds: float, parts: int) -> Iterator[Row]:
    """The depths are divided by `parts`."""
    million, few, many = 1_000_000 // parts, 10_000 // parts, 10_000_000 // parts
    fill, memory = (beside_peer(curve, million, TUNED, seconds) for curve in ("fill", "memory"))
    yield fill("background submits/s, 1 M jobs with unique ids", "jobs/s", "jobs_per_s", ">=", 1e6, is_ratio=False)
    deep = compare("fill", (few, few, few, many), ("fastgear",), seconds, LONG_ROUNDS)
    yield Row(
        "server CPU per background job, 10 M in the queue",
        "µs",
        deep,
        on_curve("fill", many, "fastgear", "cpu_us"),
        "with 10 k",
        on_curve("fill", few, "fastgear", "cpu_us"),
        "<=",
        1.3,
    )
    yield memory(
        "memory per queued 16-byte job, beside its bytes", "B", "bytes_per_job", "<=", 200, is_ratio=False, less=PAYLOAD
    )
    yield memory("memory given back when that queue is empty", "of 1", "given_back", ">=", 0.8, is_ratio=False)


def idle_workers(seconds: float) -> Iterator[Row]:
    """0 others sleep where one does the jobs, and sleeps in between."""
    program = compare("sleepers", (0, 500), ("fastgear",), seconds)
    for title, field in (("p50", "p50_us"), ("server CPU", "cpu_us")):
        most, least = (on_curve("sleepers", count, "fastgear", field) for count in (500, 0))
        yield Row(
            f"one job with 500 idle workers, {title}", "µs", program, most, "with 1 idle worker", least, "<=", 1.2
        )


def large(seconds: float) -> Iterator[Row]:
    row = beside_peer("payload", 4 << 20, "gearmand", seconds)
    yield row("4 MiB workload and result, jobs/s", "jobs/s", "jobs_per_s", ">=", 2)
    yield row("4 MiB workload and result, server CPU", "µs", "cpu_us", "<=", 0.5)


def durable(seconds: float, jobs: int) -> Row:
    words = ("--only", "gearmand", "--seconds", f"{seconds:g}", "--jobs", str(jobs), "--patience", "0.5")
    ours, theirs = (Figure(("results", name), "submits_per_s") for name in (DURABLE, "gearmand"))
    title = "durable background submits/s, fsync on, 4 connections with 100 in flight"
    return Row(title, "jobs/s", Program("durable.py", words), ours, "gearmand", theirs, ">=", 100_000, False)


# -- clients, workers and pools in Python


def python_side(jobs: int) -> Iterator[Row]:
    program = Program("python_side.py", ("--only", "fastgear,pygearman", "--jobs", str(jobs)))
    title = "Python client to 2 Python workers, no-op jobs, end to end"
    for kind, words, limit in (("fastgear, prefetch", "with prefetch", 60_000), ("fastgear", "without", 15_000)):
        ours, theirs = (Figure(("results", name), "jobs_per_s") for name in (kind, "pygearman"))
        yield Row(f"{title}, {words}", "jobs/s", program, ours, "pygearman", theirs, ">=", limit, False)
    ours, theirs = (Figure(("results", name), "pick_up_us") for name in ("fastgear", "pygearman"))
    title = "pick-up of one background job by an idle Python worker, p50"
    yield Row(title, "µs", program, ours, "pygearman", theirs, "<=", 250, False)


def pool() -> Iterator[Row]:
    """A row for each number that pools/workloads.py has a limit for."""
    for row in (row for workload in WORKLOADS for row in workload.rows):
        named = dict.fromkeys(peer or "Pool" for _, peer, _ in row.targets)
        program = Program("pool.py", ("--only", row.title), (("--peers", ("fastgear", *named)),))
        for how, peer, limit in row.targets:
            if limit is not None:
                beside = peer or "Pool"
                ours, theirs = (Figure(("results", row.title, name)) for name in ("fastgear", beside))
                title = f"pool: {row.title}" + (f", beside {beside}" if len(row.targets) > 1 else "")
                yield Row(title, row.unit, program, ours, beside, theirs, how, limit, bool(peer))


def rows(quick: bool = False) -> list[Row]:
    """All; `quick`: with loads so small that the figures say nothing, under the same titles."""
    seconds, parts = (0.2, 10) if quick else (1.0, 1)
    return [
        *foreground(seconds),
        *queues(seconds, parts),
        *idle_workers(seconds),
        durable(seconds, 600_000 // parts),
        *large(seconds),
        *python_side(20_000 // parts),
        *pool(),
    ]
