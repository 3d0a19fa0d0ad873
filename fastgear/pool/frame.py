# SPDX-License-Identifier: MIT
"""What goes over the wire between a pool and its workers: frames of tasks there, and their records back.

A frame is the workload of one job: its number and kind, then for MAP and STARMAP the function and a list of items, each as
`Transfer` sends it; for PLAIN, a MAP of plain items, records in the place of that list; for CALLS groups, each of them a
function, how many calls it is, their arguments as `arguments.pxd` says, and a list of those that are elsewhere, as `Transfer`
sends them. What comes back as result, and as data before it, are records as `values.pxd` describes them; the result ends in the
laps of its tasks (see `stopwatch.pxd`), the nanoseconds that the frame took, and the number of laps.
"""

from __future__ import annotations

import marshal
import struct
from typing import Any, TypeAlias

from fastgear.pool.transfer import Sent

__all__ = [
    "CALLS",
    "FUNCTION",
    "LAP_BYTES",
    "MAP",
    "PLAIN",
    "STARMAP",
    "TRAILER",
    "Group",
    "most_calls",
    "pack_calls",
    "pack_items",
    "unpack",
]

Group: TypeAlias = tuple[Sent, int, bytes, list[Sent]]

FUNCTION = b"fastgear"  # the one that all workers of a pool can do
MAP, STARMAP, CALLS, PLAIN = range(4)
TRAILER = struct.Struct("<QI")
LAP_BYTES = 8

_HEADER = struct.Struct("<IB")


def pack_items(number: int, kind: int, function: Sent, items: Sent) -> bytes:
    return _HEADER.pack(number, kind) + marshal.dumps((function, items))


def pack_calls(number: int, groups: list[Group]) -> bytes:
    return _HEADER.pack(number, CALLS) + marshal.dumps(groups)


def most_calls(max_tasks: int) -> int:
    """In a frame, so that a worker can leave before it has run more than `max_tasks`; 0: any number."""
    return max(1, max_tasks // 8) if max_tasks else 0


def unpack(data: bytes) -> tuple[int, int, Any]:
    """Number, kind, and what one of the above was given."""
    number, kind = _HEADER.unpack_from(data)
    return number, kind, marshal.loads(memoryview(data)[_HEADER.size :])
