# SPDX-License-Identifier: MIT
"""Programs that use the pool, run and looked after until nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from fastgear import Executor

__all__ = ["Script", "all_there", "eventually", "replaced", "run"]

_HERE = Path(__file__).parent.parent


class Script:
    """A Python program in a session and a temporary folder of its own."""

    def __init__(self, folder: Path, text: str, how: str = "file") -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        file = folder / "script.py"
        file.write_text(text)
        command = {"file": [str(file)], "stdin": ["-"], "interactive": ["-i", "-q"]}[how]
        path = os.pathsep.join([str(_HERE), *filter(None, sys.path)])
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-W", "ignore", *command],
            env={**os.environ, "TMPDIR": str(self.temporary), "PYTHONPATH": path},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=folder,
        )  # fmt: skip
        assert self.process.stdin is not None
        if how != "file":
            self.process.stdin.write(text)
        self.process.stdin.close()
        self.process.stdin = None

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, timeout: float = 30) -> tuple[int, str, str]:
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # with a traceback of all threads
            _, err = self.process.communicate()
            for process in psutil.process_iter():
                if os.getsid(process.pid) == self.process.pid:
                    process.kill()
            pytest.fail(f"it did not end within {timeout} s:\n{err}")
        return self.process.returncode, out, err

    def nothing_left(self, processes: list[psutil.Process]) -> None:
        _, alive = psutil.wait_procs(processes, timeout=5)
        for process in alive:
            process.kill()
        assert not alive
        assert not list(self.temporary.iterdir())


def run(folder: Path, text: str, how: str = "file", timeout: float = 30) -> str:
    """What a program prints that ends well and leaves nothing."""
    script = Script(folder, text, how)
    code, out, err = script.end(timeout)
    assert (code, err.replace(">>> ", "").replace("... ", "").strip()) == (0, "")
    assert not list(script.temporary.iterdir())
    return out


def eventually(true: Callable[[], bool], timeout: float = 10) -> bool:
    deadline = time.monotonic() + timeout
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def replaced(executor: Executor, pid: int) -> bool:
    """Whether another worker is there for the one that died. It waits for that: else who comes late looks like a leak."""

    def pids() -> set[int]:
        return {worker.pid for worker in executor.stats().workers}

    return eventually(lambda: pid not in pids() and len(pids()) == executor._max_workers, 30) and all_there(executor)


def all_there(executor: Executor) -> bool:
    """Whether all workers have come, and the pool's server knows them. It waits for that."""
    server = executor._engine._server
    return eventually(
        lambda: sum("fastgear" in peer.functions for peer in server.snapshot().connections) == executor._max_workers, 30
    )
