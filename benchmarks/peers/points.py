# SPDX-License-Identifier: MIT
"""One point of a curve for one server: a fresh process, a load within limits of time and memory, and what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from peers.axes import Point
from peers.servers import DidNotComeUp, Peer, running

__all__ = ["Measured", "Stopped", "measure"]

MOST_BYTES = 12 << 30  # of a server, and of a load
LOOK_S = 0.05
WARM_UP = "background --workers 0 --clients 4 --pipeline 100 --uniques all --count 5000"


@dataclass(frozen=True)
class Measured:
    jobs_per_s: float
    cpu_us: float  # of the server, a job
    p50_us: float
    load_share: float  # of a CPU, by the load itself
    bytes_per_job: float  # by which the server grew
    jobs: int
    took_s: float  # with all that belongs to it
    given_back: float = 0.0  # of what it grew by, the share that it does not keep when the queue is empty


class Stopped(Exception):
    """Why there is no figure, in words that fit into a table."""


def measure(peer: Peer, point: Point, seconds: float, limit_s: float, folder: Path) -> Measured:
    """Raises Stopped. A point that needs a number of jobs gets the time that it takes, up to its limit; others `seconds`."""
    try:
        return measure_running(peer, point, seconds, min(limit_s, point.limit_s), folder)
    except DidNotComeUp:
        raise Stopped("did not come up") from None


def measure_running(peer: Peer, point: Point, seconds: float, limit_s: float, folder: Path) -> Measured:
    begun = time.monotonic()
    with running(peer.command, folder) as (pid, port):
        if point.warm_up:
            load(WARM_UP.split(), port, pid, limit_s)
        words = ["--seconds", str(limit_s if point.whole else seconds), "--warm-up", str(min(0.2, seconds))]
        if point.count is not None:
            words += ["--count", str(point.count)]
        found = load([*point.words.split(), *words], port, pid, limit_s)
    if point.whole and found["requests"] != point.count:
        raise Stopped(f"more than {limit_s:g} s")
    target = found["target"]
    grown = max(0, target["rss"] - target["rss_before"])
    return Measured(
        jobs_per_s=found["per_s"],
        cpu_us=target["cpu_us_per_request"],
        p50_us=found["latency_us"]["p50"],
        load_share=found["own_cpu_share"],
        bytes_per_job=grown / max(1, found["requests"]),
        jobs=found["requests"],
        took_s=time.monotonic() - begun,
        given_back=max(0, target["rss"] - target["rss_after"]) / grown if grown else 0.0,
    )


def load(words: list[str], port: int, pid: int, limit_s: float) -> dict:
    """What `fastgear bench` finds. It runs in a process of its own, so that it can be ended whatever it waits for."""
    words = [*words, "--server", f"127.0.0.1:{port}", "--pid", str(pid), "--patience", str(limit_s / 2), "--json"]
    command = [sys.executable, "-m", "fastgear", "bench", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd="/") as process:  # not where sources lie
        try:
            watch(process, psutil.Process(pid), limit_s)
        except BaseException:
            process.kill()
            raise
        out, err = process.communicate()
    if process.returncode:
        raise Stopped(in_short(err, f"127.0.0.1:{port} "))
    return json.loads(out)


def in_short(said: str, server: str) -> str:
    """The last line of an error, for a table."""
    last = (said.strip().splitlines() or ["the load failed"])[-1]
    return last.removeprefix("fastgear bench: ").removeprefix(server).partition(", and")[0]


def watch(process: subprocess.Popen[str], server: psutil.Process, limit_s: float) -> None:
    """Until it ends by itself. What it writes fits into a pipe."""
    deadline = time.monotonic() + limit_s
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise Stopped(f"more than {limit_s:g} s")
        try:
            used = max(server.memory_info().rss, psutil.Process(process.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            used = 0  # one of them has just ended; the load will say more
        if used > MOST_BYTES:
            raise Stopped(f"more than {MOST_BYTES >> 30} GiB")
        time.sleep(LOOK_S)
