# SPDX-License-Identifier: MIT
"""The file to which all who take part append what they did and saw, a line each; lines never mix, and their order is that of time.

    WHAT SECONDS PID HANDLE TOKEN MORE

begins, done                  a worker has the job; has done it, and is about to say so
hangs-up                      a worker is about to leave, and knows not what the server has heard
background, waits             the server has acknowledged the job to PID, which waits for it or not
ended                         a client that waits was told so, and MORE is what; or it leaves now
cancels, spared               the job is about to be cancelled; it was not there any more
kills, stops, goes-on         a signal is about to be sent to PID
fault                         HANDLE and TOKEN are empty, MORE says what is wrong
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["VARIABLE", "Note", "Notes", "read_notes"]

VARIABLE = "FASTGEAR_SOAK_NOTES"  # where the file is


class Note(NamedTuple):
    what: str
    seconds: float
    pid: int
    handle: str = "-"
    token: str = "-"
    more: str = ""


class Notes:
    def __init__(self, path: str = "") -> None:
        self._fd = os.open(path or os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def write(self, what: str, handle: str = "-", token: str = "-", more: str = "", pid: int = 0) -> None:
        line = f"{what} {time.monotonic():.6f} {pid or os.getpid()} {handle} {token} {more[:1000]}"
        os.write(self._fd, line.replace("\n", " / ").encode() + b"\n")

    def fault(self, text: str) -> None:
        self.write("fault", more=text)

    def close(self) -> None:
        os.close(self._fd)


def read_notes(path: Path) -> Iterator[Note | None]:
    """Those that are there, and then None for each time that there are no more yet."""
    with open(path, "rb") as file:
        rest = b""
        while True:
            for line in file:
                rest += line
                if rest.endswith(b"\n"):
                    what, seconds, pid, handle, token, more = rest[:-1].decode().split(" ", 5)
                    yield Note(what, float(seconds), int(pid), handle, token, more)
                    rest = b""
            yield None
