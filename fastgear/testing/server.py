# SPDX-License-Identifier: MIT
"""A server for tests: on an address of its own, with questions that tests ask, and a clock that they move on."""

from __future__ import annotations

import os
import secrets
import time
from typing import Any

from fastgear.config import ServerConfig
from fastgear.protocol.replies import parse_show_jobs
from fastgear.server.server import Server
from fastgear.types import FunctionInfo, JobInfo

__all__ = ["GearmanServer"]


class GearmanServer(Server):
    """A real server on a free port of 127.0.0.1, or with `unix` on an abstract Unix socket; options are ServerConfig's.

    Its time goes on as everywhere, and `advance` moves it on besides, so that nobody waits for what is due later.

    >>> from fastgear import Client
    >>> with GearmanServer() as server, Client(server.address) as client:
    ...     handle = client.submit_background("mail", b"hello", at=server.time + 3600)
    ...     server.function("mail").queued, len(server.jobs)
    (1, 1)
    """

    def __init__(self, *, unix: bool = False, **options: Any) -> None:
        address = f"unix:@fastgear-test-{os.getpid()}-{secrets.token_hex(8)}" if unix else "127.0.0.1:0"
        super().__init__(address, config=ServerConfig(**options))
        self._ahead_s = 0.0

    @property
    def time(self) -> float:
        """Seconds since 1970 by the server's clock."""
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Let it be so much later for the server: when this returns, all that is due by then has happened.

        Epoch jobs are handed out, timeouts of abilities end, half packets are given up. All in one step: what happens in
        the middle of it needs a step of its own. Raises RuntimeError when not running.
        """
        if seconds < 0:
            raise ValueError("time goes on, and never back")
        loop = self._loop
        if loop is None or not loop.advance(seconds):
            raise RuntimeError("this server is not running; start it first")
        self._ahead_s += seconds

    @property
    def jobs(self) -> tuple[JobInfo, ...]:
        """All jobs, queued, running and delayed, the oldest first."""
        jobs = parse_show_jobs(self.command("show jobs"))
        return tuple(sorted(jobs, key=lambda job: int(job.handle.rpartition(":")[2])))

    @property
    def functions(self) -> tuple[FunctionInfo, ...]:
        """All functions, with the numbers of their jobs and workers."""
        return self.snapshot().functions

    def function(self, name: str) -> FunctionInfo:
        """One function; of one that nobody has named yet all numbers are 0."""
        found = [function for function in self.functions if function.name == name]
        return found[0] if found else FunctionInfo(name=name, total=0, running=0, workers=0)

    def wait_until_done(self, timeout: float = 5.0) -> None:
        """Wait until no job is left. Raises AssertionError, naming those that are, after so many seconds."""
        deadline = time.monotonic() + timeout
        while self.jobs and time.monotonic() < deadline:
            time.sleep(0.001)
        self.assert_no_jobs()

    def assert_no_jobs(self) -> None:
        """Raise AssertionError, naming the functions, when jobs are left."""
        left = ", ".join(
            f"{function.total} of {function.name!r} ({function.running} running, {function.workers} workers)"
            for function in self.functions
            if function.total
        )
        if left:
            raise AssertionError(f"jobs are left on the server: {left}")
