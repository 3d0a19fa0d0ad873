# SPDX-License-Identifier: MIT
"""The public names as a typed program uses them; mypy --strict reads this file, and a test runs it."""

from __future__ import annotations

import fastgear
from fastgear import Client, Job, JobStatus, Priority, Server, ServerConfig, ServerSnapshot, Worker, WorkerJob


def make_worker(address: str) -> Worker:
    worker = Worker(address, prefetch=4)

    @worker.function("reverse", timeout=30)
    def reverse(job: WorkerJob) -> bytes:
        job.set_status(1, 1)
        return job.workload[::-1]

    @worker.function("upper")
    def upper(job: WorkerJob) -> str:
        return job.workload.decode().upper()

    return worker


def use(server: Server) -> ServerSnapshot:
    with Client(server.address, timeout=5) as client:
        handle: str = client.submit_background("reverse", b"abc", priority=Priority.HIGH)
        status: JobStatus = client.status(handle)
        assert status.known
        job: Job = client.submit("upper", b"abc", unique="1")
        try:
            job.result(timeout=0.01)
        except fastgear.JobTimeout as error:
            assert isinstance(error, TimeoutError)
    return server.snapshot()


def main() -> None:
    with Server(config=ServerConfig(listen=("127.0.0.1:0",))) as server:
        snapshot = use(server)
        assert make_worker(server.address).functions == ("reverse", "upper")
        assert {function.name for function in snapshot.functions} == {"reverse", "upper"}


if __name__ == "__main__":
    main()
