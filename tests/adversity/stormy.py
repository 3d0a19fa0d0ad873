# SPDX-License-Identifier: MIT
"""A client, or a worker, in whose main thread a signal comes every millisecond, for test_storms.py.

    [LD_PRELOAD=calls.so FASTGEAR_CALLS=FILE] python stormy.py client|worker ADDRESS

The client prints what it has submitted, what came of it, and how many signals came meanwhile; the worker what it has run.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable

from fastgear import Client, ConnectionLost, Worker, WorkerJob

STORM_S = 0.001
FOREGROUND, MANY, BACKGROUND = 40, 60, 20
LARGE = bytes(range(256)) * 80
signals = 0


def on_signal(*_: object) -> None:
    global signals
    signals += 1


def work(address: str) -> None:
    worker = Worker(address, prefetch=4)
    ran: Counter[str] = Counter()

    @worker.function("f")
    def turn_round(job: WorkerJob) -> bytes:
        ran[job.workload[:9].decode()] += 1
        job.send_data(job.workload[:10])
        job.set_status(1, 2)
        return job.workload[::-1]

    @worker.function("end")
    def end(job: WorkerJob) -> None:
        worker.stop()

    worker.run()
    print(json.dumps({"ran": ran, "signals": signals}), flush=True)


def ask(address: str) -> None:
    """Lost connections are the test's doing: what was not acknowledged, or has not ended, is submitted once more."""
    with Client(address) as client:
        for number in range(FOREGROUND):
            workload = b"%08d " % number + (LARGE if number % 10 == 0 else b"small")
            assert again(lambda workload=workload: client.submit("f", workload).result(timeout=30)) == workload[::-1]
        for number in range(BACKGROUND):
            again(lambda number=number: client.submit_background("f", b"%08db" % number))
        workloads = {b"%08dm" % number for number in range(MANY)}
        while workloads:
            for job in client.submit_many("f", list(workloads)):
                try:
                    workloads.remove(job.result()[::-1])
                except ConnectionLost:
                    continue
        assert again(lambda: client.echo(LARGE)) == LARGE
        again(lambda: client.submit_background("end", priority="low"))
    print(json.dumps({"signals": signals}), flush=True)


def again(call: Callable[[], object]) -> object:
    while True:
        try:
            return call()
        except ConnectionLost:
            continue


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, on_signal)
    signal.setitimer(signal.ITIMER_REAL, STORM_S, STORM_S)
    {"client": ask, "worker": work}[sys.argv[1]](sys.argv[2])
    signal.setitimer(signal.ITIMER_REAL, 0)
