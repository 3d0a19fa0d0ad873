# SPDX-License-Identifier: MIT
"""How a task is made to run out of memory: in a control group of its own, where one can be made, else by a limit of its process.

In a control group the kernel kills it, as it does on a machine whose memory is used up, and counts that. With RLIMIT_AS an
allocation fails instead, and Python raises MemoryError.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Group", "exhaust", "group"]

MIB = 1 << 20
LIMIT = 32 * MIB
ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    """A control group below our own; of version 1 or 2, which name their files differently."""

    folder: Path
    version: int

    def limit(self) -> None:
        (self.folder / ("memory.limit_in_bytes" if self.version == 1 else "memory.max")).write_text(str(LIMIT))
        swap = self.folder / ("memory.memsw.limit_in_bytes" if self.version == 1 else "memory.swap.max")
        with contextlib.suppress(OSError):  # where there is no swap
            swap.write_text(str(LIMIT if self.version == 1 else 0))

    def join(self) -> None:
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def kills(self) -> int:
        """The kernel's count of processes that it killed for their memory."""
        text = (self.folder / ("memory.oom_control" if self.version == 1 else "memory.events")).read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))

    def remove(self) -> None:
        for _ in range(100):
            try:
                self.folder.rmdir()
                return
            except OSError:  # the last one in it is not gone yet
                time.sleep(0.05)


def exhaust(folder: str | None, version: int) -> None:
    """Allocate more than there is; to be called in a worker."""
    if folder is None:
        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT, resource.RLIM_INFINITY))
        try:
            b"x" * (2 * LIMIT)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    Group(Path(folder or ""), version).join()
    kept = [b"x" * MIB for _ in range(4 * LIMIT // MIB)]
    raise RuntimeError(f"the kernel let it have {len(kept)} MiB")


@contextlib.contextmanager
def group() -> Iterator[Group | None]:
    """One in which a process was seen to die; None where that cannot be had."""
    made = next(filter(None, (_make(parent, version) for parent, version in _parents())), None)
    try:
        yield made if made is not None and _kills(made) else None
    finally:
        if made is not None:
            made.remove()


def _parents() -> Iterator[tuple[Path, int]]:
    """Our own control groups, which may have groups below them."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield ROOT / "memory" / path.strip("/"), 1
        elif number == "0":
            yield ROOT / path.strip("/"), 2


def _make(parent: Path, version: int) -> Group | None:
    made = Group(parent / f"fastgear-soak-{os.getpid()}", version)
    try:
        made.folder.mkdir()
    except OSError:
        return None
    try:
        made.limit()
        return made
    except OSError:  # of version 2, and its parent gives it no memory controller
        made.remove()
        return None


def _kills(made: Group) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            exhaust(str(made.folder), made.version)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
