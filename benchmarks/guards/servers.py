# SPDX-License-Identifier: MIT
"""Whole servers over sockets, beside the roofline; and durable submissions, beside SQLite alone.

What counts is CPU time of the server's process: on CPUs that others use as well, elapsed time says more about the others. The load
and the servers share one CPU: each then does all there is to do before the other goes on. On two, how many requests meet in a
turn, and with it their price, depends on who else is running.
"""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fastgear.addresses import Address
from fastgear.bench.bench import Outcome, bench
from fastgear.bench.plan import Plan
from guards.build import ROOT
from guards.pairs import Guard, Pair, cpu_s, one_cpu

__all__ = ["SERVERS"]

UP_S = 20
BATCH = 400  # rows a commit
COLUMNS = 'number, owner, function, "unique", reducer, priority, due_ns, attempts, submitted_ns, workload'


def fastgear(address: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "fastgear", "serve", "--listen", address, "--verbose=ERROR", *words]


def roofline(address: str) -> list[str]:
    binary, source = ROOT / "build" / "roofline", ROOT / "benchmarks" / "roofline.c"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", str(binary), str(source)], check=True)
    return [str(binary), address]


@contextmanager
def running(command: Sequence[str], path: Path) -> Iterator[tuple[Address, int]]:
    """Its address, and its process id; ended whatever happens."""
    with open(path.with_suffix(".log"), "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_up(process, path)
        yield Address(path=str(path)), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], path: Path) -> None:
    deadline = time.monotonic() + UP_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                return probe.connect(str(path))
            except OSError:
                time.sleep(0.01)
    raise RuntimeError(f"{process.args!r} did not come up: {path.with_suffix('.log').read_text()[-1000:]}")


def cpu_us(outcome: Outcome) -> float:
    assert outcome.target is not None
    return outcome.target.cpu_us_per_request


@contextmanager
def beside_roofline(plan: Plan) -> Iterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="fastgear-guards-") as name:
        ours, theirs = Path(name, "ours"), Path(name, "roofline")
        with (
            one_cpu(),
            running(fastgear(f"unix:{ours}"), ours) as (our_address, our_pid),
            running(roofline(f"unix:{theirs}"), theirs) as (their_address, their_pid),
        ):
            yield (
                lambda: cpu_us(bench(our_address, plan, pid=our_pid)),
                lambda: cpu_us(bench(their_address, plan, pid=their_pid)),
            )


class Sqlite:
    """Rows like a store's, that come and go in transactions of some hundreds, each of which is on the disk at its end."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"CREATE TABLE jobs ({COLUMNS.replace('number', 'number INTEGER PRIMARY KEY')})")
        self._number = 0

    def insert(self, rows: int) -> None:
        for _ in range(rows // BATCH):
            numbers = range(self._number, self._number + BATCH)
            self._number += BATCH
            self._commit(
                f"INSERT INTO jobs ({COLUMNS}) VALUES (?, 1, ?, ?, NULL, 1, 0, 0, ?, ?)",
                [(number, b"reverse", b"%016d" % number, number, b"x" * 16) for number in numbers],
            )
            self._commit("DELETE FROM jobs WHERE number = ?", [(number,) for number in numbers])

    def _commit(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(statement, rows)
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()


@contextmanager
def beside_sqlite(plan: Plan) -> Iterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="fastgear-guards-") as name:
        path = Path(name, "ours")
        alone = Sqlite(Path(name, "alone.db"))
        try:
            with one_cpu(), running(fastgear(f"unix:{path}", f"--store={name}/jobs.db"), path) as (address, pid):
                yield lambda: cpu_us(bench(address, plan, pid=pid)), lambda: cpu_s(lambda: alone.insert(2000))
        finally:
            alone.close()


def plan(kind: str, count: int, **numbers: int | None) -> Plan:
    return Plan(kind=kind, count=count, seconds=20, warm_up=0, **numbers)  # type: ignore[arg-type]


BUSY = plan("foreground", 20_000, pipeline=32, grabs=32)
EACH = plan("foreground", 2_000, clients=4, workers=4)
ALONE = plan("foreground", 1_000, clients=1, workers=1)
ECHO = plan("echo", 20_000, clients=4, pipeline=20)
DURABLE = plan("background", 4_000, clients=4, pipeline=100, workers=4, grabs=32, uniques=None)

SERVERS = [
    Guard("server_32_in_flight", "servers", "roofline", 25, 0.12, lambda: beside_roofline(BUSY)),
    Guard("server_one_job_each", "servers", "roofline", 25, 0.1, lambda: beside_roofline(EACH)),
    Guard("server_one_at_a_time", "servers", "roofline", 25, 0.1, lambda: beside_roofline(ALONE)),
    Guard("server_echo", "servers", "roofline", 25, 0.1, lambda: beside_roofline(ECHO)),
    Guard("durable_submits", "servers", "sqlite", 15, 0.15, lambda: beside_sqlite(DURABLE)),
]
