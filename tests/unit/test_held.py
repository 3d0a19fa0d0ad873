# SPDX-License-Identifier: MIT
"""What a worker holds back: it leaves in time, in order, once, and only to where it belongs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fastgear.worker.held import HeldBack


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_what_is_taken_in_time_does_not_leave_by_itself(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    held = HeldBack(0.3)
    assert held.take(ours.fileno()) == b""
    for _ in range(3):
        assert held.add(ours.fileno(), bytearray(b"ab")) and held.add(ours.fileno(), bytearray(b"c"))
        assert held.take(theirs.fileno()) == b""
        assert held.take(ours.fileno()) == b"abc"
        assert held.take(ours.fileno()) == b""
    theirs.settimeout(0.5)
    with pytest.raises(TimeoutError):
        theirs.recv(100)
    held.close()
    held.close()


def test_what_is_not_taken_leaves_in_time(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    held = HeldBack(0.002)
    for _ in range(20):
        start = time.monotonic()
        assert held.add(ours.fileno(), bytearray(b"ab"))
        assert theirs.recv(100) == b"ab"
        assert 0.002 <= time.monotonic() - start < 1
        assert held.take(ours.fileno()) == b""
    held.close()


def test_what_cannot_be_held_back_is_the_caller_s(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    held = HeldBack(10)
    assert not held.add(ours.fileno(), bytearray())
    assert not held.add(ours.fileno(), bytearray(65_537))
    assert held.add(ours.fileno(), bytearray(65_536))
    assert not held.add(ours.fileno(), bytearray(1)), "it is full"
    assert held.take(ours.fileno()) == bytes(65_536)
    assert held.add(ours.fileno(), bytearray(1))
    assert not held.add(theirs.fileno(), bytearray(1)), "it is for one socket at a time"
    held.close()
    assert held.take(ours.fileno()) == b"", "forgotten"
    assert held.add(ours.fileno(), bytearray(b"x")) and held.take(ours.fileno()) == b"x"
    held.close()


def test_order_is_kept_when_a_socket_is_full(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    held = HeldBack(0.001)
    ours.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while True:
            sent += ours.send(b"." * 1000)
    assert held.add(ours.fileno(), bytearray(b"abc" * 10_000))
    time.sleep(0.02)
    came = b""
    while len(came) < sent + 10_000:
        came += theirs.recv(1 << 20)
    rest = held.take(ours.fileno())
    theirs.setblocking(False)
    with suppress(BlockingIOError):
        came += theirs.recv(1 << 20)
    assert came.lstrip(b".") + rest == b"abc" * 10_000
    held.close()


def test_a_broken_connection_is_left_to_its_owner(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    held = HeldBack(0.001)
    theirs.close()
    assert held.add(ours.fileno(), bytearray(b"x"))
    time.sleep(0.02)
    assert held.take(ours.fileno()) == b"x"
    held.close()


def test_a_forked_child_holds_nothing_back(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    held = HeldBack(0.01)
    assert held.add(ours.fileno(), bytearray(b"the parent's"))
    pid = os.fork()
    if pid == 0:
        wrong = held.add(ours.fileno(), bytearray(b"x")) or held.take(ours.fileno()) != b""
        held.close()
        del held
        os._exit(int(wrong))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert theirs.recv(100) == b"the parent's"
    held.close()


def test_signals_are_not_for_its_thread(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    held = HeldBack(10)
    threads = set(os.listdir("/proc/self/task"))
    held.add(ours.fileno(), bytearray(b"x"))
    (thread,) = set(os.listdir("/proc/self/task")) - threads
    (blocked,) = re.findall(r"SigBlk:\s*(\w+)", Path(f"/proc/self/task/{thread}/status").read_text())
    assert int(blocked, 16) >> (signal.SIGTERM - 1) & 1
    held.close()
    deadline = time.monotonic() + 5
    while thread in os.listdir("/proc/self/task"):  # for a moment after it was joined
        assert time.monotonic() < deadline


GIL = """
import ctypes, socket, sys
from fastgear.worker.held import HeldBack
sock = socket.socket(fileno=int(sys.argv[1]))
held = HeldBack(0.001)
held.add(sock.fileno(), bytearray(b"x"))
ctypes.PyDLL(None).usleep(700_000)
sock.send(b"y")
held.close()
"""


def test_it_leaves_while_the_gil_is_held(pair: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    ours, theirs = pair
    command = [sys.executable, "-c", GIL, str(ours.fileno())]
    with subprocess.Popen(command, pass_fds=[ours.fileno()], cwd=tmp_path) as process:
        theirs.settimeout(30)
        assert theirs.recv(100) == b"x", "not together with what follows"
        start = time.monotonic()
        assert theirs.recv(100) == b"y"
        assert time.monotonic() - start > 0.3
        assert process.wait(10) == 0


def test_adding_and_taking_in_a_hurry_loses_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    held, came = HeldBack(0.0001), bytearray()

    def read() -> None:
        while not came.endswith(b"end"):
            came.extend(theirs.recv(1 << 16))

    reader = threading.Thread(target=read)
    reader.start()
    words = [b"%d " % n for n in range(50_000)]
    for n, word in enumerate(words):
        if n % 7 and held.add(ours.fileno(), bytearray(word)):
            continue
        ours.sendall(held.take(ours.fileno()) + word)
    ours.sendall(held.take(ours.fileno()) + b"end")
    reader.join(20)
    assert came == b"".join(words) + b"end"
    held.close()
