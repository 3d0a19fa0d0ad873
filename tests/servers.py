# SPDX-License-Identifier: MIT
"""Real servers in processes of their own: fastgear's and gearmand."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_START_S = 15.0
GEARMAND = shutil.which("gearmand", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@dataclass
class RunningServer:
    kind: str
    host: str
    port: int
    pid: int | None  # none of its own
    unix: str | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


def free_port() -> int:
    """None of those that the system gives to connections, who would take it before the server does."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _command(kind: str, port: int, folder: Path, *extra: str) -> list[str]:
    if kind == "fastgear":
        # in this order: when the second one answers, the first one does
        listen = ["--listen", f"unix:{folder}/server", "--listen", f"127.0.0.1:{port}"]
        return [sys.executable, "-m", "fastgear", "serve", *listen, "--verbose", "ERROR", *extra]
    if GEARMAND is None:
        need("gearmand", "gearman-job-server")
    return [str(GEARMAND), "-p", str(port), "-L", "127.0.0.1", "-l", "stderr", "-P", f"{folder}/pid", *extra]


def need(program: str, package: str, install: str = "Debian: apt-get install") -> None:
    """A peer is missing: at home the test is skipped with a word, in CI it may not be."""
    message = f"there is no {program}; {install} {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def run_server(kind: str, folder: Path, *extra: str, port: int = 0, may_end: bool = False) -> Iterator[RunningServer]:
    """With files of its own in folder, on a free port unless one is given; the test may end it if it says so."""
    port = port or free_port()
    log = folder / "server.log"
    with open(log, "w") as output:
        process = subprocess.Popen(_command(kind, port, folder, *extra), stdout=output, stderr=output, cwd=folder)
    try:
        _wait_until_up(process, port, log)
        yield RunningServer(kind, "127.0.0.1", port, process.pid, f"{folder}/server" if kind == "fastgear" else None)
        assert may_end or process.poll() is None, f"the server ended during the test:\n{log.read_text()}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            if kind == "fastgear":  # gearmand sometimes does not end at SIGTERM; that is not what is tested here
                raise


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    pytest.fail(f"the server did not come up:\n{log.read_text()}")
