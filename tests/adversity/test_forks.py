# SPDX-License-Identifier: MIT
"""Forks that fail: a supervisor's, its workers', and a daemon's. Either somebody is told, or it is tried again."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from adversity.faults import Faults, compiled
from serving import run_serve

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="it is about fastgear's forks")

HERE = Path(__file__).parent
RESULTS = {"fork": "two workers", "spawn": "two workers", "pool": "5050", "executor": "5050"}


class Program:
    """forking.py, started."""

    def __init__(self, faults: Faults) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "forking.py")],
            env=faults.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def run(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(what + "\n")
        assert select.select([self._process.stdout], [], [], 60)[0], f"{what} does not end"
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=10)
        assert self._process.returncode == 0


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[Faults]:
    made = Faults(compiled(tmp_path), tmp_path)
    yield made
    made.close()


@pytest.fixture
def program(faults: Faults) -> Iterator[Program]:
    made = Program(faults)
    yield made
    made.close()


@pytest.mark.parametrize("times", [1, 3], ids=["once", "three times"])
@pytest.mark.parametrize("what", RESULTS)
def test_a_fork_that_fails_is_told_of_or_tried_again(what: str, times: int, faults: Faults, program: Program) -> None:
    assert program.run(what)["result"] == RESULTS[what]
    for nth in range(1, 10):
        faults.begin("fork", errno.EAGAIN, nth, times=times, everyone=True)
        answer = program.run(what)
        faults.end()
        assert (answer["children"], answer["descriptors"]) == (0, []), answer
        if nth == 1:
            assert answer["error"].startswith("CannotStart: the worker processes cannot start: "), answer
            assert os.strerror(errno.EAGAIN) in answer["error"]
        else:
            assert answer["result"] == RESULTS[what], answer
        if not faults.failed:
            break
    assert nth > 2, "the supervisor and its two workers are forked"


@pytest.mark.parametrize("what", ["spawn", "pool"])
@pytest.mark.parametrize("call", ["pipe2", "socketpair", "memfd_create", "socket", "pthread_create"])
def test_workers_for_whom_there_is_no_room_leave_nothing_behind(
    call: str, what: str, faults: Faults, program: Program
) -> None:
    """No descriptor, or no thread."""
    assert program.run(what)["result"] == RESULTS[what]
    for nth in range(1, 20):
        faults.begin(call, errno.EAGAIN if call == "pthread_create" else errno.EMFILE, nth, everyone=True)
        answer = program.run(what)
        faults.end()
        assert (answer["children"], answer["descriptors"]) == (0, []), answer
        assert answer["error"] or answer["result"] == RESULTS[what], answer
        if not faults.failed:
            break
    assert answer["result"] == RESULTS[what]


@pytest.mark.parametrize("nth", [1, 2])
def test_a_daemon_that_cannot_fork_says_so(nth: int, faults: Faults, tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    faults.begin("fork", errno.EAGAIN, nth, everyone=True)
    words = ("--daemon", "--listen", f"unix:{tmp_path}/server", "--pid-file", "pid")
    code, output, errors = run_serve(tmp_path, *words, environment=faults.environment)
    assert faults.failed == 1
    assert (code, output) == (1, "") and "Traceback" not in errors
    assert os.strerror(errno.EAGAIN) in errors
    assert not (tmp_path / "pid").exists() and not (tmp_path / "server").exists()
    assert {child.pid for child in psutil.Process().children()} == before


def test_a_daemon_whose_forks_work_under_the_same_shim_serves(faults: Faults, tmp_path: Path) -> None:
    """Or else the test above would show nothing."""
    faults.begin("fork", errno.EAGAIN, 3, everyone=True)
    words = ("--daemon", "--listen", f"unix:{tmp_path}/server", "--pid-file", "pid", "--log-file", "log")
    assert run_serve(tmp_path, *words, environment=faults.environment) == (0, "", "")
    daemon = psutil.Process(int((tmp_path / "pid").read_text()))
    assert (faults.failed, faults.calls) == (0, 2)
    os.kill(daemon.pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while daemon.is_running() and daemon.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not (tmp_path / "pid").exists()
