# SPDX-License-Identifier: MIT
"""The memory that a pool and its workers share: an area for each worker, and the arena for large buffers.

All of it is anonymous, so that nothing is left of it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fastgear.errors import InternalError
from fastgear.pool.area import PoolArea, WorkerArea
from fastgear.pool.arena import Arena
from fastgear.pool.memfd import memory_descriptor

__all__ = ["Memory", "usable_memory"]

_AREA = 1 << 18  # bytes
_SHARE = 4  # the arena takes at most this part of the memory that may be used
_SETTLED = 2  # calls of `tidy`


class Memory:
    """Made by the pool, and given to its workers: inherited where they are forked, by its descriptors where not.

    `limit` is the most memory that the arena takes, in bytes; by default a quarter of what this process may use.
    """

    def __init__(self, areas: int, limit: int | None = None, arena: Arena | None = None, fd: int | None = None) -> None:
        self.areas = areas
        self.arena = arena or Arena(1 + areas, usable_memory() // _SHARE if limit is None else limit)
        self.fd = memory_descriptor("fastgear-pool") if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, areas * _AREA)
        self._map = mmap.mmap(self.fd, areas * _AREA)
        self._dead: list[_Legacy] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """For a process that is executed and has inherited the descriptors."""
        return Memory, (self.areas, None, self.arena, self.fd)

    @property
    def fds(self) -> tuple[int, ...]:
        return self.fd, self.arena.fd

    # -- a worker's side

    def take_area(self, pid: int, pack: Callable[..., Any], send: Callable[[bytes], None]) -> WorkerArea:
        """A worker's own, one that nobody has, and the same part of the arena."""
        for index in range(self.areas):
            area = WorkerArea(self._map, index * _AREA, _AREA, pack, send)
            if area.own(pid):
                self.arena.join(1 + index)
                return area
        raise InternalError(f"none of {self.areas} areas is free")

    # -- the pool's side

    def pool_areas(self) -> list[PoolArea]:
        """When no other process is forked any more that is to join the arena itself."""
        self.arena.join(0)
        return [PoolArea(self._map, index * _AREA, _AREA) for index in range(self.areas)]

    def clear_area(self, area: PoolArea, index: int, under_way: Iterable[int]) -> None:
        """Its worker is dead and its frame settled. Frames `under_way` may still have results of its that nobody has read."""
        left = self.arena.bury(1 + index)
        if left:
            self._dead.append(_Legacy(left, set(under_way)))
        area.clear()

    def tidy(self, under_way: Iterable[int]) -> None:
        """To be called every few seconds: reclaim what dead workers have left, and give back what is not used."""
        numbers = set(under_way)
        for legacy in self._dead:
            legacy.frames &= numbers
            legacy.calls += not legacy.frames
            if legacy.calls >= _SETTLED:
                self.arena.reclaim(legacy.left)
        self._dead = [legacy for legacy in self._dead if legacy.calls < _SETTLED]
        self.arena.tidy()

    def close(self) -> None:
        """When its areas are not used any more. What is seen of the arena stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._map.close()
            self.arena.close()


class _Legacy:
    """What a dead worker had put into the arena, and the frames that were under way then."""

    def __init__(self, left: list[tuple[int, int]], frames: set[int]) -> None:
        self.left = left
        self.frames = frames
        self.calls = 0  # of `tidy` since none of them is


def usable_memory(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes: the machine's, or the limit of a control group that this process is in."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = (root / controllers, "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(base):
                memory = min(memory, _limit(folder / name) or memory)
    return memory


def _limit(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # "max" means none
        return None
