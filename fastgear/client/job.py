# SPDX-License-Identifier: MIT
"""A submitted job as its client sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastgear.client.view import JobView, not_done, outcome
from fastgear.errors import FastgearError
from fastgear.protocol.session import SubmittedJob

if TYPE_CHECKING:
    from fastgear.client.client import Client

__all__ = ["Job"]


class Job(JobView):
    """A foreground job: made by `Client.submit` and `Client.submit_many`.

    Its client does the waiting, so a job belongs to the thread that its client belongs to.
    """

    __slots__ = ("_client",)

    def __init__(self, client: Client, record: SubmittedJob) -> None:
        super().__init__(record)
        self._client = client

    def done(self) -> bool:
        """Whether it is over, well or not; receives what is there, and does not wait."""
        if not self._record.is_over:
            self._client._wait_for(self._record, 0.0)
        return self._record.is_over

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over; False when `timeout` seconds pass before."""
        self._client._wait_for(self._record, timeout)
        return self._record.is_over

    def result(self, timeout: float | None = None) -> bytes:
        """The worker's result, waiting for it; what it sent as data is not part of it.

        Raises JobTimeout after `timeout` seconds (the job goes on), JobFailed, JobException with the remote traceback,
        QueueFull or ServerError when the server refused it, and ConnectionLost when its fate is unknown.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._record.payload

    def exception(self, timeout: float | None = None) -> FastgearError | None:
        """What `result` would raise, or None. Raises JobTimeout itself."""
        if not self.wait(timeout):
            raise not_done(self._record, timeout)
        return outcome(self._record)
