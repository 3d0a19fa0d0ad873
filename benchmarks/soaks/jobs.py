# SPDX-License-Identifier: MIT
"""The jobs of the soak: what each is called, and what follows from that.

A job's token, KIND.NAME, says all: its function is the kind, its workload is made of it, and from the workload follow what a worker
does and what a client has to get. So a result of another job is seen, by anybody.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Iterator

__all__ = ["EXPECTED", "KINDS", "LATE_S", "TIMEOUT_S", "Step", "function_of", "result", "steps", "token_of", "workload"]

# by kind, with the share of the submissions
KINDS = {
    "quick": 500,
    "telling": 120,  # has data, warnings and a status to send
    "slow": 90,
    "shared": 60,  # submitted by several under one unique
    "failing": 60,
    "raising": 60,
    "fickle": 60,  # for workers that take the ability back now and then
    "timed": 25,  # with a timeout, which some runs pass
    "large": 15,
}
EXPECTED = {"failing": "fail", "raising": "exception"}  # the others have a result

TIMEOUT_S = 1.5
LATE_S = 2.5
LATE = 0.1  # the share of the runs of timed jobs
LARGE = (1 << 20, 4 << 20)
RESULTS = 16  # a large result is that much smaller than its workload

Step = tuple[str, bytes | float]


def function_of(token: str) -> str:
    return token.partition(".")[0]


def workload(token: str) -> bytes:
    name = token.encode()
    if function_of(token) != "large":
        return name + b" " + b"x" * (zlib.crc32(name) % 100)
    low, high = LARGE
    return name + b" " + name * ((low + zlib.crc32(name) % (high - low)) // len(name))


def token_of(data: bytes) -> str:
    return data[:80].partition(b" ")[0].decode("ascii", "replace")


def result(data: bytes) -> bytes:
    digest = hashlib.sha256(data).hexdigest().encode()
    return digest * max(1, len(data) // RESULTS // len(digest))


def steps(token: str) -> Iterator[Step]:
    """What a worker does before the end of the job; seconds to sleep, or bytes to send."""
    kind, name = function_of(token), token.encode()
    if kind in ("telling", "shared"):
        yield "data", name + b" 1"
        yield "status", b"1/2"
        yield "warning", name + b" beware"
        yield "data", name + b" 2"
    if kind == "slow":
        yield "status", b"1/3"
    if kind in ("slow", "shared"):
        yield "sleep", random.uniform(0.02, 0.1 if kind == "slow" else 0.3)
    if kind == "timed" and random.random() < LATE:
        yield "sleep", LATE_S
