# SPDX-License-Identifier: MIT
"""A submitted job as its asyncio client sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING, Any

from fastgear.aiostream import Bell
from fastgear.client.view import JobView, not_done, outcome
from fastgear.errors import FastgearError
from fastgear.protocol.session import SubmittedJob

if TYPE_CHECKING:
    from fastgear.client.aio import Client

__all__ = ["Job"]


class Job(JobView):
    """A foreground job: made by `Client.submit` and `Client.submit_many`. Any number of tasks may wait for it.

    `await job` is `await job.result()`. To cancel a wait does not cancel the job: one may wait again. ``async for piece in job``
    takes the pieces of data as they come; `data` has those that nobody has taken.
    """

    __slots__ = ("_bell", "_client")

    def __init__(self, client: Client, record: SubmittedJob, bell: Bell) -> None:
        super().__init__(record)
        self._client = client
        self._bell = bell  # rings when the record changes

    def done(self) -> bool:
        """Whether it is over, well or not, as far as it has been received."""
        return self._record.is_over

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over; False when `timeout` seconds pass before."""
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        while not self._record.is_over:
            if not await self._client._wait(self._bell, deadline):
                return self._record.is_over
        return True

    async def result(self, timeout: float | None = None) -> bytes:
        """The worker's result, waiting for it; what it sent as data is not part of it.

        Raises what `fastgear.Job.result` raises: JobTimeout after `timeout` seconds (the job goes on), JobFailed, JobException,
        QueueFull, ServerError, and ConnectionLost when its fate is unknown.
        """
        error = await self.exception(timeout)
        if error is not None:
            raise error
        return self._record.payload

    async def exception(self, timeout: float | None = None) -> FastgearError | None:
        """What `result` would raise, or None. Raises JobTimeout itself."""
        if not await self.wait(timeout):
            raise not_done(self._record, timeout)
        return outcome(self._record)

    def __await__(self) -> Generator[Any, None, bytes]:
        return self.result().__await__()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Each piece of data once, until the job is over. Raises at the end what `result` would: half is not the whole."""
        while True:
            while self._record.data:
                yield self._record.data.popleft()
            if self._record.is_over:
                break
            await self._client._wait(self._bell, None)
        if error := outcome(self._record):
            raise error
