# SPDX-License-Identifier: MIT
"""What callers ask for, checked and made into packets. Knows no sockets, and the clock only for jobs that are delayed."""

from __future__ import annotations

import datetime
import math
import time
import uuid

from fastgear.errors import ConfigError, LocalProtocolError
from fastgear.protocol.session import SubmittedJob
from fastgear.protocol.wire import PacketType, pack_request
from fastgear.types import Priority

__all__ = ["BytesLike", "When", "as_unique", "checked_handle", "prepare", "prepare_background", "submission"]

BytesLike = bytes | bytearray | memoryview
When = float | datetime.datetime | datetime.timedelta

MAX_HANDLE = 63
_FOREGROUND = {
    Priority.HIGH: PacketType.SUBMIT_JOB_HIGH,
    Priority.NORMAL: PacketType.SUBMIT_JOB,
    Priority.LOW: PacketType.SUBMIT_JOB_LOW,
}
_BACKGROUND = {
    Priority.HIGH: PacketType.SUBMIT_JOB_HIGH_BG,
    Priority.NORMAL: PacketType.SUBMIT_JOB_BG,
    Priority.LOW: PacketType.SUBMIT_JOB_LOW_BG,
}


def submission(
    function: bytes,
    unique: bytes,
    workload: bytes,
    *,
    priority: Priority = Priority.NORMAL,
    background: bool = False,
    epoch: int | None = None,
    reducer: bytes | None = None,
) -> bytes:
    """The packet that submits a job. Raises LocalProtocolError for what cannot be said in one."""
    if not function:
        raise LocalProtocolError("a function needs a name")
    if epoch is not None:
        return pack_request(PacketType.SUBMIT_JOB_EPOCH, function, unique, b"%d" % epoch, workload)
    if reducer is not None:
        kind = PacketType.SUBMIT_REDUCE_JOB_BACKGROUND if background else PacketType.SUBMIT_REDUCE_JOB
        return pack_request(kind, function, unique, reducer, b"0", workload)
    return pack_request((_BACKGROUND if background else _FOREGROUND)[priority], function, unique, workload)


def prepare(
    function: str,
    unique: str | bytes | None,
    workload: BytesLike,
    priority: Priority | str,
    *,
    background: bool = False,
    epoch: int | None = None,
    reducer: str | None = None,
) -> tuple[SubmittedJob, bytes]:
    """A job and the packet that submits it. Raises for what makes no sense, before anything is sent."""
    if not isinstance(workload, (bytes, bytearray, memoryview)):
        hint = "; encode it first" if isinstance(workload, str) else ""
        raise TypeError(f"a workload is bytes, not {type(workload).__name__}{hint}")
    key = as_unique(unique)
    record = SubmittedJob(function, key, background=background)
    packet = submission(
        function.encode("utf-8", "surrogateescape"),
        key,
        workload if isinstance(workload, bytes) else bytes(workload),
        priority=_priority(priority),
        background=background,
        epoch=epoch,
        reducer=reducer.encode() if reducer is not None else None,
    )
    return record, packet


def prepare_background(
    function: str,
    unique: str | bytes | None,
    workload: BytesLike,
    priority: Priority | str,
    *,
    at: When | None,
    reducer: str | None,
) -> tuple[SubmittedJob, bytes]:
    """The same for a background job, which gets a random unique where it has none."""
    if at is not None and reducer is not None:
        raise LocalProtocolError("the protocol has no job that is both delayed and reduced")
    unique = uuid.uuid4().hex if unique is None else unique
    epoch = None if at is None else _epoch(at)
    return prepare(function, unique, workload, priority, background=True, epoch=epoch, reducer=reducer)


def _priority(priority: Priority | str) -> Priority:
    try:
        return Priority(priority)
    except ValueError:
        raise ConfigError(f"priority: {priority!r} is none; it is high, normal or low") from None


def as_unique(unique: str | bytes | None) -> bytes:
    """As it is on the wire."""
    if unique is None:
        return b""
    return unique.encode("utf-8", "surrogateescape") if isinstance(unique, str) else unique


def checked_handle(handle: str) -> bytes:
    """As it is on the wire. Raises LocalProtocolError for one that no server gives."""
    name = handle.encode("utf-8", "surrogateescape")
    if not name or len(name) > MAX_HANDLE:
        raise LocalProtocolError(f"a handle has 1 to {MAX_HANDLE} bytes; this one has {len(name)}")
    return name


def _epoch(at: When) -> int:
    if isinstance(at, datetime.timedelta):
        seconds = time.time() + at.total_seconds()
    elif isinstance(at, datetime.datetime):
        seconds = at.timestamp()
    else:
        seconds = float(at)
    if not math.isfinite(seconds) or seconds < 0:
        raise ConfigError(f"at: {at!r} is no time from 1970 on")
    return math.ceil(seconds)
