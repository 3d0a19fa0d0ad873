# SPDX-License-Identifier: MIT
"""A job as the asynchronous function that runs it sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastgear.protocol.session import AssignedJob
from fastgear.protocol.wire import PacketType
from fastgear.worker.job import JobInHand, as_bytes, status_arguments

__all__ = ["WorkerJob"]


class WorkerJob(JobInHand):
    """What an asynchronous function of `Worker` is called with. What it sends waits while the server does not read."""

    __slots__ = ("_update",)

    def __init__(self, job: AssignedJob, update: Callable[..., Awaitable[None]]) -> None:
        super().__init__(job)
        self._update = update

    async def set_status(self, numerator: int, denominator: int) -> None:
        """Tell the clients, and whoever asks for the job's status, how far it is."""
        await self._update(PacketType.WORK_STATUS, self._job.handle, *status_arguments(numerator, denominator))

    async def send_data(self, data: bytes | bytearray | memoryview | str) -> None:
        """Send a piece of the outcome ahead of the result."""
        await self._update(PacketType.WORK_DATA, self._job.handle, as_bytes(data, "a piece of data"))

    async def warn(self, text: bytes | str) -> None:
        """Send a warning; the job goes on."""
        await self._update(PacketType.WORK_WARNING, self._job.handle, as_bytes(text, "a warning"))
