# SPDX-License-Identifier: MIT
"""How many CPUs this process may really use: affinity, and the quota of its control group."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["usable_cpus"]


def usable_cpus(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """At least 1. A quota of half a CPU counts as one; one and a half count as two."""
    allowed = len(os.sched_getaffinity(0))
    quotas = [quota for folder in _folders(root, membership) if (quota := _quota(folder)) is not None]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def _folders(root: Path, membership: Path) -> Iterator[Path]:
    """The process's control groups and those above them, which limit it as well."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        base = root / controllers if controllers and (root / controllers).is_dir() else root
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = base / path.lstrip("/")
        yield from (folder, *(parent for parent in folder.parents if parent.is_relative_to(base)))
    yield root


def _quota(folder: Path) -> float | None:
    """CPUs, from cgroup v2's cpu.max or v1's two files; None where there is no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None
