# SPDX-License-Identifier: MIT
"""The client and the worker with servers that misbehave, played by the tests; without any real server."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from speak import Packet, cut, response

from fastgear import Worker

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="meets no server")


class Played:
    """A server that says what the test says; each connection is taken by `accept`."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(5)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.socks: list[socket.socket] = []
        self.rest = b""
        self.found: list[Packet] = []

    def accept(self) -> None:
        sock, _ = self.listener.accept()
        sock.settimeout(5)
        self.socks.append(sock)
        self.rest, self.found = b"", []

    def expect(self, name: str) -> tuple[bytes, ...]:
        """Skip what comes before a packet of that name, and return its arguments."""
        while True:
            while self.found:
                found, args = self.found.pop(0)
                if found == name:
                    return args
            data = self.socks[-1].recv(1 << 16)
            assert data, f"the connection was closed before {name}"
            self.found, self.rest = cut(self.rest + data, b"\0REQ")

    def say(self, *words: object) -> None:
        self.socks[-1].sendall(response(*words))  # type: ignore[arg-type]

    def close(self) -> None:
        for sock in (self.listener, *self.socks):
            sock.close()


@pytest.fixture
def played() -> Iterator[Played]:
    server = Played()
    yield server
    server.close()


# -- worker


@pytest.mark.parametrize(
    ("code", "text", "hint"),
    [
        ("ARGUMENT_TOO_LARGE", "The result is too large", ""),
        (
            "JOB_NOT_FOUND",
            "Job given in work result not found",
            " (a job that this worker lost, most likely by its timeout)",
        ),
    ],
)
def test_a_worker_logs_the_server_s_words(
    played: Played,
    run_worker: Callable[[Worker], threading.Thread],
    caplog: pytest.LogCaptureFixture,
    code: str,
    text: str,
    hint: str,
) -> None:
    worker = Worker(played.address)
    worker.register("f", lambda job: b"result")
    run_worker(worker)
    played.accept()
    played.expect("GRAB_JOB_UNIQ")
    with caplog.at_level(logging.WARNING):
        played.say("JOB_ASSIGN_UNIQ", b"H:1", b"f", b"", b"")
        assert played.expect("WORK_COMPLETE") == (b"H:1", b"result")
        played.say("ERROR", code.encode(), text.encode())
        played.say("JOB_ASSIGN_UNIQ", b"H:2", b"f", b"", b"")
        assert played.expect("WORK_COMPLETE") == (b"H:2", b"result")
    assert [record.getMessage() for record in caplog.records] == [f"the server answered {code}: {text}{hint}"]
