# SPDX-License-Identifier: MIT
"""How far asyncio's client reads ahead: as far as anybody waits for, and a little further."""

from __future__ import annotations

from fastgear.aiostream import AioStream

__all__ = ["Reading"]

_AHEAD = 1 << 20


class Reading:
    """A client's streams are read while a task waits for something (``with reading:``), whatever it is.

    While nobody does, a mebibyte is taken from each, and then no more: so data that nobody takes stays with the server, and
    its worker waits. Whoever waits gets what it waits for, even if that lies behind data that nobody takes.
    """

    def __init__(self) -> None:
        self._waiting = 0
        self._ahead: dict[AioStream, int] = {}  # bytes taken while nobody waited

    def note(self, stream: AioStream, size: int) -> None:
        """So many bytes have come."""
        if self._waiting:
            return
        self._ahead[stream] = ahead = self._ahead.get(stream, 0) + size
        if ahead > _AHEAD:
            stream.pause_reading()

    def __enter__(self) -> None:
        self._waiting += 1
        if self._ahead:
            for stream, ahead in self._ahead.items():
                if ahead > _AHEAD:
                    stream.resume_reading()
            self._ahead.clear()

    def __exit__(self, *error: object) -> None:
        self._waiting -= 1
