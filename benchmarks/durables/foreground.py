# SPDX-License-Identifier: MIT
"""Foreground jobs one after the other, from a client to a worker, in a process of their own.

    python foreground.py PORT SECONDS PATIENCE

Prints as JSON how many there were, and the median and the 99th percentile of how long they took, in microseconds. When one is not
done in PATIENCE seconds, it is the last one, and counts as long as that.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from durables.wire import (
    CAN_DO,
    GRAB_JOB,
    JOB_ASSIGN,
    JOB_CREATED,
    NOOP,
    PRE_SLEEP,
    SUBMIT_JOB,
    WORK_COMPLETE,
    Peer,
    request,
)

__all__ = ["Latency", "foreground"]


@dataclass(frozen=True)
class Latency:
    jobs: int
    p50_us: float
    p99_us: float


def foreground(port: int, seconds: float, patience_s: float) -> Latency:
    """From another process."""
    command = [sys.executable, __file__, *map(str, (port, seconds, patience_s))]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
    return Latency(*json.loads(done.stdout))


def one(client: Peer, worker: Peer) -> None:
    client.send(request(SUBMIT_JOB, b"foreground", b"", b"0" * 16))
    worker.expect(NOOP)
    worker.send(request(GRAB_JOB))
    handle = worker.expect(JOB_ASSIGN)[0]
    worker.send(request(WORK_COMPLETE, handle, b"0" * 16), request(PRE_SLEEP))
    client.expect(JOB_CREATED)
    client.expect(WORK_COMPLETE)


def run(port: int, seconds: float, patience_s: float) -> list[float]:
    times = []
    with Peer(port, patience_s) as client, Peer(port, patience_s) as worker:
        worker.send(request(CAN_DO, b"foreground"), request(PRE_SLEEP))
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            start = time.perf_counter()
            with suppress(TimeoutError):
                one(client, worker)
            times.append((time.perf_counter() - start) * 1e6)
            if times[-1] > patience_s * 1e6:
                break
    return times


def main() -> None:
    times = run(int(sys.argv[1]), *map(float, sys.argv[2:]))
    print(
        json.dumps(
            [len(times), statistics.median(times), statistics.quantiles(times, n=100)[98] if times[1:] else times[0]]
        )
    )


if __name__ == "__main__":
    main()
