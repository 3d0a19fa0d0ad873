# SPDX-License-Identifier: MIT
"""A worker as `stats()` shows it: what its record on the board, its area and the kernel say."""

from __future__ import annotations

from fastgear.supervisor.board import WorkerInfo
from fastgear.supervisor.memory import resident_bytes
from fastgear.types import PoolWorkerInfo

__all__ = ["worker_info"]


def worker_info(info: WorkerInfo, tasks: int) -> PoolWorkerInfo:
    return PoolWorkerInfo(
        pid=info.pid,
        frames=info.jobs,
        tasks=tasks,
        busy=min(1.0, info.busy_s / info.age_s) if info.age_s else 0.0,
        rss=resident_bytes(info.pid),
    )
