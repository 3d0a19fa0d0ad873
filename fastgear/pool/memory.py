# SPDX-License-Identifier: MIT
"""The memory that a pool and its workers share: an area for each worker. Anonymous, so that nothing is left of it."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable
from typing import Any

from fastgear.errors import InternalError
from fastgear.pool.area import PoolArea, WorkerArea

__all__ = ["Memory"]

_AREA = 1 << 18  # bytes


class Memory:
    """Made by the pool, and given to its workers: inherited where they are forked, by its descriptor where not."""

    def __init__(self, areas: int, fd: int | None = None) -> None:
        self.areas = areas
        self.fd = _memory_descriptor() if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, areas * _AREA)
        self._map = mmap.mmap(self.fd, areas * _AREA)

    def __reduce__(self) -> tuple[Any, ...]:
        """For a process that is executed and has inherited the descriptor."""
        return Memory, (self.areas, self.fd)

    def take_area(self, pid: int, pack: Callable[..., Any], send: Callable[[bytes], None]) -> WorkerArea:
        """A worker's own, one that nobody has."""
        for index in range(self.areas):
            area = WorkerArea(self._map, index * _AREA, _AREA, pack, send)
            if area.own(pid):
                return area
        raise InternalError(f"none of {self.areas} areas is free")

    def pool_areas(self) -> list[PoolArea]:
        return [PoolArea(self._map, index * _AREA, _AREA) for index in range(self.areas)]

    def close(self) -> None:
        """When its areas are not used any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._map.close()


def _memory_descriptor() -> int:
    """Above the standard streams' numbers, which may be free here and are not in a worker."""
    fd = os.memfd_create("fastgear-pool")
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)
