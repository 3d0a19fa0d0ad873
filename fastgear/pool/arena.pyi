from pickle import PickleBuffer
from typing import Any, final

@final
class Arena:
    """`parts` of it; at most `limit` bytes of memory in all, 0 for none.

    Given to other processes as Memory is. `join` says which part this process writes; then `put` and `view` work.
    """

    def __new__(cls, parts: int, limit: int, fd: int = -1) -> Arena: ...
    @property
    def fd(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def parts(self) -> int: ...
    @property
    def part(self) -> int: ...
    @property
    def used(self) -> int:
        """Bytes of memory that are behind it now."""

    @property
    def reading(self) -> bool:
        """Whether there are Segments in this process."""

    def join(self, part: int) -> None:
        """Write to this part from now on, and read as its owner. What a dead owner left there stays as long as it is busy."""

    def put(self, data: Any) -> tuple[int, int, int] | None:
        """Copy a contiguous buffer to where others can read it, and return where; None when there is no room."""

    def has(self, place: tuple[int, int, int], data: Any) -> bool:
        """Whether what this process has put there, and keeps, is the same as `data`."""

    def drop(self, place: tuple[int, int, int]) -> None:
        """Take back what was put and did not leave."""

    def lease(self, place: tuple[int, int, int]) -> Lease:
        """Of what this process has put: it stays as long as this lives."""

    def view(self, place: tuple[int, int, int], private: bool = False) -> memoryview:
        """What was put there, and stays as long as this is used. With `private` what is written to it stays in this process.

        Raises TransferError when it is not there any more.
        """

    def tidy(self) -> None:
        """The pool, now and then: give back memory that was free all the time since the last call, if it is more than LOW."""

    def bury(self, part: int) -> list[tuple[int, int]]:
        """Its owner is dead: it reads nothing any more. Returns what it has put, and nobody here has got yet."""

    def reclaim(self, left: list[tuple[int, int]]) -> None:
        """What `bury` returned, when nothing that is under way can speak of it any more."""

    def close(self) -> None:
        """The pool, when its workers are gone. Segments stay as they are; the memory of others is given back."""

@final
class Buffers:
    """For pickle to call with each buffer that a value hands out: `large` are those worth a place here, the others stay in band."""

    def __new__(cls, least: int) -> Buffers: ...
    @property
    def large(self) -> list[PickleBuffer]: ...
    def __call__(self, buffer: PickleBuffer) -> bool: ...

@final
class Lease:
    """Keeps what this process has put."""

    def __new__(cls, arena: Arena, index: int) -> Lease: ...

@final
class Segment:
    """A writable buffer in place: what was put there, for as long as somebody has this or a view of it."""

    def __new__(cls, arena: Arena, index: int, size: int, word: int, private: bool) -> Segment: ...
    def __len__(self) -> int: ...
