# SPDX-License-Identifier: MIT
"""Twice as many jobs a second as can be done, over thousands of connections: what becomes of the server, and of the jobs.

    python benchmarks/overload.py [--seconds 120] [--connections 5000] [--only LOADS] [--max-memory MIB] [--save FILE.json]

Nine of ten connections are clients, the others workers; a connection more asks `version`, `status` and `workers` in turn, each
20 ms after the last answer. A closed loop, one foreground job under way for each client, measures how many jobs a second can be
done, and short open loops whether more can. Then an open loop submits twice as many for as long as was asked for, with up to 20
under way for each client. "foreground" is a server without limits; "background" is one with --max-memory, which refuses what does
not fit (QUEUE_ERROR). In the end all that was acknowledged is waited for: each job is to be given out once, and each foreground job
answered once; the check is by handle.

The exit code is 1 when one of these is not true: at least --share of what can be done is done under overload; no control command
takes --most-ms; jobs and workloads stay under --max-memory, but for a packet, and the server's process grows by no more than one
and a half times of it; nothing is lost. The server is pinned to a CPU of its own where there are two.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from peers.choice import about, chosen
from peers.cpus import pin, placed, scheduled, waited_share
from peers.servers import PEERS, Command, fastgear_command, running
from peers.tables import table

from fastgear import AdminClient
from fastgear.addresses import Address
from fastgear.bench.connections import connect_many
from fastgear.bench.handles import Handles
from fastgear.bench.load import Load

LOADS = ("foreground", "background")
COMMANDS = ("version", "status", "workers")
PAUSE_S = 0.02
SLICE_S = 0.1
PATIENCE_S = 30.0
CONNECT_S = 30.0
UNDER_WAY = 20  # for each client of the open loop
GRABS = 32
PAYLOAD = 64
PACKET = 1024  # by which the limit of memory may be passed, since nobody knows beforehand what all of a job takes
MOST = 2_000_000_000
MIB = 1 << 20


@dataclass(frozen=True)
class Stretch:
    """A load from its beginning to the last answer."""

    seconds: float  # in which was sent
    sent: int
    done: int  # in that time
    refused: int
    acknowledged: int
    assigned: int
    unknown: int  # handles of which something is still not known: lost, or given out twice

    @property
    def per_s(self) -> float:
        return self.done / self.seconds


@dataclass
class Looks:
    """What a control connection has seen."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in COMMANDS})
    memory: int = 0  # at the most, of jobs and workloads
    rss: int = 0
    failure: str = ""

    @property
    def all_ms(self) -> list[float]:
        return [1000 * one for found in self.seconds.values() for one in found]


@dataclass(frozen=True)
class Figures:
    """Of one kind of load."""

    capacity: float  # jobs a second
    offered: float
    sent: float
    done: float
    share: float
    refused: int
    acknowledged: int
    lost: int
    p50_ms: float
    p99_ms: float
    most_ms: float
    asked: int  # control commands
    max_memory: int
    memory: int
    grown: int  # the server's process, since all were connected
    waited: float  # of the time that the server's threads wanted a CPU, without getting one


class Stopped(Exception):
    """There are no figures, and why."""


# -- the connection that asks


class Control:
    """Text commands, one after the other, on a thread of its own."""

    def __init__(self, port: int, pid: int) -> None:
        self.looks = Looks()
        self._server = psutil.Process(pid)
        self._over = threading.Event()
        self._socket = socket.create_connection(("127.0.0.1", port), CONNECT_S)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> Looks:
        self._over.set()
        self._thread.join()
        self._socket.close()
        return self.looks

    def _run(self) -> None:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        try:
            while not self._over.is_set():
                for name in COMMANDS:
                    begun = time.monotonic()
                    self._ask(name)
                    self.looks.seconds[name].append(time.monotonic() - begun)
                    self._look()
                    self._over.wait(PAUSE_S)
        except OSError as error:
            self.looks.failure = f"the control connection broke: {error}"

    def _look(self) -> None:
        counters = dict(line.split("\t") for line in self._ask("counters").decode().splitlines() if "\t" in line)
        self.looks.memory = max(self.looks.memory, int(counters["memory_bytes"]))
        self.looks.rss = max(self.looks.rss, self._server.memory_info().rss)

    def _ask(self, name: str) -> bytes:
        self._socket.sendall(name.encode() + b"\n")
        reply = bytearray()
        while not reply.endswith(b"\n" if name == "version" else b"\n.\n"):
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionResetError("the server closed it")
            reply += data
            if reply == b".\n":
                break
        return bytes(reply)


# -- the loads


@contextmanager
def loading(port: int, kind: str, connections: int, rate: float | None) -> Iterator[Load]:
    """Connected, and asleep."""
    clients = connections * 9 // 10
    with ExitStack() as stack:
        sockets = connect_many(Address.parse(f"127.0.0.1:{port}"), connections, CONNECT_S, stack)
        fds = [sock.fileno() for sock in sockets]
        load = Load(
            f"127.0.0.1:{port}",
            [b"overload"],
            clients=fds[:clients],
            workers=fds[clients:],
            pipeline=UNDER_WAY if rate else 1,
            grabs=GRABS,
            payload=PAYLOAD,
            result=PAYLOAD,
            kinds=(1, 0, 0) if kind == "foreground" else (0, 1, 0),
            handles=Handles(),
            refusable=True,
            interval_ns=1e9 / rate if rate else 0.0,
        )
        stack.callback(load.close)
        load.settle()
        go_on(load)
        yield load


def go_on(load: Load) -> None:
    begun = time.monotonic()
    while not load.run(SLICE_S):
        if load.silence_s > PATIENCE_S and time.monotonic() - begun > PATIENCE_S:
            raise Stopped(f"nothing was heard for {PATIENCE_S:g} s, and {load.waiting:,} are waited for")


def stretch(load: Load, seconds: float) -> Stretch:
    """Send for so long, and then wait for all that was acknowledged."""
    load.begin(MOST, seconds)
    while not load.is_closing:
        load.run(SLICE_S)
        if load.silence_s > PATIENCE_S:
            raise Stopped(f"nothing was heard for {PATIENCE_S:g} s")
    done, elapsed = load.counts["assigned"], load.elapsed_s
    go_on(load)
    counts = load.counts
    return Stretch(
        seconds=elapsed,
        sent=counts["sent"],
        done=done,
        refused=counts["refused"],
        acknowledged=counts["acknowledged"],
        assigned=counts["assigned"],
        unknown=len(load.handles or ()),
    )


def command(kind: str, max_memory: int) -> Command:
    return lambda port: [*fastgear_command(port), *(["--max-memory", str(max_memory)] if kind == "background" else [])]


def capacity_of(port: int, kind: str, args: argparse.Namespace) -> float:
    """What a closed loop gets done, or more: an open loop may be served more cheaply. It is doubled while that is kept up."""
    with loading(port, "foreground", args.connections, None) as load:
        stretch(load, min(1.0, args.seconds))
        best = stretch(load, min(5.0, args.seconds)).per_s
    while True:
        with loading(port, kind, args.connections, 2 * best) as load:
            done = stretch(load, min(3.0, args.seconds)).per_s
        if done < 1.8 * best:
            return max(best, done)
        best = done


def measure(kind: str, args: argparse.Namespace, cpu: int | None, folder: Path) -> Figures:
    limit = args.max_memory * MIB if kind == "background" else 0
    with running(command(kind, limit), folder) as (pid, port):
        pin(pid, cpu)
        capacity = capacity_of(port, kind, args)
        with loading(port, kind, args.connections, args.times * capacity) as load:
            rss, before = psutil.Process(pid).memory_info().rss, scheduled(pid)
            control = Control(port, pid)
            try:
                found = stretch(load, args.seconds)
            finally:
                looks = control.stop()
            waited = waited_share(before, scheduled(pid))
        lost = found.acknowledged - found.assigned + found.unknown + left_in(port)
    if looks.failure:
        raise Stopped(looks.failure)
    return figures(capacity, args.times * capacity, found, looks, lost, limit, looks.rss - rss, waited)


def left_in(port: int) -> int:
    """Jobs that the server still has, or says that it lost."""
    with AdminClient(f"127.0.0.1:{port}") as admin:
        counters = admin.counters()
        return sum(one.total for one in admin.status()) + counters["lost_total"] + counters["failed_total"]


def figures(
    capacity: float,
    offered: float,
    found: Stretch,
    looks: Looks,
    lost: int,
    limit: int,
    grown: int,
    waited: float,
) -> Figures:
    times = sorted(looks.all_ms)
    return Figures(
        capacity=capacity,
        offered=offered,
        sent=found.sent / found.seconds,
        done=found.per_s,
        share=found.per_s / capacity,
        refused=found.refused,
        acknowledged=found.acknowledged,
        lost=lost,
        p50_ms=statistics.median(times),
        p99_ms=times[min(len(times) - 1, len(times) * 99 // 100)],
        most_ms=times[-1],
        asked=len(times),
        max_memory=limit,
        memory=looks.memory,
        grown=grown,
        waited=waited,
    )


# -- what has to be true


def complaints(name: str, one: Figures, args: argparse.Namespace) -> list[str]:
    """One sentence for each condition that is not met."""
    found = []
    if one.share < args.share:
        found.append(f"{one.share:.0%} of what can be done was done, and not {args.share:,.0%}")
    if one.most_ms > args.most_ms:
        found.append(f"a control command took {one.most_ms:.1f} ms (p99 {one.p99_ms:.1f}), and not {args.most_ms:g}")
    if one.lost:
        found.append(f"{one.lost:,} jobs were lost, or given out twice")
    if one.max_memory and one.memory > one.max_memory + PACKET:
        found.append(f"jobs took {one.memory:,} bytes, and not {one.max_memory:,}")
    if one.max_memory and one.grown > 1.5 * one.max_memory:
        found.append(f"the process grew by {one.grown:,} bytes, with {one.max_memory:,} for jobs")
    return [f"{name}: {sentence}" for sentence in found]


def row(name: str, one: Figures) -> Sequence[str]:
    return [
        name,
        *(f"{value:,.0f}" for value in (one.capacity, one.offered, one.sent, one.done)),
        f"{one.share:.0%}",
        *(f"{value:,}" for value in (one.acknowledged, one.refused, one.lost)),
        *(f"{value:.1f}" for value in (one.p50_ms, one.p99_ms, one.most_ms)),
        f"{one.memory / MIB:,.0f} of {one.max_memory // MIB}" if one.max_memory else f"{one.memory / MIB:,.0f}",
        f"{one.grown / MIB:,.0f}",
        f"{one.waited:.0%}",
    ]


HEAD = (
    "load", "can be done, jobs/s", "offered", "sent", "done", "share", "acknowledged", "refused", "lost",
    "control p50, ms", "p99", "most", "jobs, MiB", "process grew, MiB", "server waited for its CPU",
)  # fmt: skip


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--seconds", type=float, default=120.0, help="of each open loop (default: 120)")
    add("--connections", type=int, default=5000)
    add("--only", default="", metavar="LOADS", help=f"of {', '.join(LOADS)} (default: all)")
    add("--max-memory", type=int, default=64, metavar="MIB", help="of the server in the background load (default: 64)")
    add("--times", type=float, default=2.0, help="of what can be done that is offered (default: 2)")
    add("--share", type=float, default=0.9, help="of what can be done that has to be done (default: 0.9)")
    add("--most-ms", type=float, default=50.0, metavar="MS", help="for each control command (default: 50)")
    add("--save", metavar="FILE.json", help="write all figures to this file")
    return parser.parse_args()


def main() -> None:
    args = parsed()
    names = chosen(args.only, LOADS, "load")
    said = about([peer for peer in PEERS if peer.name == "fastgear"])
    results, failures = {}, []
    with placed() as cpus, tempfile.TemporaryDirectory(prefix="fastgear-overload-") as folder:
        said = f"{said}; {cpus}; {args.connections:,} connections, open loop of {args.seconds:g} s, {PAYLOAD} bytes"
        for name in names:
            try:
                results[name] = measure(name, args, cpus.server, Path(folder))
                failures += complaints(name, results[name], args)
            except Stopped as reason:
                failures.append(f"{name}: {reason}")
    print(f"{said}\n\n{table(HEAD, [row(name, one) for name, one in results.items()])}")
    print("".join(f"\nnot met: {sentence}" for sentence in failures) or "\nall conditions are met")
    if args.save:
        saved = {"about": said, "results": {name: asdict(one) for name, one in results.items()}, "not met": failures}
        Path(args.save).write_text(json.dumps(saved, indent=1))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
