# SPDX-License-Identifier: MIT
"""Every transcript against the core: whole, byte by byte, and cut at random. Over sockets they are played in functional/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wire.transcript import CUTS, TRANSCRIPTS, Player, parse


class CoreWire:
    def __init__(self, core: Any) -> None:
        self.core = core
        self.ids: dict[str, int] = {}
        self.came: dict[str, bytes] = {}

    def id(self, who: str) -> int:
        if who not in self.ids:
            self.ids[who] = self.core.connect()
        return self.ids[who]

    def send(self, who: str, pieces: list[bytes]) -> None:
        for piece in pieces:
            self.core.receive(self.id(who), piece)

    def rest(self, who: str) -> bytes:
        self.came[who] = self.came.get(who, b"") + self.core.sent(self.id(who))
        return self.came[who]

    def expect(self, who: str, length: int) -> bytes:
        found, self.came[who] = self.rest(who)[:length], self.came[who][length:]
        return found

    def is_closed(self, who: str) -> bool:
        return bool(self.core.is_closing(self.id(who)))

    def leave(self, who: str) -> None:
        self.core.disconnect(self.ids.pop(who))


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_core_plays_its_part(make_core: Callable[..., Any], path: Path, cut: str) -> None:
    core = make_core(prefix=b"H:lap:")
    wire = CoreWire(core)
    Player(parse(path), wire, CUTS[cut]).play()
    for who in wire.ids:
        assert wire.rest(who) == b"", f"{who} was sent more than the transcript says"
    core.check()


def test_a_transcript_that_is_wrong_does_not_pass(make_core: Callable[..., Any], tmp_path: Path) -> None:
    for line in ("a< ECHO_RES other", "a< NO_JOB", "a< nothing", "a< closed", "a< ECHO_RES more\\0", "a< text x"):
        (tmp_path / "wrong.txt").write_text("a> ECHO_REQ this\n" + line + "\n")
        with pytest.raises(AssertionError, match="line 2"):
            Player(parse(tmp_path / "wrong.txt"), CoreWire(make_core()), CUTS["whole"]).play()
