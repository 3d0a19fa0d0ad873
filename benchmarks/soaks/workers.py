# SPDX-License-Identifier: MIT
"""The workers of the soak, but for the one on raw sockets. Each notes what it does, before the server is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from fastgear import JobFailed, Worker, WorkerJob, aio
from soaks.jobs import KINDS, TIMEOUT_S, function_of, result, steps, token_of
from soaks.notes import Notes

__all__ = ["blocking", "calls", "prefetching", "with_asyncio"]

AT_ONCE = 4  # jobs of asyncio's worker
PREFETCHED = 8


def finish(notes: Notes, handle: str, token: str, workload: bytes) -> bytes:
    found = result(workload)
    notes.write("done", handle, token)
    if function_of(token) == "failing":
        raise JobFailed(token)
    if function_of(token) == "raising":
        raise ValueError(token)
    return found


def calls(notes: Notes) -> dict[str, Callable[[WorkerJob], bytes]]:
    """What a plain worker does, by function."""

    def call(job: WorkerJob) -> bytes:
        token = token_of(job.workload)
        notes.write("begins", job.handle, token)
        for what, value in steps(token):
            if isinstance(value, float):
                time.sleep(value)
            elif what == "status":
                job.set_status(*map(int, value.split(b"/")))
            else:
                (job.send_data if what == "data" else job.warn)(value)
        return finish(notes, job.handle, token, job.workload)

    return {kind: call for kind in KINDS if kind not in ("fickle", "timed")}


def blocking(address: str, notes: Notes, prefetch: int = 1) -> None:
    worker = Worker(address, prefetch=prefetch, client_id="soak")
    found = calls(notes)
    for name, call in found.items():
        worker.register(name, call)
    if prefetch == 1:  # time runs for a job that waits here, too
        worker.register("timed", found["quick"], timeout=TIMEOUT_S)
    worker.run()


def prefetching(address: str, notes: Notes) -> None:
    blocking(address, notes, PREFETCHED)


def with_asyncio(address: str, notes: Notes) -> None:
    async def call(job: aio.WorkerJob) -> bytes:
        token = token_of(job.workload)
        notes.write("begins", job.handle, token)
        for what, value in steps(token):
            if isinstance(value, float):
                await asyncio.sleep(value)
            elif what == "status":
                await job.set_status(*map(int, value.split(b"/")))
            else:
                await (job.send_data if what == "data" else job.warn)(value)
        return finish(notes, job.handle, token, job.workload)

    async def run() -> None:
        worker = aio.Worker(address, concurrency=AT_ONCE, client_id="soak asyncio")
        for kind in KINDS.keys() - {"fickle"}:
            worker.register(kind, call, timeout=TIMEOUT_S if kind == "timed" else None)
        await worker.run(handle_signals=True)

    asyncio.run(run())
