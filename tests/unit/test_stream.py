# SPDX-License-Identifier: MIT
"""A connected socket without a server: what is received, what is lost, and when."""

from __future__ import annotations

import socket
from collections.abc import Iterator

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
