# SPDX-License-Identifier: MIT
"""What the drivers in Python share: the lines, as `../lines.md` has them, and the loop that answers them."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from typing import Protocol

SHIFT = bytes((n + 1) % 256 for n in range(256))


class Client(Protocol):
    def run(self, function: str, priority: str, unique: str | None, workload: bytes) -> None:
        """Say the job's events, the last of which is its end."""

    def queue(self, function: str, priority: str, unique: str | None, workload: bytes) -> str:
        """Submit in the background, and return the handle."""

    def ask(self, handle: str) -> tuple[bool, bool, int, int]:
        """Known, running, numerator, denominator."""


def say(*words: object) -> None:
    print(*(blob(word) if isinstance(word, bytes) else word for word in words), flush=True)


def blob(data: bytes) -> str:
    return base64.b64encode(data).decode() or "-"


def unblob(word: str) -> bytes:
    return b"" if word == "-" else base64.b64decode(word)


def answer(client: Client) -> None:
    for line in sys.stdin:
        verb, *words = line.split()
        try:
            if verb == "ask":
                say("state", *(int(word) for word in client.ask(words[0])))
                continue
            function, priority, unique, workload = words
            call: Callable[..., str | None] = client.run if verb == "run" else client.queue
            handle = call(function, priority, None if unique == "-" else unique, unblob(workload))
            if verb == "queue":
                say("created", handle)
        except Exception as error:
            say("broken", repr(error).encode())
