# SPDX-License-Identifier: MIT
"""A program on a small disk of its own: a server fills it with jobs, is killed or not, and has workers end them.

    unshare --mount python full_disk.py FOLDER BYTES-OF-A-WORKLOAD [kill]

Prints as JSON how many jobs were acknowledged, and which lines the log has. Ends with an AssertionError where jobs are
lost or service does not come back.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fastgear import Client, Server, ServerConfig, ServerError

DISK = "12m"
SECONDS = 30


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage().partition(" /")[0])


def fill(client: Client, size: int) -> list[bytes]:
    """Submit until the store refuses; the workloads of what was acknowledged."""
    accepted = []
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        workload = b"%d " % len(accepted) + os.urandom(size)
        try:
            client.submit_background("f", workload)
        except ServerError as error:
            assert error.code == "QUEUE_ERROR" and "the disk is full" in error.text, error
            return accepted
        accepted.append(workload)
    raise AssertionError("the disk is not full")


def drain(address: str, jobs: int) -> list[bytes]:
    from fastgear import Worker

    done = []
    worker = Worker(address)

    @worker.function("f")
    def f(job: object) -> bytes:
        done.append(job.workload)  # type: ignore[attr-defined]
        if len(done) == jobs:
            worker.stop()
        return b""

    worker.run()
    return done


def submit_in_the_end(client: Client) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            client.submit_background("g", b"x")
            return
        except ServerError:
            assert time.monotonic() < deadline, "service does not come back"
            time.sleep(0.05)


def fill_and_die(config: ServerConfig, size: int, report: int) -> None:
    with Server(config=config) as server, Client(server.address) as client:
        os.write(report, b"%d" % len(fill(client, size)))
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    folder, size, killed = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["kill"]
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], check=True)
    config = ServerConfig(listen=("127.0.0.1:0",), store=str(folder / "jobs.db"))
    handler = Lines()
    logging.getLogger("fastgear.store").addHandler(handler)
    before = 0
    if killed:
        reading, report = os.pipe()
        pid = os.fork()
        if pid == 0:
            fill_and_die(config, size, report)
        os.close(report)
        before = int(os.read(reading, 100))
        os.waitpid(pid, 0)
    with Server(config=config) as server, Client(server.address) as client:
        accepted = before or len(fill(client, size))
        done = drain(server.address, accepted)
        assert sorted(int(workload.split(b" ")[0]) for workload in done) == list(range(accepted))
        submit_in_the_end(client)
    with Server(config=config) as server:
        assert "g\t1\t0\t0" in server.command("status") and "f\t" not in server.command("status").replace("f\t0", "")
    print(json.dumps({"accepted": accepted, "log": handler.lines}))


if __name__ == "__main__":
    main()
