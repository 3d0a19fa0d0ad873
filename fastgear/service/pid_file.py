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
        self._draft = f"{self._path}.{os.getpid()}"
        self._text = b"%d\n" % os.getpid()

    def __enter__(self) -> PidFile:
        if self._path:
            _remove(self._draft)  # of a process that had this id before, and was killed
            with self._named(), open(self._draft, "xb") as file:
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
            _remove(self._draft)
            raise OSError(error.errno, f"the pid file {self._path} cannot be written: {error.strerror}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._path:
            _remove(self._draft)
            if self._is_ours():
                _remove(self._path)

    def _is_ours(self) -> bool:
        with contextlib.suppress(OSError), open(self._path, "rb") as file:
            return file.read(len(self._text) + 1) == self._text
        return False


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
