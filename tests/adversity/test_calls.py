# SPDX-License-Identifier: MIT
"""Every n-th call of the server fails, for n = 1, 2, 3 until a party on it passes untouched: nothing is lost, nothing left behind.

The server is in a process of its own, over calls.c; each party is a whole life of it, from its start to its stop.
"""

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

import pytest
from adversity.faults import Faults, compiled
from adversity.party import PATIENCE_S, Party, Side, Worker, ask
from serving import serving
from speak import request

from fastgear.base.alloc import counting

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="it is about fastgear's calls")

HERE = Path(__file__).parent
MOST = 3000  # a party makes some hundred calls of a kind
STOP_S = 4.0

LOOP = {
    "recv": (errno.EINTR, errno.EAGAIN, errno.ECONNRESET, errno.ENOMEM),
    "send": (errno.EINTR, errno.EAGAIN, errno.EPIPE, errno.ECONNRESET, errno.ENOBUFS, errno.ENOMEM),
    "accept4": (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.EINTR, errno.ENOMEM),
    "epoll_wait": (errno.EINTR,),
    "epoll_ctl": (errno.ENOMEM, errno.ENOSPC),
    "read": (errno.EINTR, errno.EAGAIN),  # what wakes the loop
}
START = {
    "socket": errno.EMFILE,
    "bind": errno.EADDRINUSE,
    "listen": errno.EADDRINUSE,
    "epoll_create1": errno.EMFILE,
    "open": errno.EMFILE,
    "eventfd": errno.EMFILE,
    "epoll_ctl": errno.ENOMEM,
    "pthread_create": errno.EAGAIN,
}


class Rig:
    """rig.py, started; its server is listening on a Unix socket and on a port."""

    def __init__(self, faults: Faults, folder: Path) -> None:
        self.faults = faults
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "rig.py"), f"unix:{folder}/server", "127.0.0.1:0"],
            env=faults.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def tell(self, command: str, **options: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, options]) + "\n")
        assert select.select([self._process.stdout], [], [], 30)[0], f"{command} does not end"
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        assert answer, f"the server's process ended with {self._process.wait(5)}"
        return answer

    def start(self, **options: Any) -> list[str]:
        answer = self.tell("start", **options)
        assert not answer["error"], answer
        return list(answer["addresses"])

    def stop(self) -> bool:
        """Whether no allocation failed that was to."""
        answer = self.tell("stop")
        assert answer["descriptors"] == [] and answer["allocations"] == 0, answer
        assert answer["seconds"] < STOP_S
        return bool(answer["untouched"])

    def close(self) -> None:
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        assert self._process.returncode == 0


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def faults(shim: Path, tmp_path: Path) -> Iterator[Faults]:
    made = Faults(shim, tmp_path)
    yield made
    made.close()


@pytest.fixture
def rig(faults: Faults, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(faults, tmp_path)
    yield made
    made.close()


def celebrate(addresses: list[str]) -> None:
    """A party; afterwards the server answers, and no job is with a worker that has gone."""
    Party(addresses).play()
    begun = time.monotonic()
    while True:
        answers = ask(addresses[0], "version", "status")
        running = [line.split("\t")[2] for line in answers["status"].splitlines()[:-1]]
        if set(running) <= {"0"}:
            return
        assert time.monotonic() < begun + PATIENCE_S, answers


def each(name: str, faults: dict[str, tuple[int, ...]]) -> Any:
    pairs = [(call, error) for call, errors in faults.items() for error in errors]
    return pytest.mark.parametrize(name, pairs, ids=[f"{call}-{errno.errorcode[error]}" for call, error in pairs])


@pytest.mark.parametrize("times", [1, 3], ids=["once", "three times"])
@each("fault", LOOP)
def test_the_loop_goes_on_whatever_call_fails(fault: tuple[str, int], times: int, rig: Rig) -> None:
    for nth in range(1, MOST):
        addresses = rig.start()
        rig.faults.begin(*fault, nth, times=times)
        celebrate(addresses)
        rig.stop()
        rig.faults.end()
        if not rig.faults.failed:
            break
    print(f"{nth - 1} parties, {fault}")
    assert not rig.faults.failed and nth > 1


@pytest.mark.parametrize("stored", [False, True], ids=["", "with a store"])
@pytest.mark.parametrize("call", START)
def test_a_server_that_cannot_start_says_so_and_leaves_nothing_behind(
    call: str, stored: bool, rig: Rig, tmp_path: Path
) -> None:
    for nth in range(1, MOST):
        rig.faults.begin(call, START[call], nth, everyone=True)
        answer = rig.tell("start", store=str(tmp_path / "jobs.db") if stored else "")
        rig.faults.end()
        if answer["error"]:
            assert answer["descriptors"] == [] and answer["allocations"] == 0, answer
            assert rig.faults.failed
        else:
            celebrate(answer["addresses"])
            rig.stop()
        if not rig.faults.failed:
            break
    assert not rig.faults.failed and nth > 1


@pytest.mark.skipif(not counting, reason="only builds for debugging let allocations fail")
def test_every_allocation_of_a_server_may_fail(rig: Rig) -> None:
    for allocations in range(MOST):
        answer = rig.tell("start", allocations=allocations)
        if answer["error"]:
            assert answer["descriptors"] == [] and answer["allocations"] == 0 and "Memory" in answer["error"], answer
            continue
        celebrate(answer["addresses"])
        if rig.stop():
            break
    assert allocations > 20


def test_a_stop_comes_through_though_its_call_is_interrupted(rig: Rig) -> None:
    rig.start()
    rig.faults.begin("write", errno.EINTR, 1, times=3, everyone=True)
    rig.stop()
    assert rig.faults.failed


@pytest.mark.parametrize("error", [errno.ENOMEM, errno.ENOBUFS], ids=["ENOMEM", "ENOBUFS"])
@pytest.mark.parametrize("call", ["recv", "send"])
def test_the_loop_does_not_spin_while_the_system_has_no_memory(call: str, error: int, rig: Rig) -> None:
    addresses, times = rig.start(), 100
    rig.faults.begin(call, error, 1, times=times)
    begun = time.monotonic()
    assert ask(addresses[0], "version")["version"].startswith("OK")
    assert rig.faults.failed == times and time.monotonic() - begun > times / 1000
    rig.stop()


@pytest.mark.parametrize("most", [1, 2, 3, 11, 13])
def test_calls_may_take_few_bytes(most: int, rig: Rig) -> None:
    rig.faults.shorten(most)
    addresses = rig.start()
    celebrate(addresses)
    rig.stop()


# -- jobs that are stored


class Submitter(Side):
    """Submits background jobs, one after the other, each once."""

    def __init__(self, address: str, count: int) -> None:
        super().__init__(address)
        self._left = [b"%d" % number for number in range(count)]
        self.acknowledged: set[bytes] = set()

    @property
    def is_content(self) -> bool:
        return not self._left

    def greet(self) -> None:
        if self._left:
            self.say(request("SUBMIT_JOB_BG", b"f", self._left[0], self._left[0]))

    def on_job_created(self, handle: bytes) -> None:
        self.acknowledged.add(self._left.pop(0))
        self.greet()

    def on_error(self, *_: bytes) -> None:
        self._left.pop(0)
        self.greet()


class Collector(Worker):
    """Wants to have run these workloads."""

    def __init__(self, address: str, wanted: set[bytes]) -> None:
        super().__init__(address)
        self._wanted = wanted

    @property
    def is_content(self) -> bool:  # type: ignore[override]
        return set(self.ran) >= self._wanted


def hear(side: Side) -> None:
    deadline = time.monotonic() + PATIENCE_S
    side.connect()
    while not side.is_content:
        assert select.select([side], [], [], max(0.0, deadline - time.monotonic()))[0]
        side.hear()
    side.close()


@pytest.mark.parametrize("times", [1, 1000], ids=["once", "from then on"])
@each("fault", {"fsync": (errno.EIO, errno.ENOSPC), "pwrite": (errno.ENOSPC, errno.EIO)})
def test_what_a_server_with_a_bad_disk_acknowledged_is_there(
    fault: tuple[str, int], times: int, rig: Rig, tmp_path: Path
) -> None:
    for nth in range(1, MOST):
        store = str(tmp_path / f"{nth}.db")
        rig.stop() if rig.start(store=store) else None  # the file is made on a good disk
        addresses = rig.start(store=store)
        rig.faults.begin(*fault, nth, times=times, everyone=True)
        submitter = Submitter(addresses[0], 5)
        hear(submitter)
        rig.tell("stop")
        rig.faults.end()
        addresses = rig.start(store=store)
        hear(Collector(addresses[0], submitter.acknowledged))
        rig.stop()
        if not rig.faults.failed:
            break
    assert not rig.faults.failed and nth > 1 and len(submitter.acknowledged) == 5


# -- the command


def test_the_command_goes_on_and_ends_well(faults: Faults, tmp_path: Path) -> None:
    """One process for all of them, and for each kind a few calls in a row."""
    words = ["--listen", f"unix:{tmp_path}/server", "--listen", "127.0.0.1:0", "--verbose", "NOTICE"]
    with serving(tmp_path, *words, environment=faults.environment) as server:
        addresses = server.addresses
        before = len(os.listdir(f"/proc/{server.pid}/fd"))
        for call, errors in LOOP.items():
            for error in errors:
                for nth in (1, 4, 9, 16):
                    faults.begin(call, error, nth, times=2)
                    celebrate(addresses)
        faults.end()
        deadline = time.monotonic() + PATIENCE_S
        while len(os.listdir(f"/proc/{server.pid}/fd")) != before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert server.stop(signal.SIGTERM)[0] == 0
