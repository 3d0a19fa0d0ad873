# SPDX-License-Identifier: MIT
"""A job as the function that runs it sees it."""

from __future__ import annotations

from collections.abc import Callable

from fastgear.protocol.session import AssignedJob
from fastgear.protocol.wire import PacketType

__all__ = ["JobInHand", "WorkerJob", "as_bytes", "status_arguments"]


def as_bytes(value: object, what: str) -> bytes:
    """Bytes-like as it is, text as UTF-8, None as nothing. Raises TypeError for the rest."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if value is None:
        return b""
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"{what} is bytes, text or None, not {type(value).__name__}")


def status_arguments(numerator: int, denominator: int) -> tuple[bytes, bytes]:
    """As WORK_STATUS has them."""
    if numerator < 0 or denominator < 0:
        raise ValueError(f"a status is two numbers from 0 on, not {numerator}/{denominator}")
    return b"%d" % numerator, b"%d" % denominator


class JobInHand:
    """What a worker's function can ask its job."""

    __slots__ = ("_job",)

    def __init__(self, job: AssignedJob) -> None:
        self._job = job

    @property
    def handle(self) -> str:
        """The server's name for it."""
        return self._job.handle.decode("utf-8", "surrogateescape")

    @property
    def function(self) -> str:
        """The name that it was submitted under."""
        return self._job.function

    @property
    def unique(self) -> str:
        """The client's key for it; empty for none."""
        return self._job.unique.decode("utf-8", "surrogateescape")

    @property
    def workload(self) -> bytes:
        """What the client sent."""
        return self._job.workload

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.function} {self.handle} of {len(self.workload)} bytes>"


class WorkerJob(JobInHand):
    """What a worker's function is called with. Only for that function's thread, and only until it returns."""

    __slots__ = ("_update",)

    def __init__(self, job: AssignedJob, update: Callable[..., None]) -> None:
        super().__init__(job)
        self._update = update

    def set_status(self, numerator: int, denominator: int) -> None:
        """Tell the clients, and whoever asks for the job's status, how far it is."""
        self._update(PacketType.WORK_STATUS, self._job.handle, *status_arguments(numerator, denominator))

    def send_data(self, data: bytes | bytearray | memoryview | str) -> None:
        """Send a piece of the outcome ahead of the result."""
        self._update(PacketType.WORK_DATA, self._job.handle, as_bytes(data, "a piece of data"))

    def warn(self, text: bytes | str) -> None:
        """Send a warning; the job goes on."""
        self._update(PacketType.WORK_WARNING, self._job.handle, as_bytes(text, "a warning"))
