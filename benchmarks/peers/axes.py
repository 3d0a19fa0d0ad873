# SPDX-License-Identifier: MIT
"""The loads: some of one size each, and curves over the things that grow in a job server's life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CURVES", "Curve", "Point", "number"]

LIMIT_S = 20.0  # the most that one point takes


@dataclass(frozen=True)
class Point:
    label: str
    value: int  # on the axis
    words: str  # for fastgear bench
    count: int | None = None  # requests, at most; None: as many as there is time for
    whole: bool = False  # nothing less than all of them will do
    warm_up: bool = False  # a small queue, filled and emptied before
    limit_s: float = LIMIT_S


@dataclass(frozen=True)
class Curve:
    name: str
    title: str
    axis: str
    points: Sequence[Point]
    base: int | None = None  # the value that others are divided by; None: more work is bound to cost more
    pictured: bool = True


def number(value: int) -> str:
    for size, unit in ((1_000_000, " M"), (1000, " k")):
        if value >= size and value % size == 0:
            return f"{value // size}{unit}"
    return str(value)


def size(value: int) -> str:
    for one, unit in ((1 << 20, " MiB"), (1 << 10, " KiB")):
        if value >= one and value % one == 0:
            return f"{value // one}{unit}"
    return f"{value} B"


LOADS = Curve(
    "loads",
    "Foreground jobs and echoes",
    "load",
    (
        Point("8 clients, 8 workers, one job each", 1, "foreground"),
        Point("8 clients, 8 workers, 32 in flight", 2, "foreground --pipeline 32 --grabs 32"),
        Point("1 client, 1 worker, one job at a time", 3, "foreground --clients 1 --workers 1"),
        Point("4 connections, 100 echoes in flight", 4, "echo --clients 4 --pipeline 100"),
    ),
    pictured=False,
)

DEPTHS = (1000, 10_000, 100_000, 1_000_000, 10_000_000)


def deep(depth: int, words: str, limit_s: float) -> Point:
    """As many jobs as the queue is deep, with more time for the largest."""
    limit_s = limit_s if depth == DEPTHS[-1] else LIMIT_S
    return Point(number(depth), depth, words, count=depth, whole=True, warm_up=True, limit_s=limit_s)


def over_depths(name: str, title: str, axis: str, words: str, limit_s: float) -> Curve:
    return Curve(name, title, axis, tuple(deep(depth, words, limit_s) for depth in DEPTHS), base=10_000)


FILL = over_depths(
    "fill",
    "Submitting background jobs, each with a unique id of its own, to a queue that grows",
    "jobs in the queue at the end",
    "background --workers 0 --clients 4 --pipeline 100 --uniques all --keep",
    60,
)

DRAIN = over_depths(
    "drain",
    "Giving those jobs out to 4 workers, until the queue is empty",
    "jobs in the queue at the beginning",
    "drain --workers 4 --grabs 64 --uniques all",
    100,
)

FUNCTIONS = Curve(
    "functions",
    "Foreground jobs for many functions in turn; 8 clients, and 8 workers that can do them all",
    "functions of each worker",
    tuple(
        Point(number(count), count, f"foreground --functions {count}") for count in (1, 10, 100, 1000, 10_000)
    ),
    base=1,
)  # fmt: skip

SLEEPERS = Curve(
    "sleepers",
    "One foreground job at a time, beside workers that sleep and can do it, too",
    "sleeping workers",
    tuple(
        Point(number(count), count, f"foreground --clients 1 --workers 1 --sleepers {count}")
        for count in (0, 10, 100, 500, 2000)
    ),
    base=0,
)


def crowd(clients: int) -> Point:
    """Where many jobs are under way at once, they have to be seen to their end, or those that were not would count, too."""
    words = f"foreground --clients {clients} --workers 8"
    return Point(
        number(clients), clients, words, count=10 * clients if clients >= 1000 else None, whole=clients >= 1000
    )


CONNECTIONS = Curve(
    "connections",
    "Foreground jobs of many clients, each with one under way, for 8 workers",
    "clients",
    tuple(crowd(clients) for clients in (1, 10, 100, 1000, 5000)),
    base=10,
)

PAYLOAD = Curve(
    "payload",
    "One foreground job at a time, with a result as large as its workload",
    "bytes of the workload",
    tuple(
        Point(size(count), count, f"foreground --clients 1 --workers 1 --payload {count}")
        for count in (0, 16, 256, 4 << 10, 64 << 10, 1 << 20, 4 << 20, 16 << 20)
    ),
)

MEMORY = Curve(
    "memory",
    "Memory of a queue of background jobs of 16 bytes, without unique ids, that is filled and emptied",
    "jobs in the queue",
    tuple(
        Point(
            number(count),
            count,
            "background --workers 0 --clients 4 --pipeline 100 --payload 16",
            count=count,
            whole=True,
        )
        for count in (100_000, 1_000_000)
    ),
    pictured=False,
)

CURVES = (LOADS, FILL, DRAIN, FUNCTIONS, SLEEPERS, CONNECTIONS, PAYLOAD, MEMORY)
