# SPDX-License-Identifier: MIT
"""A connected socket without a server: what is received, what is lost, and when."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fastgear import ConnectionLost
from fastgear.addresses import Address
from fastgear.stream import Stream, connect

Pair = tuple[Stream, socket.socket]


@pytest.fixture(params=["unix", "tcp"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A stream, and the plain socket at its other end."""
    if request.param == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
    stream = Stream(Address.parse("there:1"), ours)
    yield stream, theirs
    stream.close()
    theirs.close()


def test_what_came_before_a_send_that_fails_is_delivered(pair: Pair) -> None:
    stream, theirs = pair
    stream.send(b"unread")  # so that TCP answers the close with a reset
    theirs.sendall(b"why")
    theirs.close()
    for _ in range(100):
        stream.send(b"x" * 1000)
    assert stream.wait(None) == b"why"
    with pytest.raises(ConnectionLost, match=r"the connection to there:1 broke: (Broken pipe|Connection reset)"):
        stream.wait(None)
    assert stream.waiting == 0


def test_a_peer_that_takes_nothing_more_ends_the_connection() -> None:
    ours, theirs = socket.socketpair()
    stream = Stream(Address.parse("there:1"), ours)
    theirs.shutdown(socket.SHUT_RD)
    stream.send(b"x")
    with pytest.raises(ConnectionLost, match="Broken pipe"):
        stream.wait(None)
    stream.close()
    theirs.close()


def test_a_live_server_may_be_slow_for_two_minutes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = connect(Address.parse(f"127.0.0.1:{listener.getsockname()[1]}"), 5)
        timeout_ms = stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        stream.close()
    assert timeout_ms == 120_000


def test_a_unix_socket_whose_queue_is_full_is_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        address = Address.parse(f"unix:{tmp_path}/s")
        connect(address, 5).close()
        with pytest.raises(ConnectionLost, match=r"cannot connect to unix:.*: it did not answer in time"):
            connect(address, 0.05)
        timer = threading.Timer(0.1, lambda: listener.accept()[0].close())
        timer.start()
        connect(address, 5).close()
        timer.join()


def test_an_address_that_does_not_answer_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as full, socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # Linux drops what does not fit into the queue
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", one.getsockname()) for one in (full, listener)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
        connect(Address.parse("two:1"), 0.4).close()
        del found[1]
        with pytest.raises(ConnectionLost, match="cannot connect to two:1: it did not answer in time"):
            connect(Address.parse("two:1"), 0.2)


def test_a_child_that_finishes_leaves_its_parent_s_connection_alone(pair: Pair) -> None:
    stream, theirs = pair
    pid = os.fork()
    if pid == 0:
        stream.finish(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    stream.send(b"still there")
    assert theirs.recv(100) == b"still there"


def test_what_gets_on_is_not_cut_short_at_the_end(pair: Pair) -> None:
    stream, theirs = pair
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
    came = 0

    def read_slowly() -> None:
        nonlocal came
        while size := len(theirs.recv(1 << 20)):
            came += size
            time.sleep(0.02)
        theirs.close()

    reader = threading.Thread(target=read_slowly)
    reader.start()
    start = time.monotonic()
    stream.send(bytes(12_000_000))
    stream.finish(0.7)
    reader.join()
    assert came == 12_000_000 and time.monotonic() - start > 0.7


def test_what_does_not_get_on_is_given_up_at_the_end(pair: Pair) -> None:
    stream, _ = pair
    stream.send(bytes(30_000_000))
    start = time.monotonic()
    stream.finish(0.1)
    assert 0.1 <= time.monotonic() - start < 1
