# SPDX-License-Identifier: MIT
"""Packets to bytes and back, by an encoder and a parser that were written apart (tests/speak.py), cut at every place."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speak import NUMBERS
from speak import packet as spoken

from fastgear import LocalProtocolError, RemoteProtocolError
from fastgear.protocol.wire import PACKETS, PacketReader, PacketType, pack_request, pack_response

quick = settings(max_examples=200, deadline=None, database=None)
ARGUMENT = st.binary(max_size=12).map(lambda word: word.replace(b"\0", b"."))


@st.composite
def calls(draw: st.DrawFn) -> tuple[bool, int, tuple[bytes, ...]]:
    facts = draw(st.sampled_from(PACKETS))
    args = [draw(ARGUMENT) for _ in facts.args]
    data = [draw(st.binary(max_size=40))] if facts.has_data else []
    if args and not data:  # the last argument runs to the end of the packet, whatever is in it
        args[-1] = draw(st.binary(max_size=12))
    return draw(st.booleans()), facts.number, (*args, *data)


def test_the_table_has_all_42_packet_types() -> None:
    assert {facts.name: facts.number for facts in PACKETS} == NUMBERS
    assert [facts.number for facts in PACKETS] == list(range(1, 43))
    assert {kind.name: kind.value for kind in PacketType} == {"TEXT": 0, **NUMBERS}
    assert all(facts.senders <= {"client", "worker", "server"} for facts in PACKETS)


@quick
@given(call=calls())
def test_a_packet_is_encoded_as_the_document_says(call: tuple[bool, int, tuple[bytes, ...]]) -> None:
    is_request, number, args = call
    pack = pack_request if is_request else pack_response
    assert pack(number, *args) == spoken(b"\0REQ" if is_request else b"\0RES", number, *args)


@quick
@given(stream=st.lists(calls(), max_size=5), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_a_stream_is_read_alike_however_it_is_cut(
    stream: list[tuple[bool, int, tuple[bytes, ...]]], cuts: list[int]
) -> None:
    data = b"".join(
        (pack_request if is_request else pack_response)(number, *args) for is_request, number, args in stream
    )
    places = sorted({min(place, len(data)) for place in cuts} | {0, len(data)})
    for pieces in (
        [data],
        [data[at : at + 1] for at in range(len(data))],
        [data[start:end] for start, end in itertools.pairwise(places)],
    ):
        reader = PacketReader()
        found = [packet for piece in pieces for packet in reader.feed(piece)]
        assert [(one.is_request, int(one.type), one.args) for one in found] == stream
        assert reader.pending == 0


@settings(max_examples=500, deadline=None, database=None)
@given(
    garbage=st.binary(max_size=80),
    prefix=st.sampled_from([b"", b"\0RES", b"\0REQ\0\0\0\x08", b"\0RES\0\0\0\x0b\0\0\0\x04"]),
)
def test_any_bytes_are_packets_or_a_protocol_error_whole_and_byte_by_byte(garbage: bytes, prefix: bytes) -> None:
    outcomes = []
    for step in (1, 7, 1000):
        reader, found = PacketReader(), []
        try:
            for at in range(0, len(prefix + garbage), step):
                found += [repr(one) for one in reader.feed((prefix + garbage)[at : at + step])]
        except RemoteProtocolError as error:
            outcomes.append(str(error))
        else:
            outcomes.append(str(found))
    assert len(set(outcomes)) == 1


def test_input_may_be_any_buffer_and_is_not_kept() -> None:
    data = bytearray(pack_response(PacketType.ECHO_RES, b"abc"))
    reader = PacketReader()
    assert reader.feed(memoryview(data)[:5]) == [] and reader.pending == 5
    data[:5] = b"xxxxx"
    (packet,) = reader.feed(memoryview(data)[5:])
    assert packet.args == (b"abc",) and repr(packet) == "<Packet ECHO_RES (b'abc',)>"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GET / HTTP", "does not speak Gearman"),
        (b"\0RES\0\0\0\x2b\0\0\0\0", "unknown type"),
        (b"\0RES\0\0\0\x14\0\0\0\x03a\0b", "STATUS_RES with too few arguments"),
        (b"\0RES\0\0\0\x11\x7f\0\0\0", "2130706444 bytes; the limit is 1000"),
    ],
)
def test_what_is_wrong_with_it_is_said(data: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        PacketReader(1000).feed(data)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((PacketType.SUBMIT_JOB, b"f", b"u"), "SUBMIT_JOB takes 3 arguments, not 2"),
        ((PacketType.SUBMIT_JOB, b"f\0", b"u", b""), "argument 1 of SUBMIT_JOB has a NUL"),
        ((0,), "no packet type 0"),
        ((43,), "no packet type 43"),
        ((PacketType.NOOP, b""), "NOOP takes 0 arguments, not 1"),
    ],
)
def test_what_cannot_be_said_is_refused(args: tuple[object, ...], message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        pack_request(*args)  # type: ignore[arg-type]
