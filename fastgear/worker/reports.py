# SPDX-License-Identifier: MIT
"""What a job came to, as a packet; and what is worth a line in the log. Knows no sockets.

A report is the type of its packet and the arguments after the handle.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

from fastgear.errors import JobFailed, LocalProtocolError, ServerError
from fastgear.protocol.session import AssignedJob, WorkerSession
from fastgear.protocol.wire import PacketType
from fastgear.worker.job import as_bytes

__all__ = ["Report", "call", "completed", "finish", "log_refusal", "raised"]

log = logging.getLogger(__name__)

Report = tuple[PacketType, tuple[bytes, ...]]


def call(function: Callable[[Any], Any], job: Any, is_the_job_s: Callable[[BaseException], bool]) -> Report:
    """Call a plain function with its job. What it raises passes through where it is not the job's affair."""
    try:
        return completed(job, function(job))
    except BaseException as error:
        if not is_the_job_s(error):
            raise
        return raised(job, error)


def completed(job: Any, result: object) -> Report:
    """Raises TypeError for what no packet can carry."""
    return PacketType.WORK_COMPLETE, (as_bytes(result, f"the result of {job.function}"),)


def raised(job: Any, error: BaseException) -> Report:
    """JobFailed says that the job failed; all else is sent as a traceback."""
    if isinstance(error, JobFailed):
        log.info("job %s of %s failed: %s", job.handle, job.function, error)
        return PacketType.WORK_FAIL, ()
    log.warning("job %s of %s raised", job.handle, job.function, exc_info=error)
    return PacketType.WORK_EXCEPTION, (_remote_traceback(error).encode("utf-8", "replace"),)


def finish(session: WorkerSession, job: AssignedJob, report: Report) -> None:
    """Say it to the session; a result that fits into no packet is the job's exception."""
    kind, args = report
    try:
        session.finish(kind, job.handle, *args)
    except (LocalProtocolError, MemoryError) as error:
        log.warning("the result of job %s of %s cannot be sent: %s", job.handle, job.function, error)
        session.finish(PacketType.WORK_EXCEPTION, job.handle, _remote_traceback(error).encode())


def log_refusal(error: ServerError) -> None:
    """The server does not take a report."""
    is_lost = error.code == "JOB_NOT_FOUND"
    log.warning("%s%s", error, " (a job that this worker lost, most likely by its timeout)" if is_lost else "")


def _remote_traceback(error: BaseException) -> str:
    """The traceback from the function's own frame on; the last line names the exception."""
    frames = error.__traceback__.tb_next if error.__traceback__ is not None else None
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip("\n")
