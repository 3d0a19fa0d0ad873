# SPDX-License-Identifier: MIT
"""Hostile requests, as data: what is sent, and what fastgear says to it. Knows no server and no sockets.

`gets` is what comes back, in the words of judge.py: packets by name, errors with their code, `closes` at the end where the
connection is closed, and `in step` where the protocol has no answer and the next request gets its own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from speak import NUMBERS, packet, request, response


@dataclass(frozen=True)
class Handles:
    """Of jobs that there are when a request comes: the sender's own, and one that somebody else runs."""

    own: bytes = b"H:nobody:1"
    foreign: bytes = b"H:nobody:2"


@dataclass(frozen=True)
class Hostile:
    family: str
    name: str
    data: Callable[[Handles], bytes]
    gets: str
    half: bool = False  # more must come of it, so that nothing can be sent behind it
    grabs: bool = False  # the sender has grabbed a job of its own before


MOST = 2**32 - 1  # bytes that a packet can announce
H = b"{handle}"  # of somebody else's job
VALID: dict[str, tuple[bytes, ...]] = {
    "CAN_DO": (b"fn",),
    "CANT_DO": (b"fn",),
    "RESET_ABILITIES": (),
    "PRE_SLEEP": (),
    "SUBMIT_JOB": (b"fn", b"u", b"data"),
    "GRAB_JOB": (),
    "WORK_STATUS": (H, b"1", b"2"),
    "WORK_COMPLETE": (H, b"data"),
    "WORK_FAIL": (H,),
    "GET_STATUS": (H,),
    "ECHO_REQ": (b"data",),
    "SUBMIT_JOB_BG": (b"fn", b"u", b"data"),
    "SUBMIT_JOB_HIGH": (b"fn", b"u", b"data"),
    "SET_CLIENT_ID": (b"me",),
    "CAN_DO_TIMEOUT": (b"fn", b"1000"),
    "ALL_YOURS": (),
    "WORK_EXCEPTION": (H, b"data"),
    "OPTION_REQ": (b"exceptions",),
    "WORK_DATA": (H, b"data"),
    "WORK_WARNING": (H, b"data"),
    "GRAB_JOB_UNIQ": (),
    "SUBMIT_JOB_HIGH_BG": (b"fn", b"u", b"data"),
    "SUBMIT_JOB_LOW": (b"fn", b"u", b"data"),
    "SUBMIT_JOB_LOW_BG": (b"fn", b"u", b"data"),
    "SUBMIT_JOB_SCHED": (b"fn", b"u", b"1", b"2", b"3", b"4", b"5", b"data"),
    "SUBMIT_JOB_EPOCH": (b"fn", b"u", b"4000000000", b"data"),
    "SUBMIT_REDUCE_JOB": (b"fn", b"u", b"reducer", b"aggregator", b"data"),
    "SUBMIT_REDUCE_JOB_BACKGROUND": (b"fn", b"u", b"reducer", b"aggregator", b"data"),
    "GRAB_JOB_ALL": (),
    "GET_STATUS_UNIQUE": (b"uu",),
}
REPORTS = ("WORK_STATUS", "WORK_COMPLETE", "WORK_FAIL", "WORK_EXCEPTION", "WORK_DATA", "WORK_WARNING")
SUBMITS = tuple(name for name in VALID if name.startswith("SUBMIT"))
FROM_SERVER = tuple(name for name in NUMBERS if name not in VALID)


def has_data(name: str) -> bool:
    return name in SUBMITS or name == "ECHO_REQ" or (name in REPORTS and name not in ("WORK_STATUS", "WORK_FAIL"))


def answer(name: str) -> str:
    """To the request as VALID has it, from one who has announced nothing and holds nothing."""
    if name in SUBMITS:
        return "JOB_CREATED"
    if name in REPORTS:
        return "ERROR JOB_NOT_FOUND"
    if name.startswith("GRAB"):
        return "NO_JOB"
    answers = {"GET_STATUS": "STATUS_RES", "GET_STATUS_UNIQUE": "STATUS_RES_UNIQUE", "ECHO_REQ": "ECHO_RES"}
    return (answers | {"OPTION_REQ": "OPTION_RES"}).get(name, "in step")


def followed_by(name: str, more: str) -> str:
    return more if answer(name) == "in step" else f"{answer(name)}, {more}"


def build(name: str, parts: tuple[bytes, ...], between: bytes = b"\0") -> Callable[[Handles], bytes]:
    def data(handles: Handles) -> bytes:
        return request(name, between.join(handles.foreign if part == H else part for part in parts))

    return data


def put(name: str, at: int, part: bytes) -> Callable[[Handles], bytes]:
    """The valid request with one argument exchanged."""
    parts = VALID[name]
    return build(name, (*parts[:at], part, *parts[at + 1 :]))


def sized(name: str, change: int) -> Callable[[Handles], bytes]:
    """The valid request, announcing so many bytes more or less than it has."""
    whole = build(name, VALID[name])

    def data(handles: Handles) -> bytes:
        sent = whole(handles)
        return sent[:8] + struct.pack(">I", min(len(sent) - 12 + change, MOST)) + sent[12:]

    return data


def fixed(data: bytes) -> Callable[[Handles], bytes]:
    return lambda handles: data


# -- packets -----------------------------------------------------------------------------------------------------------


def arguments() -> Iterator[Hostile]:
    wrong = "ERROR INVALID_ARGUMENT"
    for name, parts in VALID.items():
        if len(parts) > 1:
            gets = answer(name) if name in REPORTS and has_data(name) else wrong  # those may end with their handle
            yield Hostile("nothing in it", name, build(name, ()), gets)
            yield Hostile("an argument too few", name, build(name, parts[:-1]), gets)
            yield Hostile("blanks for NULs", name, build(name, parts, b" "), gets)
        if not has_data(name):
            yield Hostile("an argument too many", name, build(name, (*parts, b"more")), wrong)
    for name, gets in [
        ("CAN_DO", "ERROR INVALID_FUNCTION_NAME"),
        ("CANT_DO", "ERROR INVALID_FUNCTION_NAME"),
        ("WORK_FAIL", "ERROR JOB_NOT_FOUND"),
        ("GET_STATUS", "STATUS_RES"),
        ("GET_STATUS_UNIQUE", "STATUS_RES_UNIQUE"),
        ("OPTION_REQ", "ERROR UNKNOWN_OPTION"),
        ("SET_CLIENT_ID", "in step"),
    ]:
        yield Hostile("nothing in it", name, build(name, ()), gets)


def directions() -> Iterator[Hostile]:
    for name in VALID:
        parts = tuple(b"H:1" if part == H else part for part in VALID[name])
        yield Hostile("the response magic", name, fixed(response(name, *parts)), "ERROR INVALID_MAGIC")
    for name in FROM_SERVER:
        yield Hostile("the response magic", name, fixed(response(name, *[b"1"] * 8)), "ERROR INVALID_MAGIC")
        yield Hostile("for a server to send", name, fixed(request(name, *[b"1"] * 8)), "ERROR INVALID_COMMAND")
    for number in (0, 43, 255, 65543, 2**32 - 1):
        yield Hostile("no such type", str(number), fixed(request(number, b"data")), "ERROR INVALID_COMMAND")
    for magic in (b"\0BAD", b"\0REq", b"\0\0\0\0", b"\0SER"):
        name = repr(magic)[1:].replace("\\x", "\\")
        yield Hostile("no magic", name, fixed(packet(magic, "ECHO_REQ", b"data")), "ERROR INVALID_MAGIC, closes")


def sizes() -> Iterator[Hostile]:
    lost = "ERROR INVALID_MAGIC, closes"
    for name, parts in VALID.items():
        if parts:
            gets = followed_by(name, lost) if name != "OPTION_REQ" else f"ERROR UNKNOWN_OPTION, {lost}"
            yield Hostile("a byte more than announced", name, sized(name, -1), gets)
        gets = followed_by(name, lost)
        if not has_data(name):  # five bytes of the next packet become an argument, and they begin with a NUL
            gets = f"ERROR INVALID_ARGUMENT, {lost}"
        yield Hostile("five bytes fewer than announced", name, sized(name, 5), gets)
        gets = "ERROR ARGUMENT_TOO_LARGE, ERROR TIMEOUT, closes"
        yield Hostile("4 GiB announced", name, sized(name, MOST), gets, half=True)
    for number in (0, 43):
        data = struct.pack(">4sII", b"\0REQ", number, MOST)
        yield Hostile("4 GiB announced", f"no such type: {number}", fixed(data), lost)


def halves() -> Iterator[Hostile]:
    gets = "ERROR TIMEOUT, closes"
    for length in (1, 4, 11):
        yield Hostile("half a packet", f"{length} bytes", fixed(request("ECHO_REQ", b"x")[:length]), gets, half=True)
    for name in ("CAN_DO", "SUBMIT_JOB", "SUBMIT_JOB_EPOCH", "WORK_COMPLETE", "GET_STATUS", "ECHO_REQ", "GRAB_JOB"):
        yield Hostile("half a packet", f"{name}, its end missing", sized(name, 1), gets, half=True)
        if has_data(name) and name not in REPORTS:
            yield Hostile("half a packet", f"{name}, 100 kB missing", sized(name, 100_000), gets, half=True)
    yield Hostile(
        "half a packet", "WORK_COMPLETE of its own job, 100 kB missing", half_result, gets, half=True, grabs=True
    )


def half_result(handles: Handles) -> bytes:
    return request("WORK_COMPLETE", handles.own, b"x" * 100_000)[:50_000]


# -- their contents ----------------------------------------------------------------------------------------------------


def names() -> Iterator[Hostile]:
    for name in ("CAN_DO", "CANT_DO", "CAN_DO_TIMEOUT", *SUBMITS):
        yield Hostile("function name: empty", name, put(name, 0, b""), "ERROR INVALID_FUNCTION_NAME")
        for length in (513, 20_000):
            gets = "ERROR ARGUMENT_TOO_LARGE"
            yield Hostile(f"function name: {length} bytes", name, put(name, 0, b"n" * length), gets)
        yield Hostile("function name: tabs, newlines, a dot", name, put(name, 0, b"\t1\n.\n\x7f\xff"), answer(name))
    for name in SUBMITS:
        yield Hostile("unique: 65 bytes", name, put(name, 1, b"u" * 65), "ERROR ARGUMENT_TOO_LARGE")
        yield Hostile("unique: a dot, a newline", name, put(name, 1, b".\n."), answer(name))
        yield Hostile("unique: a dot", name, put(name, 1, b"."), answer(name))
        if "REDUCE" in name:
            yield Hostile("reducer: 513 bytes", name, put(name, 2, b"r" * 513), "ERROR ARGUMENT_TOO_LARGE")
    for what, id, gets in [
        ("1025 bytes", b"i" * 1025, "ERROR ARGUMENT_TOO_LARGE"),
        ("20,000 bytes", b"i" * 20_000, "ERROR ARGUMENT_TOO_LARGE"),
        ("blanks, colons, newlines", b"a b : c\n.\n", "in step"),
    ]:
        yield Hostile("client id", what, put("SET_CLIENT_ID", 0, id), gets)
    for what, option in [("unknown", b"no such"), ("64 bytes", b"o" * 64), ("20,000 bytes", b"o" * 20_000)]:
        gets = "ERROR UNKNOWN_OPTION" if len(option) < 20_000 else "ERROR ARGUMENT_TOO_LARGE"
        yield Hostile("option", what, put("OPTION_REQ", 0, option), gets)


HANDLES = [
    ("empty", b""),
    ("64 bytes", b"H:" + b"1" * 62),
    ("5,000 bytes", b"H:" + b"1" * 4998),
    ("of another server", b"H:elsewhere:1"),
    ("no number", b"H:test:x"),
    ("a negative number", b"H:test:-1"),
    ("a number beyond 64 bits", b"H:test:" + b"9" * 30),
    ("newlines", b"H:\n:\n"),
]


def handles() -> Iterator[Hostile]:
    for name in (*REPORTS, "GET_STATUS", "GET_STATUS_UNIQUE"):
        for what, handle in HANDLES:
            yield Hostile(f"handle: {what}", name, put(name, 0, handle), answer(name))
    for name in REPORTS:
        yield Hostile("handle: of a job that somebody else runs", name, build(name, VALID[name]), answer(name))


NO_TIMES = [
    ("empty", b""),
    ("letters", b"soon"),
    ("a fraction", b"1.5"),
    ("a blank before it", b" 1"),
    ("hexadecimal", b"0x10"),
    ("a sign alone", b"-"),
    ("20 digits", b"9" * 20),
    ("5,000 digits", b"9" * 5000),
]


def times() -> Iterator[Hostile]:
    wrong = "ERROR INVALID_ARGUMENT"
    for what, text in NO_TIMES:
        yield Hostile(f"time: {what}", "SUBMIT_JOB_EPOCH", put("SUBMIT_JOB_EPOCH", 2, text), wrong)
        yield Hostile(f"time: {what}", "CAN_DO_TIMEOUT", put("CAN_DO_TIMEOUT", 1, text), wrong)
        if text:  # an empty field of a schedule fits any time
            yield Hostile(f"time: {what}", "SUBMIT_JOB_SCHED", put("SUBMIT_JOB_SCHED", 2, text), wrong)
    for at, (what, text) in enumerate(
        [("minute 60", b"60"), ("hour 24", b"24"), ("day 0", b"0"), ("month 13", b"13"), ("weekday 7", b"7")], 2
    ):
        yield Hostile(f"time: {what}", "SUBMIT_JOB_SCHED", put("SUBMIT_JOB_SCHED", at, text), wrong)
    yield Hostile("time: negative", "SUBMIT_JOB_EPOCH", put("SUBMIT_JOB_EPOCH", 2, b"-1"), wrong)
    yield Hostile("time: negative", "SUBMIT_JOB_SCHED", put("SUBMIT_JOB_SCHED", 2, b"-1"), wrong)
    yield Hostile("time: negative", "CAN_DO_TIMEOUT", put("CAN_DO_TIMEOUT", 1, b"-1"), "in step")  # none, as with 0


# -- out of order ------------------------------------------------------------------------------------------------------


def after(first: str, then: str) -> Callable[[Handles], bytes]:
    def data(handles: Handles) -> bytes:
        return b"".join(request(name, handles.own, *VALID[name][1:]) for name in (first, then))

    return data


def orders() -> Iterator[Hostile]:
    gone = "ERROR JOB_NOT_FOUND"
    for first in ("WORK_COMPLETE", "WORK_FAIL", "WORK_EXCEPTION"):
        for then in REPORTS:
            name = f"{then} after {first}"
            gets = "in step" if name == "WORK_FAIL after WORK_EXCEPTION" else gone  # many workers send it
            yield Hostile("a report on a job that has ended", name, after(first, then), gets, grabs=True)
    yield Hostile("a report on a job that was cancelled", "WORK_COMPLETE", cancelled, f"OK, {gone}", grabs=True)
    twice = [("PRE_SLEEP", "in step"), ("RESET_ABILITIES", "in step"), ("GRAB_JOB", "NO_JOB"), ("CANT_DO", "in step")]
    for name, gets in twice:
        yield Hostile("twice, by one that can do nothing", name, fixed(request(name, *VALID[name]) * 2), gets)
    data = request("PRE_SLEEP") + request("WORK_COMPLETE", b"H:nobody:1", b"")
    yield Hostile("a report in one's sleep", "WORK_COMPLETE", fixed(data), gone)


def cancelled(handles: Handles) -> bytes:
    return b"cancel job " + handles.own + b"\n" + request("WORK_COMPLETE", handles.own, b"")


# -- text --------------------------------------------------------------------------------------------------------------

UNKNOWN = "ERR UNKNOWN_COMMAND"
INCOMPLETE = "ERR INVALID_ARGUMENTS"
HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(1, 33)) + b"\0" * 20  # how TLS begins
LINES = [
    ("an unknown word", b"nonsense\n", UNKNOWN),
    ("nothing", b"\n", UNKNOWN),
    ("blanks", b"    \r\n", UNKNOWN),
    ("a tab for a blank", b"show\tjobs\n", UNKNOWN),
    ("control characters", b"\x01\x02\x1b[2J\n", UNKNOWN),
    ("bytes above 127", b"\xff\xfe\xfd\n", UNKNOWN),
    ("a line of 8,191 bytes", b"x" * 8190 + b"\n", UNKNOWN),
    ("twenty words", b"a " * 20 + b"\n", UNKNOWN),
    ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", UNKNOWN),
    ("shutdown", b"shutdown\n", UNKNOWN),
    ("show alone", b"show\n", UNKNOWN),
    ("show what is not shown", b"show everything now\n", "ERR UNKNOWN_SHOW_ARGUMENTS"),
    ("cancel alone", b"cancel\n", UNKNOWN),
    ("cancel what is no job", b"cancel the show\n", "ERR UNKNOWN_ERROR"),
    ("cancel a job that is not there", b"cancel job H:nobody:1\n", "ERR UNKNOWN_JOB"),
    ("cancel a handle of 5,000 bytes", b"cancel job " + b"H" * 5000 + b"\n", "ERR UNKNOWN_JOB"),
    ("maxqueue alone", b"maxqueue\n", INCOMPLETE),
    ("maxqueue of two limits", b"maxqueue fn 1 2\n", INCOMPLETE),
    ("maxqueue of six", b"maxqueue fn 1 2 3 4 5 6\n", INCOMPLETE),
    ("maxqueue of letters", b"maxqueue fn many\n", INCOMPLETE),
    ("maxqueue of 20 digits", b"maxqueue fn " + b"9" * 20 + b"\n", INCOMPLETE),
    ("maxqueue of a name of 513 bytes", b"maxqueue " + b"n" * 513 + b" 1\n", "ERR ARGUMENT_TOO_LARGE"),
    ("create alone", b"create\n", INCOMPLETE),
    ("create a function without a name", b"create function\n", INCOMPLETE),
    ("create a name of 513 bytes", b"create function " + b"n" * 513 + b"\n", "ERR ARGUMENT_TOO_LARGE"),
    ("drop alone", b"drop\n", INCOMPLETE),
    ("drop what is not there", b"drop function nobody\n", "ERR function"),
    ("a NUL in it", b"status\0\n", "ERROR INVALID_MAGIC, closes"),
    ("two bytes a letter", "status\n".encode("utf-16-le"), "ERROR INVALID_MAGIC, closes"),
    ("TLS", HELLO, "ERROR INVALID_MAGIC, closes"),
    ("no end", b"x" * 8192, "ERR LINE_TOO_LONG, closes"),
]


def lines() -> Iterator[Hostile]:
    for name, data, gets in LINES:
        yield Hostile("text", name, fixed(data), gets)
    for name, data in [("half a line", b"stat"), ("a carriage return alone", b"status\r"), ("one letter", b"x")]:
        yield Hostile("half a line", name, fixed(data), "ERR TIMEOUT, closes", half=True)


REQUESTS: tuple[Hostile, ...] = tuple(
    one for family in (arguments, directions, sizes, halves, names, handles, times, orders, lines) for one in family()
)
