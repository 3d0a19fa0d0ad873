# SPDX-License-Identifier: MIT
"""The clients of the soak, blocking and asyncio's. Each notes what was acknowledged to it, and what came of it."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

from fastgear import Client, JobError, JobException, JobFailed, Priority, aio
from soaks.jobs import KINDS, function_of, result, token_of, workload
from soaks.notes import Notes

__all__ = ["blocking", "with_asyncio"]

IsOver = Callable[[], bool]

PATIENCE_S = 60.0
BATCH = 8
TASKS = 6  # of asyncio's client
BACKGROUND, DELAYED, LEAVES, ASKS = 0.35, 0.05, 0.01, 0.1
LATEST_S = 2
SLICE_S = 0.5  # in which shared jobs have one name

_numbers = count()


def new_token() -> str:
    kind = random.choices(list(KINDS), weights=list(KINDS.values()))[0]
    if kind == "shared":
        return f"shared.{int(time.time() / SLICE_S)}"
    return f"{kind}.{os.getpid()}.{next(_numbers)}"


def submission(token: str) -> tuple[tuple[str, bytes], dict[str, Any]]:
    unique = token if function_of(token) == "shared" or random.random() < 0.5 else None
    return (function_of(token), workload(token)), {"unique": unique, "priority": random.choice(list(Priority))}


def delay() -> dict[str, Any]:
    if random.random() < DELAYED:
        return {"at": timedelta(seconds=random.randint(1, LATEST_S))}
    return {"reducer": "reducer"} if random.random() < DELAYED else {}


def word_of(job: Any, token: str, error: Exception | None, payload: bytes) -> str:
    """What came of a job that was waited for."""
    if isinstance(error, JobException):
        return "exception" if token in error.remote_traceback else f"exception: {error}"
    if isinstance(error, JobFailed):
        return "fail"
    if error is not None:
        return f"{type(error).__name__}: {error}"
    if any(not piece.startswith(token.encode()) for piece in (*job.data, *job.warnings)):
        return f"other data: {job.data} {job.warnings}"
    return "result" if payload == result(workload(token)) else f"another result: {payload[:80]!r}"


# -- blocking


class _Blocking:
    def __init__(self, address: str, notes: Notes) -> None:
        self._client, self._notes = Client(address), notes
        self._jobs: list[tuple[Any, str]] = []

    def background(self, token: str) -> None:
        args, options = submission(token)
        self._notes.write("background", self._client.submit_background(*args, **options, **delay()), token)

    def submit(self, token: str) -> None:
        args, options = submission(token)
        job = self._client.submit(*args, **options)
        self._jobs.append((job, token))
        self._notes.write("waits", job.handle, token)

    def many(self) -> None:
        workloads = [workload(f"quick.{os.getpid()}.{next(_numbers)}") for _ in range(BATCH)]
        tokens = {result(data): token_of(data) for data in workloads}
        for job in self._client.submit_many("quick", workloads):
            token = tokens.get(job.result(), "quick.of-nobody")
            self._notes.write("waits", job.handle, token)
            self._notes.write("ended", job.handle, token, word_of(job, token, None, job.result()))

    def ask(self) -> None:
        data = os.urandom(random.randrange(1000))
        if self._client.echo(data) != data:
            self._notes.fault("an echo was not what had been sent")
        for job, _ in self._jobs[:1]:
            self._client.status(job.handle)
            self._client.status_unique(job.unique or "none")

    def leave(self) -> None:
        """Without having heard of the end of its jobs."""
        for job, token in self._jobs:
            self._notes.write("ended", job.handle, token, "left")
        self._jobs.clear()
        self._client.close()

    def wait(self) -> None:
        while self._jobs:
            job, token = self._jobs.pop()
            error, payload = job.exception(PATIENCE_S), b""
            if error is None:
                payload = job.result()
            self._notes.write("ended", job.handle, token, word_of(job, token, error, payload))


def blocking(addresses: list[str], notes: Notes, rate: float, is_over: IsOver) -> None:
    clients = [_Blocking(address, notes) for address in addresses]
    due = time.monotonic()
    while not is_over():
        at = random.randrange(len(clients))
        client, size = clients[at], random.randint(1, BATCH)
        for token in (new_token() for _ in range(size)):
            (client.background if random.random() < BACKGROUND else client.submit)(token)
        if random.random() < ASKS:
            client.ask()
            client.many()
        if random.random() < LEAVES:
            client.leave()
            clients[at] = _Blocking(addresses[at], notes)
        client.wait()
        due = max(due + size / rate, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))
    for client in clients:
        client.leave()


# -- asyncio's


async def _one(client: aio.Client, notes: Notes) -> None:
    token = new_token()
    args, options = submission(token)
    if random.random() < BACKGROUND:
        notes.write("background", await client.submit_background(*args, **options, **delay()), token)
        return
    job = await client.submit(*args, **options)
    notes.write("waits", job.handle, token)
    error, payload = await job.exception(PATIENCE_S), b""
    if error is None:
        payload = await job.result()
    notes.write("ended", job.handle, token, word_of(job, token, error, payload))


async def _several(client: aio.Client, notes: Notes, rate: float, is_over: IsOver) -> None:
    due = time.monotonic()
    while not is_over():
        try:
            await _one(client, notes)
        except JobError as error:
            notes.fault(f"asyncio's client: {type(error).__name__}: {error}")
        if random.random() < ASKS:
            await client.echo(b"here")
        due = max(due + random.expovariate(rate), time.monotonic() - 1)
        await asyncio.sleep(max(0.0, due - time.monotonic()))


def with_asyncio(addresses: list[str], notes: Notes, rate: float, is_over: IsOver) -> None:
    async def run() -> None:
        async with aio.Client(addresses[0]) as one, aio.Client(addresses[1]) as other:
            clients = [one, other] * (TASKS // 2)
            await asyncio.gather(*(_several(client, notes, rate / TASKS, is_over) for client in clients))

    asyncio.run(run())
