# SPDX-License-Identifier: MIT
"""Whatever bytes come: the same answers whole as in pieces, nothing breaks, and other connections are served."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from speak import request, response

EXAMPLES = int(os.environ.get("FASTGEAR_EXAMPLES", "300"))

WORDS = st.sampled_from([b"", b"f", b"g", b"u", b"-", b"H:test:1", b"H:test:2", b"0", b"1", b"1700000005", b"exceptions",
                         b"fastgear/wait", b"a\0b", b"n" * 513, b"x" * 20_000])  # fmt: skip
LINES = st.sampled_from([b"status\n", b"workers\r\n", b"show jobs\n", b"maxqueue f 1\n", b"cancel job H:test:1\n", b"\n",
                         b"prioritystatus\n", b"create function f\n", b"drop function f\n", b"a b c d e f g h i\n"])  # fmt: skip
PACKETS = st.builds(lambda kind, words: request(kind, *words), st.integers(0, 45), st.lists(WORDS, max_size=8))
BROKEN = st.builds(lambda packet, at, byte: packet[:at] + bytes([byte]) + packet[at + 1 :], PACKETS, st.integers(0, 14),
                   st.integers(0, 255))  # fmt: skip
STREAM = st.lists(st.one_of(PACKETS, PACKETS, LINES, BROKEN, st.binary(max_size=30)), max_size=12).map(b"".join)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    cut, at = [], 0
    while at < len(data):
        size = sizes[len(cut) % len(sizes)]
        cut.append(data[at : at + size])
        at += size
    return cut


@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    streams=st.tuples(STREAM, STREAM),
    sizes=st.lists(st.sampled_from([1, 2, 11, 13, 500, 16_384]), min_size=1, max_size=5),
)
def test_any_bytes_get_the_same_answers_whole_and_in_pieces(
    drivers: Callable[[str], ModuleType], streams: tuple[bytes, bytes], sizes: list[int]
) -> None:
    said: list[Any] = []
    for cut in (lambda data: [data], lambda data: pieces(data, sizes)):
        core = drivers("core").Core(max_packet_size=1 << 20, prefix=b"H:test:")
        ids = [core.connect(), core.connect()]
        for id, stream in zip(ids, streams, strict=True):
            for piece in cut(stream):
                core.receive(id, piece)
        said.append([(core.sent(id), core.is_closing(id)) for id in ids])
        core.check()
        core.advance(61.0)  # which is too long for half a packet
        said[-1] += [(core.sent(id), core.is_closing(id)) for id in ids]
        healthy = core.connect()
        core.receive(healthy, request("ECHO_REQ", b"well"))
        assert core.sent(healthy) == response("ECHO_RES", b"well")
        for id in (*ids, healthy):
            core.disconnect(id)
        core.check()
        core.close()
    assert said[0] == said[1]
