# SPDX-License-Identifier: MIT
"""Every exception that fastgear raises on purpose; each class says who can do something about it.

Facts are attributes, so that nobody has to parse a message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "CannotStart",
    "ConfigError",
    "ConnectionLost",
    "FastgearError",
    "InternalError",
    "JobError",
    "JobException",
    "JobFailed",
    "JobTimeout",
    "LocalProtocolError",
    "ProtocolError",
    "QueueFull",
    "RemoteError",
    "RemoteProtocolError",
    "ServerError",
    "StoreError",
    "StoreFull",
    "StoreInUse",
    "StoreLost",
    "StoreTrouble",
    "TransferError",
    "WorkerDied",
]


class FastgearError(Exception):
    """The root of them all. Can be pickled and copied, attributes included."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: type[FastgearError], args: tuple[Any, ...]) -> FastgearError:
    """Without the constructor, whose arguments are not those that the exception keeps."""
    error = kind.__new__(kind, *args)
    error.args = args
    return error


class ConfigError(FastgearError, ValueError):
    """An option has a value that makes no sense; the message names it and says what would."""


class ProtocolError(FastgearError):
    """Somebody broke the rules of the wire."""


class LocalProtocolError(ProtocolError, ValueError):
    """This side did: the caller asked for something that cannot be said in the protocol."""


class RemoteProtocolError(ProtocolError):
    """The other side did: what came is no Gearman, or not in order. The connection is of no use any more."""


class ConnectionLost(FastgearError, OSError):
    """The connection to a server could not be made, or broke.

    `handles` are the jobs whose fate is unknown; `unanswered` counts submissions that were sent and not acknowledged, so
    that nobody knows whether the server has them.
    """

    def __init__(self, message: str, *, handles: Iterable[str] = (), unanswered: int = 0) -> None:
        super().__init__(message)
        self.handles = tuple(handles)
        self.unanswered = unanswered


class ServerError(FastgearError):
    """The server answered ERROR: its `code`, such as ``QUEUE_ERROR``, and its `text`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"the server answered {code}: {text}")
        self.code = code
        self.text = text


class QueueFull(ServerError):
    """The server takes no more jobs, of this function or at all; `function_name` is the one that was asked for."""

    def __init__(self, code: str, text: str, *, function_name: str) -> None:
        super().__init__(code, text)
        self.function_name = function_name


class JobError(FastgearError):
    """A job has no result; `handle` is the server's name for it, empty when it never got one."""

    def __init__(self, message: str, *, handle: str = "") -> None:
        super().__init__(message)
        self.handle = handle


class JobFailed(JobError):
    """The worker, or the server on its behalf, said WORK_FAIL."""


class JobException(JobError):
    """The worker's function raised; `remote_traceback` is what it sent, as text."""

    def __init__(self, message: str, *, handle: str = "", remote_traceback: str = "") -> None:
        super().__init__(message, handle=handle)
        self.remote_traceback = remote_traceback


class JobTimeout(JobError, TimeoutError):
    """The time that the caller gave is over; the job itself goes on."""


class CannotStart(FastgearError):
    """Worker processes raised before they were ready, `remote_traceback` is where, as text; or there is no room for them."""

    def __init__(self, message: str, *, remote_traceback: str = "") -> None:
        super().__init__(message)
        self.remote_traceback = remote_traceback


class WorkerDied(FastgearError):
    """A worker process of a pool died while it ran this task; other tasks are not affected.

    `pid` is the process, `exit_code` its exit code, negative for a signal; `task` says what it ran.
    """

    def __init__(self, message: str, *, pid: int = 0, exit_code: int | None = None, task: str = "") -> None:
        super().__init__(message)
        self.pid = pid
        self.exit_code = exit_code
        self.task = task


class RemoteError(FastgearError):
    """A task raised an exception that cannot be sent here itself; `kind` is its class's name."""

    def __init__(self, message: str, *, kind: str = "", remote_traceback: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.remote_traceback = remote_traceback


class TransferError(FastgearError, ValueError):
    """A function, an argument or a result cannot go from one process to the other."""


class StoreError(FastgearError):
    """A store of durable jobs cannot be used as it was asked for; the message says why, and what would help."""


class StoreTrouble(StoreError):
    """The store does not work now, and may work again later: the disk is full, the file is locked or read-only."""


class StoreFull(StoreTrouble):
    """There is no room on the disk for more jobs; that some have ended can often be noted still."""


class StoreLost(StoreError):
    """The store must not be used by this process any more: an fsync failed, or its file is damaged, deleted or replaced."""


class StoreInUse(StoreError):
    """Another process has the store; `pid` is which, 0 if that is not known."""

    def __init__(self, message: str, *, pid: int = 0) -> None:
        super().__init__(message)
        self.pid = pid


class InternalError(FastgearError):
    """A mistake of ours. Please report it."""
