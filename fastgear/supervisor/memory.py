# SPDX-License-Identifier: MIT
"""What the kernel tells about memory: how much of it a process holds, and whether its killer has been here."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["OomCount", "resident_bytes"]

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """0 for a process that is gone. Much cheaper than psutil's, which says the same."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


class OomCount:
    """The number of processes that the kernel has killed for want of memory, in this process's control group.

    Where control groups do not say, the whole system's count is taken.
    """

    def __init__(self, root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> None:
        self._file = _counter(root, proc)
        self._seen = self._read()

    def rose(self) -> bool:
        """Whether there are more than at the last call."""
        before, self._seen = self._seen, self._read()
        return self._seen > before

    def _read(self) -> int:
        try:
            words = self._file.read_text().split()
            return int(words[words.index("oom_kill") + 1])
        except (OSError, ValueError, IndexError):
            return 0


def _counter(root: Path, proc: Path) -> Path:
    """Version 2 has memory.events in each group, version 1 memory.oom_control below the controller's own root."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            candidate = root / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            candidate = root / controllers / path.lstrip("/") / "memory.oom_control"
        else:
            continue
        if candidate.exists():
            return candidate
    return proc / "vmstat"
