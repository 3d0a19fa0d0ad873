from collections.abc import Callable
from typing import Any

class Failure:
    """In the place of a value: the task raised. `pickled` is what `Outcome` made of it."""

    def __init__(self, pickled: bytes) -> None: ...
    @property
    def pickled(self) -> bytes: ...

def pack_values(values: list[Any]) -> bytes | None:
    """Records of them all, or None where one of them is no number and no short text, but better pickled."""

def read_records(data: bytes, start: int, end: int, out: list[Any], buffers: Callable[[bytes], Any]) -> int:
    """Append the values of the records between `start` and `end` to `out`, and return how many of them are failures.

    What a task raised becomes a Failure; what cannot be unpickled here becomes one as well. `buffers` is called with the
    places of a record's large buffers, and returns them.
    """
