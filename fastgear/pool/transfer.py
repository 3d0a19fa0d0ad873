# SPDX-License-Identifier: MIT
"""Values on their way between a pool and its workers: pickles of protocol 5, whose large buffers go through shared memory.

What is sent is bytes, a pickle and nothing else, where that is small. Otherwise it is a tuple that ends in the pickle and a
list of its buffers, or is nothing but a list of the one that somebody's bytes are. Whatever is large in it is a place in the
arena, or the bytes themselves where the arena has no room.
"""

from __future__ import annotations

import marshal
import pickle
from typing import Any, TypeAlias

from fastgear.errors import TransferError
from fastgear.pool.arena import Arena, Buffers, Lease
from fastgear.pool.outcome import PROTOCOL, pack_failure

__all__ = ["BUFFER", "MOST_IN_BAND", "PICKLE", "Packed", "Sent", "Transfer", "by_value", "dumps", "sent_of"]

BUFFER = 1 << 16  # bytes of a buffer from which on it goes through shared memory; below, copying once more is as cheap
PICKLE = 1 << 18  # and of a whole pickle
MOST_IN_BAND = (1 << 31) - (1 << 16)  # of one value; what carries it counts in 31 bits

Place: TypeAlias = tuple[int, int, int]
Sent: TypeAlias = bytes | tuple[Any, ...]


class Packed:
    """A large value as it is sent, and what keeps it where it is. `nbytes` are those in shared memory."""

    __slots__ = ("leases", "nbytes", "sent")

    def __init__(self, sent: Sent, leases: list[Lease], nbytes: int) -> None:
        self.sent = sent
        self.leases = leases
        self.nbytes = nbytes


def sent_of(packed: bytes | Packed) -> Sent:
    return packed if isinstance(packed, bytes) else packed.sent


class Transfer:
    """One process's way to the others, once it has joined the arena."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.received = 0  # bytes of large buffers

    def pack_pickle(self, data: bytes, buffers: list[pickle.PickleBuffer]) -> bytes | Packed:
        """What `dumps` made, for the workers of this pool. Raises TransferError for what is too large."""
        if not buffers and len(data) < PICKLE:
            return data
        return self.pack_large(data, buffers, PICKLE)

    def pack_large(self, data: bytes, buffers: list[pickle.PickleBuffer], least: int) -> Packed:
        """The same; the pickle goes through shared memory itself from `least` bytes on."""
        sent, places = self._place(data, buffers, least)
        return Packed(sent, [self.arena.lease(place) for place in places], sum(place[1] for place in places))

    def pack_outcome(self, letter: bytes, value: Any) -> tuple[bytes, bytes]:
        """For the pool: letter and bytes of a record. A value that cannot be sent becomes a failure that says so."""
        if letter == b"X":
            return letter, pack_failure(value)
        try:
            if letter == b"B":
                sent = self._place_bytes(value)
            else:
                data, buffers = dumps(value)
                if not buffers and len(data) < PICKLE:
                    return letter, data
                sent = self._place(data, buffers, PICKLE)[0]
        except Exception as error:
            return b"X", pack_failure(_cannot_be_sent(value, error))
        except BaseException as error:
            return b"X", pack_failure(error)
        return (letter, sent) if type(sent) is bytes else (b"O", marshal.dumps(sent))

    def has(self, packed: Packed, buffers: list[pickle.PickleBuffer]) -> bool:
        """Whether these are its buffers."""
        assert isinstance(packed.sent, tuple)
        there = packed.sent[-1]
        return len(there) == len(buffers) and all(
            type(place) is tuple and self.arena.has(place, buffer.raw())
            for place, buffer in zip(there, buffers, strict=True)
        )

    def unpack(self, sent: Sent, private: bool = False) -> Any:
        """What was packed. With `private`, who reads it again, here or elsewhere, does not see what was written to its buffers."""
        if isinstance(sent, bytes):
            return pickle.loads(sent)
        views = [self._view(place, private) for place in sent[-1]]
        if len(sent) == 1:
            return bytes(views[0])
        return pickle.loads(self._view(sent[-2], False), buffers=views)

    def unpack_outcome(self, data: bytes) -> Any:
        """A record of the letter O."""
        return self.unpack(marshal.loads(data))

    def _view(self, place: Place | bytes, private: bool) -> Any:
        if isinstance(place, tuple):
            self.received += place[1]
            return self.arena.view(place, private)
        return memoryview(bytearray(place))

    def _place_bytes(self, value: bytes) -> Sent:
        place = self.arena.put(value)
        if place is not None:
            return ([place],)
        _check(len(value))
        return value

    def _place(self, data: bytes, buffers: list[pickle.PickleBuffer], least: int) -> tuple[Sent, list[Place]]:
        """As it is sent, and where it is."""
        places: list[Place] = []
        try:
            there = [self._put(buffer.raw(), places) for buffer in buffers]
            stream = self._put(data, places) if len(data) >= least else data
            _check(sum(len(part) for part in (stream, *there) if type(part) is bytes))
        except BaseException:
            for place in places:
                self.arena.drop(place)
            raise
        if not there and type(stream) is bytes:
            return stream, places
        return (stream, there), places

    def _put(self, data: Any, places: list[Place]) -> Place | bytes:
        place = self.arena.put(data)
        if place is None:
            _check(len(data))
            return bytes(data)
        places.append(place)
        return place


def dumps(value: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """The pickle and its large buffers. With pickle, and where that cannot, with cloudpickle: it takes lambdas, closures and
    what `__main__` defines.
    """
    buffers = Buffers(BUFFER)
    try:
        return pickle.dumps(value, PROTOCOL, buffer_callback=buffers), buffers.large
    except Exception:
        return by_value(value)


def by_value(value: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """With cloudpickle."""
    import cloudpickle  # type: ignore[import-untyped]

    buffers = Buffers(BUFFER)
    return cloudpickle.dumps(value, PROTOCOL, buffer_callback=buffers), buffers.large


def _check(size: int) -> None:
    if size > MOST_IN_BAND:
        raise TransferError(
            f"{size / 2**30:.1f} GiB are too much to be sent at once beside shared memory, and that has no room for them: "
            f"at most {MOST_IN_BAND / 2**30:.1f} GiB are possible"
        )


def _cannot_be_sent(value: Any, error: Exception) -> TransferError:
    kind = type(value).__name__
    if isinstance(error, TransferError):
        made = TransferError(f"the task's result, of type {kind}, cannot be sent: {error}")
    else:
        made = TransferError(f"the task's result, of type {kind}, cannot be pickled: {error}")
    made.__cause__ = error
    return made
