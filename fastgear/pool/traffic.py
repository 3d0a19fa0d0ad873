# SPDX-License-Identifier: MIT
"""Frames out and records in: which pieces are at the server or with a worker, and what has come of them.

It knows the wire to the private server, and neither threads nor processes: the engine calls it under its lock, hands it what
the server says, and takes what it has to send.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from fastgear.errors import ServerError
from fastgear.pool.area import PoolArea
from fastgear.pool.frame import FUNCTION, LAP_BYTES, TRAILER
from fastgear.pool.outcome import pack_failure
from fastgear.pool.pieces import Piece, Source
from fastgear.pool.stealing import area_of, fetch_finished, take_back
from fastgear.pool.tally import Tallies
from fastgear.pool.transfer import Transfer
from fastgear.pool.values import Failure, read_records
from fastgear.protocol.wire import Packet, PacketReader, PacketType, pack_request

__all__ = ["Traffic"]

_FOREVER = float("inf")
_LOOK_S = 0.02  # a frame is made to take a few milliseconds


class Traffic:
    """As many frames are kept at the server as there are workers, and as many again in line behind them.

    `on_fall` is given the piece of a worker that has died with it in hand, while the worker's area still says how far it came;
    it counts as outstanding until `settle_fallen`.
    """

    def __init__(self, workers: int, transfer: Transfer, on_fall: Callable[[Piece], None]) -> None:
        self.failure: BaseException | None = None  # why nothing works any more
        self.look_at = _FOREVER  # when frames of many tasks are to be looked after; on the monotonic clock
        self.outstanding = 0  # frames
        self.tallies = Tallies()
        self.areas: Sequence[PoolArea] = ()
        self.send: Callable[[bytes], None]  # to the server
        self._workers = workers
        self._limit = 2 * workers
        self._transfer = transfer
        self._on_fall = on_fall
        self._reader = PacketReader()
        self._sources: deque[Source] = deque()  # those that may have something to send
        self._number = 0
        self._hand: list[Piece] = []  # the one that is being sent
        self._submitted: deque[Piece] = deque()  # not acknowledged yet
        self._by_handle: dict[bytes, Piece] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, and nothing waits to be sent."""
        return not self.outstanding and not self._sources

    @property
    def under_way(self) -> Iterator[Piece]:
        yield from self._by_handle.values()
        yield from self._submitted

    def has_number(self, number: int) -> bool:
        """Whether a frame of this number is under way."""
        return any(piece.number == number for piece in self.under_way)

    def fail(self, error: BaseException, fallen: Iterable[Piece] = ()) -> None:
        """Nothing will be run any more: all that is under way ends with this."""
        self.failure = self.failure or error
        pieces = [*self.under_way, *fallen]
        self._submitted.clear()
        self._by_handle.clear()
        self.outstanding = 0
        for source in self._sources:
            source.offered = False
            while source.next_piece(self._hand):
                pass
        self._sources.clear()
        pieces += self._hand
        self._hand.clear()
        for piece in pieces:
            self.deliver_failure(piece, error)

    # -- out

    def offer(self, source: Source) -> None:
        """There may be something new to send."""
        self._line_up(source)
        self.pump()

    def _line_up(self, source: Source) -> None:
        if not source.offered:
            source.offered = True
            self._sources.append(source)

    def pump(self) -> None:
        """Send what there is room for."""
        while self.outstanding < self._limit and self._sources:
            if self.failure is not None:
                self.fail(self.failure)
                return
            source = self._sources[0]
            if source.next_piece(self._hand):
                self._sources.rotate(-1)
                self._send(self._hand[-1])  # what it has pickled may come here as well
                del self._hand[-1:]
            else:
                source.offered = False
                self._sources.popleft()

    def _send(self, piece: Piece) -> None:
        self._number = self._number % 0x7FFFFFFF + 1
        piece.number = self._number
        try:
            frame = piece.source.pack(piece)
        except Exception as error:
            self._find_culprit(piece, error)
            return
        self._submitted.append(piece)
        self.outstanding += 1
        if len(piece.tasks) > 1 and self.look_at == _FOREVER:
            self.look_at = time.monotonic() + _LOOK_S
        self.send(pack_request(PacketType.SUBMIT_JOB, FUNCTION, b"", frame))

    def _find_culprit(self, piece: Piece, error: Exception) -> None:
        """Something in the piece cannot be pickled: halve it until that stands alone."""
        if len(piece.tasks) == 1:
            self.deliver_failure(piece, error)
            return
        half = piece.split(len(piece.tasks) // 2)
        self.send_again(piece)
        self.send_again(half)

    def send_again(self, piece: Piece) -> None:
        """With the next `pump`."""
        piece.source.push_back(piece)
        self._line_up(piece.source)

    # -- in

    def patience(self, timeout: float | None) -> float | None:
        """How long to wait for news, at most `timeout`, before frames of many tasks are looked after."""
        if self.look_at == _FOREVER:
            return timeout
        soon = max(0.0, self.look_at - time.monotonic())
        return soon if timeout is None else min(soon, timeout)

    def take(self, data: bytes) -> None:
        """What the server has sent."""
        for packet in self._reader.feed(data) if self.failure is None else ():
            self._take_packet(packet)
        self.pump()

    def _take_packet(self, packet: Packet) -> None:
        """No piece is ever nowhere: where a KeyboardInterrupt comes in between, `fail` is to find it."""
        kind = packet.type
        if kind is PacketType.JOB_CREATED:
            self._by_handle[packet.args[0]] = self._submitted[0]
            self._submitted.popleft()
        elif kind is PacketType.WORK_COMPLETE:
            self._complete(self._by_handle[packet.args[0]], packet.args[1])
            del self._by_handle[packet.args[0]]
        elif kind is PacketType.WORK_DATA:
            piece = self._by_handle[packet.args[0]]
            self.deliver_records(piece, packet.args[1], piece.seen_bytes)
            piece.flushed, piece.seen_bytes = len(piece.values), 0
        elif kind is PacketType.WORK_FAIL:
            self._on_fall(self._by_handle[packet.args[0]])
            del self._by_handle[packet.args[0]]
        elif kind is PacketType.ERROR:
            error = ServerError(*(argument.decode("utf-8", "replace") for argument in packet.args))
            self.outstanding -= 1
            self.deliver_failure(self._submitted[0], error)
            self._submitted.popleft()

    def _complete(self, piece: Piece, result: bytes) -> None:
        self.outstanding -= 1
        piece.leases = None
        end = len(result) - TRAILER.size
        elapsed, laps = TRAILER.unpack_from(result, end) if end >= 0 else (0, 1)
        end -= laps * LAP_BYTES
        if end < 0:
            raise ValueError("the result of a worker is cut off")
        received = self._transfer.received
        self.deliver_records(piece, result, piece.seen_bytes, end)
        piece.source.sizer.measured(len(piece.values), elapsed)
        if self._transfer.received > received:
            piece.source.sizer.weighed(len(piece.values), self._transfer.received - received)
        if laps:
            self.tallies.take(piece.source, piece.tasks, result, end, laps)
        elif piece.tasks:  # else all were taken back before the first was begun
            self.tallies.take_one(piece.source, piece.tasks[0], elapsed)
        if not piece.is_whole:  # the frame could not be begun, and its only record says why
            self._deliver(piece, [piece.values[-1]] * (len(piece.tasks) - len(piece.values)), True)

    def look_after_frames(self) -> None:
        """Those of many tasks that are out for long: fetch what they have finished, and let idle workers help them."""
        named = [piece for piece in self._by_handle.values() if len(piece.tasks) > 1]
        unnamed = any(len(piece.tasks) > 1 for piece in self._submitted)  # their handles are under way
        self.look_at = time.monotonic() + _LOOK_S if named or unnamed else _FOREVER
        idle = self._workers - self.outstanding
        for piece in named:
            area = area_of(self.areas, piece)
            if area is None:
                continue
            fetch_finished(area, piece, self.deliver_records)
            if idle > 0 and not self._sources:
                for part in take_back(area, piece, idle + 1):
                    self.send_again(part)
                    idle -= 1
            piece.is_late = True
        self.pump()

    def settle_fallen(self, piece: Piece) -> None:
        """It is not out any more."""
        piece.leases = None
        if self.failure is None:
            self.outstanding -= 1

    # -- to the sources

    def deliver_records(self, piece: Piece, records: bytes, start: int, end: int | None = None) -> None:
        """Those between `start` and `end`."""
        values: list[Any] = []
        end = len(records) if end is None else end
        failures = read_records(records, start, end, values, self._transfer.unpack_outcome)
        self._deliver(piece, values, failures > 0)

    def deliver_failure(self, piece: Piece, error: BaseException, most: int = 1 << 62) -> None:
        """For the tasks that have no outcome yet, or the first so many of them; there may be none."""
        count = min(most, len(piece.tasks) - len(piece.values))
        self._deliver(piece, [Failure(pack_failure(error))] * count, count > 0)

    def _deliver(self, piece: Piece, values: list[Any], failed: bool) -> None:
        start = len(piece.values)
        piece.values += values
        piece.has_failure = piece.has_failure or failed
        piece.source.advance(piece, start)
