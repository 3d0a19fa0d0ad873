# SPDX-License-Identifier: MIT
"""What comes of a task that is no plain value: pickles of results, and of exceptions with their traceback as text."""

from __future__ import annotations

import marshal
import pickle
import traceback
from typing import Any

from fastgear.errors import RemoteError, TransferError

__all__ = ["PROTOCOL", "RemoteTraceback", "cannot_be_read", "pack_failure", "rebuild"]

PROTOCOL = 5


class RemoteTraceback(Exception):
    """The worker's traceback, as the cause of what a task raised: Python prints it above ours."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    @property
    def tb(self) -> str:
        """What concurrent.futures and multiprocessing call it."""
        return self.text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def _dumps(value: Any) -> bytes:
    try:
        return pickle.dumps(value, PROTOCOL)
    except Exception:
        import cloudpickle  # type: ignore[import-untyped]

        data: bytes = cloudpickle.dumps(value, PROTOCOL)
        return data


def pack_failure(error: BaseException) -> bytes:
    """The exception itself where it survives pickling, else a RemoteError that tells of it."""
    text = _text(error)
    try:
        data = _dumps(error)
        pickle.loads(data)
    except BaseException as reason:
        kind = type(error).__name__
        stand_in = RemoteError(
            f"{kind}: {_words(error)} (the exception itself cannot be sent: {reason})", kind=kind, remote_traceback=text
        )
        data = pickle.dumps(stand_in, PROTOCOL)
    return marshal.dumps((data, text))


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return "its text raises, too"


def _text(error: BaseException) -> str:
    """Without the frame that called the task."""
    frames = error.__traceback__.tb_next if error.__traceback__ is not None else None
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception:
        return f"{type(error).__name__}\n"


def rebuild(data: bytes) -> BaseException:
    """What `pack_failure` had, with the worker's traceback as its cause."""
    error: BaseException
    packed, text = marshal.loads(data)
    try:
        error = pickle.loads(packed)
    except (Exception, SystemExit) as reason:  # as it could not there
        error = RemoteError(
            f"what the task raised cannot be rebuilt here: {type(reason).__name__}: {_words(reason)}",
            remote_traceback=text,
        )
    error.__cause__ = RemoteTraceback(text)
    return error


def cannot_be_read(error: BaseException) -> bytes:
    """In place of a result that was pickled well and cannot be unpickled here."""
    return pack_failure(TransferError(f"a task's result cannot be unpickled here: {type(error).__name__}: {error}"))
