# SPDX-License-Identifier: MIT
"""Every transcript of tests/wire against a real server over TCP, and over a Unix socket where the server has them."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import RunningServer
from speak import request, response
from wire.transcript import CUTS, TRANSCRIPTS, Player, parse

PLAYED = [path for path in TRANSCRIPTS if not parse(path).only_core]


class SocketWire:
    """Requests of different connections are kept in order by an ECHO_REQ behind each."""

    def __init__(self, server: RunningServer, *, unix: bool) -> None:
        self.server = server
        self.unix = unix
        self.socks: dict[str, socket.socket] = {}
        self.came: dict[str, bytes] = {}
        self.numbers = itertools.count()

    def sock(self, who: str) -> socket.socket:
        if who not in self.socks:
            if self.unix:
                self.socks[who] = socket.socket(socket.AF_UNIX)
                self.socks[who].connect(self.server.unix)
            else:
                self.socks[who] = socket.create_connection((self.server.host, self.server.port))
                self.socks[who].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socks[who].settimeout(5)
            self.came[who] = b""
        return self.socks[who]

    def send(self, who: str, pieces: list[bytes]) -> None:
        for piece in pieces:
            self.sock(who).sendall(piece)
        self.sync(who)

    def sync(self, who: str) -> None:
        word = b"sync %d" % next(self.numbers)
        try:
            self.sock(who).sendall(request("ECHO_REQ", word))
            while response("ECHO_RES", word) not in self.came[who] and self.receive(who):
                pass
        except ConnectionError:
            pass
        self.came[who] = self.came[who].replace(response("ECHO_RES", word), b"")

    def receive(self, who: str) -> bool:
        data = self.sock(who).recv(1 << 16)
        self.came[who] += data
        return bool(data)

    def rest(self, who: str) -> bytes:
        self.sync(who)
        return self.came[who]

    def expect(self, who: str, length: int) -> bytes:
        self.sock(who)
        while len(self.came[who]) < length and self.receive(who):
            pass
        found, self.came[who] = self.came[who][:length], self.came[who][length:]
        return found

    def is_closed(self, who: str) -> bool:
        try:
            return not self.receive(who)
        except ConnectionResetError:
            return True

    def leave(self, who: str) -> None:
        """And wait until the server has noticed: gearmand has a thread for that, which may come after the next one's request."""
        self.sock(who).shutdown(socket.SHUT_WR)
        while not self.is_closed(who):
            pass
        self.sock(who).close()
        del self.socks[who]

    def close(self) -> None:
        for sock in self.socks.values():
            sock.close()


@pytest.fixture
def wire(server: RunningServer, way: str) -> Iterator[SocketWire]:
    if way == "unix" and server.unix is None:
        pytest.skip("this server has no Unix sockets")
    wire = SocketWire(server, unix=way == "unix")
    yield wire
    wire.close()


def marked(path: Path) -> object:
    reason = parse(path).gearmand
    marks = [pytest.mark.differs("gearmand", reason)] if reason else []
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize(("way", "cut"), [("tcp", "whole"), ("tcp", "byte by byte"), ("unix", "at random")])
@pytest.mark.parametrize("path", [marked(path) for path in PLAYED])
def test_a_server_plays_its_part(wire: SocketWire, path: Path, way: str, cut: str) -> None:
    Player(parse(path), wire, CUTS[cut]).play()
    for who in wire.socks:
        if who in wire.came and not wire.came[who]:
            wire.sync(who)
        assert wire.came[who] == b"", f"{who} was sent more than the transcript says"
