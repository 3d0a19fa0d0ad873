# SPDX-License-Identifier: MIT
"""The public names as a typed program uses them; mypy --strict reads this file, and a test runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import fastgear
from fastgear import Client, Job, JobStatus, Priority, Server, ServerConfig, ServerSnapshot, Worker, WorkerJob, aio


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


def make_aio_worker(address: str) -> aio.Worker:
    worker = aio.Worker(address, concurrency=8)

    @worker.function("reverse", timeout=30)
    async def reverse(job: aio.WorkerJob) -> bytes:
        await job.set_status(1, 1)
        await job.send_data("piece")
        return job.workload[::-1]

    @worker.function("upper", thread=True)
    def upper(job: WorkerJob) -> str:
        job.warn("slow")
        return job.workload.decode().upper()

    return worker


async def use_aio(server: Server) -> None:
    async def workloads() -> AsyncIterator[bytes]:
        yield b"abc"

    worker = make_aio_worker(server.address)
    working: asyncio.Task[None] = asyncio.create_task(worker.run())
    async with aio.Client(server.address, timeout=5) as client:
        job: aio.Job = await client.submit("reverse", b"abc", priority="high")
        pieces: list[bytes] = [piece async for piece in job]
        result: bytes = await job
        assert (pieces, result, await job.result(timeout=1)) == ([b"piece"], b"cba", b"cba")
        many: list[bytes] = [await one async for one in client.submit_many("upper", workloads())]
        assert many == [b"ABC"]
        status: JobStatus = await client.status(await client.submit_background("reverse"))
        assert status.waiting_clients is None
    worker.stop()
    await working


def main() -> None:
    with Server(config=ServerConfig(listen=("127.0.0.1:0",))) as server:
        snapshot = use(server)
        assert make_worker(server.address).functions == ("reverse", "upper")
        asyncio.run(use_aio(server))
        assert {function.name for function in snapshot.functions} == {"reverse", "upper"}


if __name__ == "__main__":
    main()
