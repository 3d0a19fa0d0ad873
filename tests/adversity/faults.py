# SPDX-License-Identifier: MIT
"""calls.c from the side of the tests: compiled, put under a process, and told which calls are to fail."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KINDS = (
    "", "recv", "send", "accept4", "epoll_wait", "epoll_ctl", "epoll_create1", "eventfd", "open", "socket", "socketpair",
    "bind", "listen", "pipe2", "memfd_create", "pthread_create", "fork", "write", "read", "fsync", "pwrite",
)  # fmt: skip
_SIZE = 4096
_KIND, _NTH, _TIMES, _ERROR, _EVERYONE, _MOST, _CALLS, _FAILED = range(8)


def compiled(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    made = folder / "calls.so"
    words = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(made), str(HERE / "calls.c"), "-ldl"]
    subprocess.run([compiler, *words], check=True)
    return made


class Faults:
    """A page that processes share which were started with `environment`."""

    def __init__(self, shim: Path, folder: Path) -> None:
        path = folder / "calls"
        path.write_bytes(bytes(_SIZE))
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._numbers = memoryview(self._map).cast("q")
        before = os.environ.get("LD_PRELOAD", "")  # a sanitizer, which wants to be the first
        self.environment = {
            **os.environ,
            "LD_PRELOAD": f"{before} {shim}".strip(),
            "FASTGEAR_CALLS": str(path),
            "PYTHONPATH": str(Path(__import__("fastgear").__file__).parent.parent),
        }

    def begin(self, kind: str, error: int, nth: int, *, times: int = 1, everyone: bool = False) -> None:
        """The `nth` call from here fails, and those after it, `times` in all."""
        self.end()
        for place, value in ((_NTH, nth), (_TIMES, times), (_ERROR, error), (_EVERYONE, everyone)):
            self._numbers[place] = int(value)
        self._numbers[_CALLS] = self._numbers[_FAILED] = 0
        self._numbers[_KIND] = KINDS.index(kind)

    def end(self) -> None:
        self._numbers[_KIND] = 0

    def shorten(self, most: int, *, everyone: bool = False) -> None:
        """A recv gets, and a send takes, so many bytes at the most; 0: as many as there are."""
        self._numbers[_EVERYONE] = int(everyone)
        self._numbers[_MOST] = most

    @property
    def failed(self) -> int:
        """How many calls did, since `begin`."""
        return self._numbers[_FAILED]

    @property
    def calls(self) -> int:
        return self._numbers[_CALLS]

    def close(self) -> None:
        self._numbers.release()
        self._map.close()
