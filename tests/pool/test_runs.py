# SPDX-License-Identifier: MIT
"""A map's consumer and the thread that receives, at every point where one can come between the other's steps."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

import pytest

from fastgear.pool.pieces import Piece
from fastgear.pool.runs import Run

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")

_OURS = {"runs.py", "pieces.py"}
_MOMENT_S = 0.005  # for a thread that does not wait for the lock


class Engine:
    """What a run needs of one. Who waits does the receiving."""

    workers = 1

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.packer = SimpleNamespace(pack=lambda function: b"")
        self.receive: Callable[[], None] = lambda: None

    def wait(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        for _ in range(10):
            if done():
                return True
            self.receive()
        raise AssertionError("it waits for what never comes")


class Interruption:
    """Lets `other` run on a thread at the n-th step of what is done in the `with` block."""

    def __init__(self, at: int, other: Callable[[], object]) -> None:
        self.steps = 0
        self._at = at
        self._thread = threading.Thread(target=other)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not _is_ours(frame.f_code):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.steps += 1
            if self.steps == self._at:
                self._thread.start()
                self._thread.join(_MOMENT_S)
        return self._trace

    def __enter__(self) -> Interruption:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self._before)
        if self.came:
            self._thread.join()

    @property
    def came(self) -> bool:
        return self.steps >= self._at


def _is_ours(code: CodeType) -> bool:
    return Path(code.co_filename).name in _OURS


def made(items: list[int], chunksize: int) -> tuple[Run, Callable[[], None]]:
    """A run, and what the receiving thread does: it sends the next piece, and brings its values."""
    engine: Any = Engine()
    run = Run(engine, abs, items, chunksize=chunksize)

    def receive() -> None:
        hand: list[Piece] = []
        with engine.lock:
            if run.next_piece(hand):
                deliver(run, hand[0])

    engine.receive = receive
    return run, receive


def deliver(run: Run, piece: Piece, most: int | None = None) -> None:
    start = len(piece.values)
    piece.values += piece.tasks[start:most]
    run.advance(piece, start)


def all_of(run: Run) -> list[int]:
    return list(run)


def test_a_piece_may_be_sent_at_any_step_of_the_consumer() -> None:
    at, came = 1, True
    while came:
        run, receive = made([1, 2], 1)
        receive()
        with Interruption(at, receive) as interruption:
            values = all_of(run)
        assert values == [1, 2], f"when the second one came at step {at}"
        at, came = at + 1, interruption.came
    assert at > 100


@pytest.mark.parametrize("items", [[1, 2, 3], [1, 2, 3, 4, 5, 6]], ids=["the last one", "one with another behind"])
def test_a_consumer_may_look_at_any_step_of_a_split(items: list[int]) -> None:
    at, came = 1, True
    while came:
        run, receive = made(items, 3)
        hand: list[Piece] = []
        engine: Any = run._engine
        assert run.next_piece(hand)
        if len(items) > 3:
            receive()
        deliver(run, hand[0], 1)
        values = [next(run)]
        with engine.lock, Interruption(at, run._has_value) as interruption:
            run.push_back(hand[0].split(1))
        assert values + all_of(run) == items, f"when the consumer looked at step {at}"
        at, came = at + 1, interruption.came
    assert at > 10
