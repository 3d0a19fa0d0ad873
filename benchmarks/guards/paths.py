# SPDX-License-Identifier: MIT
"""The hot paths: what each loop is made of, how often it is gone through in a round, and what it is measured beside."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from guards.build import loops
from guards.scripts import Bytecode, Objects

__all__ = ["PATHS", "REFERENCES", "Path", "Reference", "request"]

MILLION = 1_000_000
_NUMBERS = {
    "CAN_DO": 1, "PRE_SLEEP": 4, "SUBMIT_JOB": 7, "GRAB_JOB": 9, "WORK_STATUS": 12, "WORK_COMPLETE": 13, "GET_STATUS": 15,
    "ECHO_REQ": 16, "SUBMIT_JOB_BG": 18, "SUBMIT_JOB_HIGH": 21, "SET_CLIENT_ID": 22, "WORK_DATA": 28, "GRAB_JOB_UNIQ": 30,
    "SUBMIT_JOB_HIGH_BG": 32, "SUBMIT_JOB_LOW_BG": 34,
}  # fmt: skip
_HANDLE = b"H:guard:1000000000"
_UNIQUE = b"0123456789abcdef"


def request(name: str, *args: bytes) -> bytes:
    body = b"\0".join(args)
    return struct.pack(">4sII", b"\0REQ", _NUMBERS[name], len(body)) + body


@dataclass(frozen=True)
class Reference:
    make: Callable[[], Any]
    count: int  # of a round, about 1 ms


@dataclass(frozen=True)
class Path:
    name: str
    make: Callable[[], Any]
    count: int  # of a round, about 1 ms
    few: int  # for callgrind
    beside: str
    least: float = 0.08  # see Guard


def reference(name: str, *args: int) -> Callable[[], Any]:
    return cache(lambda: getattr(loops("reference"), name)(*args))


REFERENCES = {
    "text": Reference(reference("Text"), 36_000),
    "numbers": Reference(reference("Numbers"), 500_000),
    "chains_1k": Reference(reference("Chains", 1000), 50_000),
    "chains_1m": Reference(reference("Chains", MILLION), 8_000),
    "sift_1m": Reference(reference("Sift", MILLION), 2_500),
    "bytecode": Reference(Bytecode, 4_500),
    "objects": Reference(Objects, 2_200),
}


def parser() -> Any:
    """What a server hears on a busy day; a third of it is short, and a few packets are longer."""
    job, handle = (b"reverse", _UNIQUE, b"x" * 16), _HANDLE
    some = [
        request("SUBMIT_JOB", *job), request("GRAB_JOB"), request("WORK_COMPLETE", handle, b"x" * 16),
        request("SUBMIT_JOB_BG", b"images/resize", b"", b"x" * 200), request("GRAB_JOB_UNIQ"), request("PRE_SLEEP"),
        request("WORK_STATUS", handle, b"3", b"100"), request("GET_STATUS", handle), request("CAN_DO", b"images/resize"),
        request("SUBMIT_JOB_HIGH_BG", *job), request("WORK_DATA", handle, b"x" * 100), request("GRAB_JOB"),
        request("WORK_COMPLETE", handle, b"x" * 1000), request("ECHO_REQ", b"x" * 30), request("GRAB_JOB_UNIQ"),
        request("SUBMIT_JOB", b"reverse", b"", b"x" * 5), request("SET_CLIENT_ID", b"guard-1"),
    ]  # fmt: skip
    return loops("protocol").Parser(b"".join(some * 8))


def foreground() -> Any:
    submit = request("SUBMIT_JOB", b"reverse", b"", b"x" * 16)
    return loops("core").Foreground(request("CAN_DO", b"reverse"), submit * 32, request("GRAB_JOB") * 32, 32)


def wakeups() -> Any:
    submit = request("SUBMIT_JOB", b"reverse", b"", b"x" * 16)
    return loops("core").Wakeups(request("CAN_DO", b"reverse"), submit, request("GRAB_JOB"), request("PRE_SLEEP"))


def background(kind: str = "Background", backlog: int = 960, durable: bool = False) -> Any:
    submit = request("SUBMIT_JOB_BG", b"reverse", _UNIQUE, b"x" * 16)
    return getattr(loops("core"), kind)(
        request("CAN_DO", b"reverse"), submit, request("GRAB_JOB_UNIQ"), submit.index(_UNIQUE), 32, 24, backlog,
        durable=durable,
    )  # fmt: skip


def questions() -> Any:
    made = background("Questions")
    handles = [b"H:guard:%d" % (1_000_000_000 + 29 * number) for number in range(32)]
    made.ask(b"".join(request("GET_STATUS", handle) for handle in handles), 32)
    return made


def queues() -> Any:
    names = [b"function-%d" % number for number in range(200)]
    kinds = ("SUBMIT_JOB_HIGH_BG", "SUBMIT_JOB_BG", "SUBMIT_JOB_LOW_BG")
    submits = [request(kinds[number % 3], names[number % 200], b"", b"x") for number in range(1000)]
    return loops("core").Queues(b"".join(request("CAN_DO", name) for name in names), b"".join(submits))


def base(name: str, *args: int) -> Callable[[], Any]:
    return lambda: getattr(loops("base"), name)(*args)


PATHS = [
    Path("parser", parser, 80_000, 20_000, "text"),
    Path("encoder", lambda: loops("protocol").Encoder(), 50_000, 20_000, "text"),
    Path("buffer", base("Buffer"), 7_000, 2_000, "text"),
    Path("hash", base("Hash"), 45_000, 20_000, "numbers"),
    Path("table_1k", base("Table", 1000), 20_000, 20_000, "chains_1k"),
    Path("table_1m", base("Table", MILLION), 4_000, 2_000, "chains_1m", 0.15),
    Path("index_1k", base("Index", 1000), 20_000, 20_000, "chains_1k"),
    Path("index_1m", base("Index", MILLION), 4_000, 2_000, "chains_1m", 0.15),
    Path("table_growth", base("Growth", 4096), 6 * 4096, 2 * 4096, "chains_1k"),
    Path("heap_1k", base("Heap", 1000), 12_000, 10_000, "chains_1k"),
    Path("heap_1m", base("Heap", MILLION), 600, 2_000, "sift_1m", 0.15),
    Path("queues", queues, 20_000, 10_000, "chains_1k"),
    Path("dispatch_foreground", foreground, 7 * 320, 3_200, "bytecode"),
    Path("dispatch_wakeups", wakeups, 1_300, 1_000, "bytecode"),
    Path("dispatch_background", background, 8 * 320, 3_200, "bytecode"),
    Path("dispatch_status", questions, 35 * 320, 3_200, "text", 0.12),
    Path("dispatch_durable", partial(background, durable=True), 6 * 320, 3_200, "objects"),
]
