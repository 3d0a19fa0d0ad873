# SPDX-License-Identifier: MIT
"""Where `submit_many` of asyncio's client takes its workloads from: an iterable, or an asynchronous one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Iterable

from fastgear.aiostream import Bell
from fastgear.client.many import take
from fastgear.client.requests import BytesLike

__all__ = ["Plain", "Source", "source_of"]


class Plain:
    """An iterable: asked when there is room, for up to a millisecond at a time."""

    is_ready = True

    def __init__(self, workloads: Iterable[BytesLike]) -> None:
        self._iterator = iter(workloads)

    def take(self, room: int) -> tuple[list[BytesLike], bool]:
        """Up to so many, and whether that was the end."""
        return take(self._iterator, room)

    async def close(self) -> None:
        pass


class Pumped:
    """An asynchronous iterable: a task takes its workloads ahead, a few of them, and rings where they are waited for."""

    def __init__(self, workloads: AsyncIterable[BytesLike], bell: Bell) -> None:
        self._workloads = workloads
        self._bell = bell
        self._there: deque[BytesLike] = deque()
        self._wanted = Bell()
        self._room = 1
        self._task = asyncio.get_running_loop().create_task(self._pump())

    async def _pump(self) -> None:
        try:
            async for workload in self._workloads:
                self._there.append(workload)
                self._bell.ring()
                while len(self._there) >= self._room:
                    await self._wanted.wait()
        finally:
            self._bell.ring()

    @property
    def is_ready(self) -> bool:
        """Whether `take` has something to say."""
        return bool(self._there) or self._task.done()

    def take(self, room: int) -> tuple[list[BytesLike], bool]:
        """Up to so many, and whether that was the end. Raises what the iterable has raised."""
        taken = [self._there.popleft() for _ in range(min(room, len(self._there)))]
        self._room = room
        self._wanted.ring()
        is_over = not self._there and self._task.done()
        if is_over and not taken:
            self._task.result()
        return taken, is_over and not self._failed()

    def _failed(self) -> bool:
        return self._task.cancelled() or self._task.exception() is not None

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        self._failed()  # or asyncio would complain that nobody has looked at its exception


Source = Plain | Pumped


def source_of(workloads: Iterable[BytesLike] | AsyncIterable[BytesLike], bell: Bell) -> Source:
    return Pumped(workloads, bell) if isinstance(workloads, AsyncIterable) else Plain(workloads)
