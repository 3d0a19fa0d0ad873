# SPDX-License-Identifier: MIT
"""What each client does with each worker, and what has to be seen of it. The names are the columns of the matrix."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import partial

from foreign.driver import Event, Trouble
from foreign.peers import AS_FAILURE, CANNOT, WORKER
from foreign.stage import Stage, until

__all__ = ["FEATURES"]

_numbers = itertools.count()
_MIB = random.Random(1).randbytes(1 << 20)
_ALL_BYTES = bytes(range(256))
_PIECES: list[Event] = [("data", b"one"), ("data", b"two"), ("complete", b"three")]
# With -N the tool sends all that it has read so far with each line, and no result.
_TOOL_PIECES: list[Event] = [("data", b"one"), ("data", b"one\ntwo"), ("complete", b"")]

Try = Callable[[Stage, str, str], None]


def shifted(data: bytes) -> bytes:
    return bytes((byte + 1) % 256 for byte in data)


def fresh(client: str, worker: str) -> str:
    """A unique that no job had before."""
    return f"{client}-{worker}-{next(_numbers)}"


def printed(events: list[Event]) -> list[Event]:
    """The same, as the tool prints it: its output is buffered where it comes from printf, and data are not."""
    output = last = errors = b""
    for kind, *values in events:
        if kind in ("data", "complete"):
            output += values[0]
        elif kind == "warning":
            errors += values[0]
        elif kind == "status":
            last += b"%d%% Complete\n" % (100 * values[0] // values[1])
        else:
            errors += b"Job failed\n"
    return [("printed", output + last, errors)]


def expect(stage: Stage, client: str, events: list[Event], what: str = "") -> None:
    """The client has to see just these, in this order."""
    seen = stage.client(client).events()
    wanted = printed(events) if client == "tool" else events
    if seen != wanted:
        raise Trouble(f"{what}the client saw {str(seen)[:300]}, not {str(wanted)[:300]}")


def runs(function: str, workload: bytes, events: list[Event], stage: Stage, client: str, worker: str) -> None:
    stage.client(client).begin(f"{worker}-{function}", workload)
    expect(stage, client, events)


def shift(workload: bytes) -> Try:
    return partial(runs, "shift", workload, [("complete", shifted(workload))])


def pieces(stage: Stage, client: str, worker: str) -> None:
    runs("pieces", b"go", _TOOL_PIECES if worker == "tool" else _PIECES, stage, client, worker)


def exception(stage: Stage, client: str, worker: str) -> None:
    """What it is, is the worker's own: a text, a traceback, or a frozen object of Perl."""
    stage.client(client).begin(f"{worker}-raise", b"go")
    if client in AS_FAILURE:
        expect(stage, client, [("fail",)])
        return
    (event,) = stage.client(client).events()
    if event[0] != "exception" or b"broken" not in bytes(event[1]):  # type: ignore[arg-type]
        raise Trouble(f"the client saw {event}")


def background(stage: Stage, client: str, worker: str) -> None:
    """The worker runs it, and it is gone after that."""
    function = f"{worker}-hold"
    with stage.gates(1) as (gate,):
        handle = stage.client(client).queue(function, str(gate.path).encode())
        if not handle:
            raise Trouble("the client got no handle")
        gate.wait()
        gate.open()
        until("the job is over", lambda: stage.jobs(function) == 0)


def priorities(stage: Stage, client: str, worker: str) -> None:
    """In the foreground each is run; in the background the worker, busy meanwhile, gets high before normal before low."""
    driver, function = stage.client(client), f"{worker}-hold"
    for priority in ("high", "low"):
        driver.begin(f"{worker}-shift", b"abc", priority)
        expect(stage, client, [("complete", b"bcd")], f"{priority}: ")
    with stage.gates(4) as (first, *others):
        driver.queue(function, str(first.path).encode())
        first.wait()
        waiting = dict(zip(("low", "normal", "high"), others, strict=True))
        for priority, gate in waiting.items():
            driver.queue(function, str(gate.path).encode(), priority)
        first.open()
        for priority in ("high", "normal", "low"):
            until("the next job runs", lambda: any(gate.is_reached() for gate in waiting.values()))
            reached = [name for name, gate in waiting.items() if gate.is_reached()]
            if reached != [priority]:
                raise Trouble(f"{reached} ran when {priority} was to")
            waiting.pop(priority).open()
    until("all jobs are over", lambda: stage.jobs(function) == 0)


def status_asked(stage: Stage, client: str, worker: str) -> None:
    """While it runs, with what the worker has said of it, and after that."""
    with stage.gates(1) as (gate,):
        handle = stage.client(client).queue(f"{worker}-hold", str(gate.path).encode())
        gate.wait()
        progress = (0, 0) if "status seen" in CANNOT.get((worker, WORKER), {}) else (1, 2)
        until(
            f"the client is told running and {progress}",
            lambda: stage.client(client).state(handle) == (1, 1, *progress),
        )
        gate.open()
        until("the client is told that it is over", lambda: stage.client(client).state(handle) == (0, 0, 0, 0))


def coalescing(stage: Stage, client: str, worker: str) -> None:
    """The client joins a job that another has submitted with the same unique: it is run once, and both get its result."""
    function, unique = f"{worker}-hold", fresh(client, worker)
    with stage.gates(1) as (gate,):
        other = stage.control.submit(function, str(gate.path).encode(), unique=unique)
        gate.wait()
        stage.client(client).begin(function, b"/nowhere", unique=unique)
        until("two clients wait for it", lambda: stage.control.status_unique(unique).waiting_clients == 2)
        gate.open(b"for both")
        expect(stage, client, [("complete", b"for both")])
        if other.result(10) != b"for both" or stage.jobs(function):
            raise Trouble("it was not one job")


def unique_seen(stage: Stage, client: str, worker: str) -> None:
    unique = fresh(client, worker)
    stage.client(client).begin(f"{worker}-unique", b"go", unique=unique)
    expect(stage, client, [("complete", unique.encode())])


FEATURES: dict[str, Try] = {
    "foreground": shift(b"hello"),
    "background": background,
    "priorities": priorities,
    "status seen": partial(runs, "progress", b"go", [("status", 1, 2), ("complete", b"done")]),
    "status asked": status_asked,
    "data": pieces,
    "warning": partial(runs, "warn", b"go", [("warning", b"careful"), ("complete", b"done")]),
    "failure": partial(runs, "fail", b"go", [("fail",)]),
    "exception": exception,
    "empty": shift(b""),
    "binary": shift(_ALL_BYTES),
    "1 MiB": shift(_MIB),
    "coalescing": coalescing,
    "unique seen": unique_seen,
}
