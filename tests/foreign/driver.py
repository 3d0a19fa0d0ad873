# SPDX-License-Identifier: MIT
"""A peer's process, and the lines that are spoken with it (`lines.md`)."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import subprocess
import time
from pathlib import Path

from foreign.peers import Peer
from servers import RunningServer

__all__ = ["PATIENCE_S", "Driver", "Event", "Missing", "Trouble"]

PATIENCE_S = 10.0
_ENDS = ("complete", "fail", "exception", "printed", "broken")

Event = tuple[object, ...]


class Trouble(Exception):
    """A peer did not do what was to be seen."""


class Missing(Exception):
    """A peer is not installed."""


def blob(data: bytes) -> str:
    return base64.b64encode(data).decode() or "-"


class Driver:
    """A process that speaks the lines. It dies with this one."""

    def __init__(self, peer: Peer, role: str, server: RunningServer, log: Path) -> None:
        words = ["setpriv", "--pdeathsig", "TERM", *peer.command, role, server.host, str(server.port), peer.name]
        with open(log, "ab") as errors:
            self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        self._rest = b""
        try:
            word, self.version = self._line().split(" ", 1)
            if word != "ready":
                raise Missing(peer.name)
        except BaseException:
            self.close()
            raise

    def _line(self) -> str:
        output = self._process.stdout
        assert output is not None
        deadline = time.monotonic() + PATIENCE_S
        while b"\n" not in self._rest:
            if not select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Trouble(f"said nothing for {PATIENCE_S:.0f} s")
            data = os.read(output.fileno(), 1 << 20)
            if not data:
                raise Trouble("ended")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def _event(self) -> Event:
        word, *rest = self._line().split(" ")
        if word == "broken":
            raise Trouble(base64.b64decode(rest[0]).decode())
        if word in ("status", "state"):
            return word, *(int(number) for number in rest)
        if word == "created":
            return word, rest[0]
        return word, *(base64.b64decode(one) if one != "-" else b"" for one in rest)

    def _ask(self, *words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words).encode() + b"\n")
        self._process.stdin.flush()

    def begin(self, function: str, workload: bytes, priority: str = "normal", unique: str = "-") -> None:
        self._ask("run", function, priority, unique, blob(workload))

    def events(self) -> list[Event]:
        """Of the job that was begun, up to its end."""
        seen = [self._event()]
        while seen[-1][0] not in _ENDS:
            seen.append(self._event())
        return seen

    def queue(self, function: str, workload: bytes, priority: str = "normal", unique: str = "-") -> str:
        self._ask("queue", function, priority, unique, blob(workload))
        return str(self._event()[1])

    def state(self, handle: str) -> Event:
        self._ask("ask", handle)
        return self._event()[1:]

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        self._process.terminate()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
