# SPDX-License-Identifier: MIT
"""The file that says which process this is, for whoever stops it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import TracebackType

__all__ = ["PidFile"]


class PidFile:
    """Written beside its place at first, so that trouble shows early, and put there by `publish`. No path, no file.

    Removed at the end, unless another process has put its own there meanwhile. Raises OSError, naming the file.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path) if path else ""
        self._text = f"{os.getpid()}\n"
        self._draft = f"{self._path}.{os.getpid()}" if path else ""

    def __enter__(self) -> PidFile:
        if self._path:
            with self._named(), open(self._draft, "x", encoding="ascii") as file:
                file.write(self._text)
        return self

    def publish(self) -> None:
        if self._path:
            with self._named():
                os.replace(self._draft, self._path)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, f"the pid file {self._path} cannot be written: {error.strerror}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._path:
            for path in (self._draft, self._path):
                self._remove(path)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(OSError):
            with open(path, encoding="ascii") as file:
                ours = file.read() == self._text
            if ours:
                os.unlink(path)
