# SPDX-License-Identifier: MIT
"""What Python reads from others: each door takes any bytes, and lets through only the errors that it is documented to raise.

A door whose bytes come from a server is given them whole and in pieces, with the same outcome. Pickles are opened by nobody here:
whoever may write a pool's frames may run what he likes anyway, but cut off or garbled ones must not hang or break anything else.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from fastgear.addresses import Address
from fastgear.base.alloc import live_allocations
from fastgear.cli.common import CommandError
from fastgear.cli.config_file import read_file
from fastgear.cli.options import check
from fastgear.cli.settings import KINDS, _file_parser
from fastgear.config import options
from fastgear.errors import ConfigError, RemoteProtocolError, ServerError
from fastgear.pool.frame import unpack
from fastgear.pool.pieces import Piece
from fastgear.pool.traffic import Traffic
from fastgear.pool.values import pack_values, read_records
from fastgear.protocol import replies
from fastgear.protocol.session import Answer, ClientSession, SubmittedJob, WorkerSession, parse_status
from fastgear.protocol.wire import PacketReader, PacketType, pack_request, pack_response

__all__ = ["DOORS"]

_CUTS = (1, 2, 11, 13, 100)


def _pieces(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    size = _CUTS[len(data) % len(_CUTS)]
    yield [data[at : at + size] for at in range(0, len(data), size)]


# -- the wire ---------------------------------------------------------------------------------------------------------


def packets(data: bytes) -> None:
    """The reader: the same packets however they are cut, and each can be written again."""
    outcomes = []
    for pieces in _pieces(data):
        reader, found, refused = PacketReader(1 << 20), [], False
        for piece in pieces:
            try:
                found += reader.feed(piece)
            except RemoteProtocolError:
                refused = True
                break
        outcomes.append(([(packet.type, packet.is_request, packet.args) for packet in found], refused))
    whole, cut = outcomes
    assert whole[1] == cut[1]
    assert whole[1] or whole[0] == cut[0]
    for kind, is_request, args in cut[0]:
        again = (pack_request if is_request else pack_response)(kind, *args)
        (packet,) = PacketReader().feed(again)
        assert (packet.type, packet.args) == (kind, args)


def _client() -> tuple[ClientSession, list[Any]]:
    session = ClientSession()
    places: list[Any] = [
        SubmittedJob("f"),
        SubmittedJob("f"),
        SubmittedJob("g", background=True),
        Answer(),
        Answer(),
        Answer(),
    ]
    for job in places[:3]:
        session.submit(job, b"")
    session.ask(places[3], PacketType.GET_STATUS, PacketType.STATUS_RES, b"H:lap:1")
    session.ask(places[4], PacketType.ECHO_REQ, PacketType.ECHO_RES, b"x")
    session.ask(places[5], PacketType.GET_STATUS_UNIQUE, PacketType.STATUS_RES_UNIQUE, b"u")
    return session, places


def client(data: bytes) -> None:
    """A client's session: each place gets at most one outcome, and at the latest when the connection is lost."""
    for pieces in _pieces(data):
        session, places = _client()
        ended: list[SubmittedJob] = []
        with contextlib.suppress(RemoteProtocolError, ServerError):
            for piece in pieces:
                ended += session.receive(piece)
        assert len(ended) == len(set(map(id, ended))), "a job ended twice"
        for place in places:
            if isinstance(place, Answer) and place.args is not None and len(place.args) > 1:
                parse_status(place.args)
        session.lose("a server", ConnectionResetError("gone"))
        for place in places:
            if isinstance(place, Answer):
                assert place.is_there
            else:
                assert place.is_over or place.background  # of which nothing is heard once it is acknowledged


def worker(data: bytes) -> None:
    """A worker's session: it never has more jobs than it asked for."""
    session = WorkerSession(4, concurrency=2)
    session.hello([(b"f", 0), (b"g", 100)], b"me")
    size = _CUTS[len(data) % len(_CUTS)]
    asked, held = _grabs(session), 0
    with contextlib.suppress(RemoteProtocolError, ServerError):
        for at in range(0, len(data), size):
            jobs = session.receive(data[at : at + size])
            held += len(jobs)
            asked += _grabs(session) - len(jobs)  # what it would have asked for while it read counts
            assert asked >= 0 and held <= 4
            if jobs and at % 2:
                session.finish(PacketType.WORK_COMPLETE, jobs[0].handle, b"")
                held -= 1


def _grabs(session: WorkerSession) -> int:
    return sum(packet.type is PacketType.GRAB_JOB_UNIQ for packet in PacketReader().feed(session.take_outgoing()))


def texts(data: bytes) -> None:
    """Replies to text commands."""
    text = data.decode("utf-8", "surrogateescape")
    for parse in (
        replies.parse_status, replies.parse_priority_status, replies.parse_counters, replies.parse_show_jobs,
        replies.parse_uniques, replies.parse_workers, replies.parse_ok,
    ):  # fmt: skip
        with contextlib.suppress(RemoteProtocolError, ServerError):
            parse(text)


# -- what people write ------------------------------------------------------------------------------------------------


def config(data: bytes) -> None:
    """A configuration file, either format; and the values in it, by themselves."""
    with mock.patch("builtins.open", mock.mock_open(read_data=data)) as opened:
        opened.return_value.read.side_effect = lambda: data.decode("utf-8")
        with contextlib.suppress(ConfigError, CommandError):
            values = read_file("a file", list(KINDS), _file_parser)
            for kind in KINDS:
                for name, option, _ in options(kind):
                    if name in values:
                        check(option, values[name])


def values(data: bytes) -> None:
    """One option after the other from a text, as from the environment; and an address."""
    text = data[1:].decode("utf-8", "surrogateescape")
    known = [option for kind in KINDS for _, option, _ in options(kind)]
    option = known[data[0] % len(known)] if data else known[0]
    with contextlib.suppress(ConfigError):
        option.check(option.read(text))
    with contextlib.suppress(ConfigError):
        address = Address.parse(text)
        assert address.host == "unix" or Address.parse(str(address)) == address


# -- the pool ---------------------------------------------------------------------------------------------------------

_BROKEN = (ValueError, EOFError, TypeError, struct.error, IndexError, KeyError, ServerError)


def _unpickled(data: bytes) -> bytes:
    """Nothing that would be unpickled: P and O are the letters of such records."""
    return data.translate(bytes.maketrans(b"PO", b"BB"))


def records(data: bytes) -> None:
    """What workers send as results; and what is read is written as it was."""
    out: list[Any] = []
    data = _unpickled(data)
    with contextlib.suppress(ValueError):
        read_records(data, 0, len(data), out, lambda places: places)
    again = pack_values(out)
    if again is not None:
        read: list[Any] = []
        read_records(again, 0, len(again), read, lambda places: places)
        assert repr(read) == repr(out)  # not a number is not equal to itself


class _Tasks:
    """A source of pool tasks that there is no work for."""

    name, offered = "f", False

    def __init__(self) -> None:
        self.sizer = mock.Mock()
        self.pieces = [Piece(self, [1, 2, 3]), Piece(self, [4])]

    def next_piece(self, hand: list[Piece]) -> bool:
        if self.pieces:
            hand.append(self.pieces.pop())
        return bool(hand)

    def push_back(self, piece: Piece) -> None:
        self.pieces.append(piece)

    def pack(self, piece: Piece) -> bytes:
        return b""

    def advance(self, piece: Piece, start: int) -> None:
        """Whoever gets too many says so, as calls.pyx does."""
        piece.tasks[start : len(piece.values)]

    def describe_shortly(self, task: Any) -> str:
        return "f()"


def traffic(data: bytes) -> None:
    """A pool's conversation with its server, when workers send anything: results are records, laps and a trailer."""
    fallen: list[Piece] = []
    one = Traffic(2, mock.Mock(received=0), fallen.append)
    one.send = lambda data: None
    one.offer(_Tasks())
    for number in (1, 2):
        one.take(pack_response(PacketType.JOB_CREATED, b"H:lap:%d" % number))
    kinds = (PacketType.WORK_DATA, PacketType.WORK_COMPLETE, PacketType.WORK_FAIL)
    at = 0
    with contextlib.suppress(*_BROKEN):
        while at + 2 < len(data):
            kind, length = kinds[data[at] % 3], data[at + 1]
            handle = b"H:lap:%d" % (data[at] // 3 % 2 + 1)
            body = () if kind is PacketType.WORK_FAIL else (_unpickled(data[at + 2 : at + 2 + length]),)
            at += 2 + length
            one.take(pack_response(kind, handle, *body))
    one.fail(RuntimeError("the end"), fallen)


def frames(data: bytes) -> None:
    """A frame that was cut off: marshal is only asked to read what it has written, or the beginning of that."""
    whole = struct.pack("<IB", 1, 0) + _MARSHALLED
    with contextlib.suppress(*_BROKEN):
        unpack(whole[: data[0] % len(whole)] if data else b"")


_MARSHALLED = __import__("marshal").dumps((b"function", [b"one", (1, 2, 3), [b"two"]]))

DOORS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one for one in (packets, client, worker, texts, config, values, records, traffic, frames)
}


def through(name: str, data: bytes) -> None:
    """Play it, and leave no memory behind."""
    before = live_allocations()
    DOORS[name](data)
    assert live_allocations() == before, "memory was allocated and not freed"


FOLDER = Path(__file__).parent
