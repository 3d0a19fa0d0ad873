# SPDX-License-Identifier: MIT
"""Transcripts: who says what to a server, and what comes back. tests/wire/transcripts/*.txt are played by Player.

client> SUBMIT_JOB reverse\\0\\0test      a request; arguments are parted by \\0, \\n and \\xNN are as in Python
client< JOB_CREATED {handle}           what comes next; {handle} takes any text the first time, the same one later
admin>  text status\\r\\n                text, and likewise behind <
client> bytes 00 52 45 51              hexadecimal, and likewise behind <
client< nothing                        nothing comes
client< closed                         the server has closed the connection
worker  leaves                         the connection is closed from this side
!core                                  not over sockets: handles are spelled out
!gearmand REASON                       gearmand answers otherwise, and why
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from speak import request, response

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
CUTS = {
    "whole": lambda data: [data],
    "byte by byte": lambda data: [data[at : at + 1] for at in range(len(data))],
    "at random": lambda data: _cut_at_random(data),
}


def _cut_at_random(data: bytes) -> list[bytes]:
    chance = random.Random(data)
    places = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(len(data) // 8 + 1))})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@dataclass
class Step:
    line: int
    who: str
    sign: str  # ">", "<" or "" for leaving
    kind: str  # a packet's name, "text", "bytes", "nothing", "closed" or "leaves"
    parts: list[bytes] = field(default_factory=list)


@dataclass
class Transcript:
    steps: list[Step]
    only_core: bool = False
    gearmand: str = ""


def _unescape(text: str) -> bytes:
    return text.encode().decode("unicode_escape").encode("latin-1")


def parse(path: Path) -> Transcript:
    transcript = Transcript([])
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("!"):
            word, _, rest = line[1:].partition(" ")
            transcript.only_core |= word == "core"
            transcript.gearmand = rest if word == "gearmand" else transcript.gearmand
            continue
        found = re.fullmatch(r"(\w+)([<>]?)\s+(\w+) ?(.*)", line)
        assert found, f"{path.name}:{number}: {line!r}"
        who, sign, kind, rest = found.groups()
        parts = [bytes.fromhex(rest)] if kind == "bytes" else [_unescape(part) for part in rest.split("\\0")]
        transcript.steps.append(Step(number, who, sign, kind, parts if rest else []))
    return transcript


class Wire(Protocol):
    """Connections by name, made when they are first used."""

    def send(self, who: str, pieces: list[bytes]) -> None: ...
    def expect(self, who: str, length: int) -> bytes:
        """So many bytes; fewer only when no more come."""

    def rest(self, who: str) -> bytes:
        """What has come beside."""

    def is_closed(self, who: str) -> bool: ...
    def leave(self, who: str) -> None: ...


class Player:
    def __init__(self, transcript: Transcript, wire: Wire, cut: Callable[[bytes], list[bytes]]) -> None:
        self.transcript = transcript
        self.wire = wire
        self.cut = cut
        self.values: dict[bytes, bytes] = {}

    def play(self) -> None:
        steps = list(self.transcript.steps)
        while steps:
            step = steps.pop(0)
            if step.sign == ">":
                data = self.encode(step)
                while steps and (steps[0].who, steps[0].sign) == (step.who, ">"):
                    data += self.encode(steps.pop(0))
                self.wire.send(step.who, self.cut(data))
            elif step.kind == "leaves":
                self.wire.leave(step.who)
            else:
                self.check(step)

    def encode(self, step: Step) -> bytes:
        parts = [self.fill(part) for part in step.parts]
        return b"".join(parts) if step.kind in ("text", "bytes") else request(step.kind, *parts)

    def fill(self, part: bytes) -> bytes:
        return re.sub(rb"\{(\w+)\}", lambda found: self.values[found[1]], part)

    def check(self, step: Step) -> None:
        place = f"line {step.line}, {step.who} < {step.kind}"
        if step.kind == "closed":
            assert self.wire.is_closed(step.who), place
        elif step.kind == "nothing":
            assert self.wire.rest(step.who) == b"", place
        elif step.kind in ("text", "bytes"):
            expected = self.fill(b"".join(step.parts))
            assert self.wire.expect(step.who, len(expected)) == expected, place
        else:
            self.check_packet(step, place)

    def check_packet(self, step: Step, place: str) -> None:
        head = self.wire.expect(step.who, 12)
        assert len(head) == 12, f"{place}: nothing came"
        body = self.wire.expect(step.who, int.from_bytes(head[8:12], "big"))
        pattern = b"\0".join(re.escape(part).replace(rb"\{", b"{").replace(rb"\}", b"}") for part in step.parts)
        pattern = re.sub(rb"\{(\w+)\}", self.group, pattern)
        assert head[:8] == response(step.kind)[:8], f"{place}: {head + body!r}"
        found = re.fullmatch(pattern, body, re.DOTALL)
        assert found, f"{place}: {body!r}"
        self.values |= {name.encode(): value for name, value in found.groupdict().items()}

    def group(self, found: re.Match[bytes]) -> bytes:
        name = found[1]
        return re.escape(self.values[name]) if name in self.values else b"(?P<%s>[^\\0]+)" % name
