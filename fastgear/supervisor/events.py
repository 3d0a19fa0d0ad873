# SPDX-License-Identifier: MIT
"""What a supervisor tells about its workers. Plain data: it is handed to a callable, or sent over a socket."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["Died", "Event", "Ready", "Reason", "StartFailed", "Started", "pack", "unpack"]


class Reason(str, Enum):
    """Why a worker process ended."""

    CRASHED = "crashed"  # a signal that nobody here sent, or an exit code other than 0
    OUT_OF_MEMORY = "out of memory"  # the kernel's killer, by the control group's own count
    CANNOT_START = "cannot start"  # it raised, or left, before it was ready
    LEFT = "left"  # by itself, with exit code 0
    TIME_LIMIT = "time limit"
    MAX_JOBS = "recycled: jobs"
    MAX_RSS = "recycled: memory"
    MAX_AGE = "recycled: age"
    RELOADED = "reloaded"
    RESIZED = "resized"
    KILLED = "killed"  # at somebody's request, see Died.detail
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Started:
    """A worker process was forked. `generation` counts up and never comes back; a slot does."""

    slot: int
    pid: int
    generation: int


@dataclass(frozen=True, slots=True)
class Ready:
    """It has said that it is ready."""

    slot: int
    pid: int
    generation: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """It raised before it was ready; its Died follows. `text` is the traceback, or the sentence of a FastgearError.

    `kind` is the exception's class. When no other worker is ready, the supervisor ends for this reason.
    """

    slot: int
    pid: int
    generation: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Died:
    """A worker process is gone; the slot may be used again.

    `exit_code` is negative for a signal, as in `subprocess`. `task`, `function` and `jobs` are what its record held at the
    end; `busy` says whether it was in the middle of a job.
    """

    slot: int
    pid: int
    generation: int
    exit_code: int
    reason: Reason
    detail: str = ""
    busy: bool = False
    task: int = 0
    function: str = ""
    jobs: int = 0

    def __str__(self) -> str:
        how = f"exit code {self.exit_code}" if self.exit_code >= 0 else _signal_name(-self.exit_code)
        where = f" in {self.function}" if self.busy and self.function else ""
        return (
            f"worker {self.pid} is gone: {self.reason.value}{f' ({self.detail})' if self.detail else ''}, {how}{where}"
        )


Event = Started | Ready | StartFailed | Died


_KINDS = (Started, Ready, StartFailed, Died)


def pack(event: Event) -> tuple[Any, ...]:
    """An event as plain values."""
    values = [getattr(event, name) for name in event.__slots__]
    if isinstance(event, Died):
        values[4] = event.reason.value
    return (_KINDS.index(type(event)), *values)


def unpack(values: tuple[Any, ...]) -> Event:
    """The event that `pack` had."""
    kind, *fields = values
    if _KINDS[kind] is Died:
        fields[4] = Reason(fields[4])
    event: Event = _KINDS[kind](*fields)
    return event


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
