# SPDX-License-Identifier: MIT
"""What a submitted job shows of itself, and what its end stands for: the part of a job that waits for nothing."""

from __future__ import annotations

from fastgear.errors import FastgearError, JobException, JobFailed, JobTimeout, QueueFull, ServerError
from fastgear.protocol.session import End, SubmittedJob
from fastgear.types import JobStatus

__all__ = ["JobView", "not_done", "outcome", "refused"]


class JobView:
    """What is known of a job so far."""

    __slots__ = ("_record",)

    def __init__(self, record: SubmittedJob) -> None:
        self._record = record

    @property
    def function(self) -> str:
        """The name of the function that it is for."""
        return self._record.function

    @property
    def unique(self) -> str:
        """The key by which the server coalesces jobs; empty for none."""
        return self._record.unique.decode("utf-8", "surrogateescape")

    @property
    def handle(self) -> str:
        """The server's name for it."""
        return self._record.handle

    @property
    def status(self) -> JobStatus:
        """What the worker last said of its progress, as far as it has been received."""
        record = self._record
        running = bool(record.denominator or record.data) and not record.is_over
        return JobStatus(
            known=not record.is_over, running=running, numerator=record.numerator, denominator=record.denominator
        )

    @property
    def data(self) -> tuple[bytes, ...]:
        """The pieces that the worker has sent ahead of its result, so far."""
        return tuple(self._record.data)

    @property
    def warnings(self) -> tuple[bytes, ...]:
        """What the worker has warned of, so far."""
        return tuple(self._record.warnings)

    def __repr__(self) -> str:
        state = self._record.end.value if self._record.end else "waiting" if not self._record.error else "lost"
        return f"<Job {self.function} {self.handle} {state}>"


def not_done(record: SubmittedJob, timeout: float | None) -> JobTimeout:
    """What waiting for it in vain comes to."""
    return JobTimeout(f"job {record.handle} was not done after {timeout} s", handle=record.handle)


def outcome(record: SubmittedJob) -> FastgearError | None:
    """The error that a finished job stands for; None for a result."""
    if isinstance(record.error, ServerError):
        return refused(record.error, record.function)
    if isinstance(record.error, FastgearError):
        return record.error
    if record.end is End.FAIL:
        return JobFailed(f"job {record.handle} of {record.function} failed", handle=record.handle)
    if record.end is End.EXCEPTION:
        return _remote_exception(record)
    return None


def refused(error: ServerError, function: str) -> ServerError:
    """QUEUE_ERROR has an exception of its own."""
    if error.code == "QUEUE_ERROR":
        return QueueFull(error.code, error.text, function_name=function)
    return error


class _RemoteTraceback(Exception):
    """The other side's traceback as text, shown above ours where Python prints an exception's cause."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def _remote_exception(record: SubmittedJob) -> JobException:
    """Fastgear's workers send a traceback as UTF-8 text whose last line names the exception; others send what they like."""
    text = record.payload.decode("utf-8", "replace")
    last = text.rstrip().rpartition("\n")[2]
    message = f"{record.function} raised: {last}" if last else f"{record.function} raised an exception"
    error = JobException(message, handle=record.handle, remote_traceback=text)
    error.__cause__ = _RemoteTraceback(text) if text else None
    return error
