# SPDX-License-Identifier: MIT
"""The functions of a worker by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fastgear.errors import ConfigError, RemoteProtocolError
from fastgear.protocol.session import AssignedJob

__all__ = ["Registration", "Registry"]

MAX_NAME = 512


@dataclass(frozen=True, slots=True)
class Registration:
    """A function, how many seconds a job of it may take (None: any), and whether asyncio's worker calls it in a thread."""

    name: str
    call: Callable[..., Any]
    timeout: float | None
    thread: bool = False
    is_async: bool = False

    @property
    def timeout_ms(self) -> int:
        """As CAN_DO_TIMEOUT has it; 0 means none, so that a very short one is 1."""
        return 0 if self.timeout is None else max(1, round(self.timeout * 1000))


class Registry:
    """Names to functions; a name stands for one function."""

    def __init__(self) -> None:
        self._by_name: dict[str, Registration] = {}

    def add(self, name: str, call: Callable[..., Any], timeout: float | None, *, thread: bool = False) -> None:
        """Raises ConfigError for a name or a timeout that the protocol cannot carry, and for a name that is taken."""
        length = len(name.encode("utf-8", "surrogateescape"))
        if not 1 <= length <= MAX_NAME or "\0" in name:
            raise ConfigError(
                f"a function's name has 1 to {MAX_NAME} bytes, none of them NUL; {name[:40]!r} has {length}"
            )
        if timeout is not None and not 0 < timeout < 1e9:
            raise ConfigError(f"timeout: {timeout!r} is none; it is a number of seconds above 0")
        if not callable(call):
            raise TypeError(f"a worker's function is something to call, not {type(call).__name__}")
        if name in self._by_name:
            raise ConfigError(f"this worker has a function {name!r} already")
        self._by_name[name] = Registration(name, call, timeout, thread, _is_async(call))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def abilities(self) -> list[tuple[bytes, int]]:
        """As `WorkerSession.hello` takes them. Raises ConfigError where there are none."""
        if not self._by_name:
            raise ConfigError("this worker has no functions; register one first")
        return [(one.name.encode("utf-8", "surrogateescape"), one.timeout_ms) for one in self]

    def check(self, jobs: Iterable[AssignedJob]) -> None:
        """Raises RemoteProtocolError for a job of a function that is not here."""
        for job in jobs:
            if job.function not in self._by_name:
                raise RemoteProtocolError(
                    f"the server sent a job of {job.function!r}, which this worker has not offered"
                )

    def __getitem__(self, name: str) -> Registration:
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)


def _is_async(call: Callable[..., Any]) -> bool:
    """Also an object to call whose `__call__` is."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004
