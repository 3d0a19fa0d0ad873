# SPDX-License-Identifier: MIT
"""Replies to text commands, as text in and dataclasses out. Knows no sockets; the formats are gearmand's.

Names come back as they were sent: what the server escaped as \\xNN is undone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastgear.errors import RemoteProtocolError, ServerError
from fastgear.types import ConnectionInfo, FunctionInfo, JobInfo, PriorityInfo

__all__ = [
    "is_error",
    "parse_counters",
    "parse_ok",
    "parse_priority_status",
    "parse_show_jobs",
    "parse_status",
    "parse_uniques",
    "parse_workers",
]

_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
_NUMBER = re.compile(r"[0-9]{1,20}")  # no others that Unicode has, and none that int() refuses
_WORKER = re.compile(r"([0-9]{1,20}) (\S+) (.*?) :(?: (.*))?")


def _unescape(name: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), name)


def _lines(reply: str) -> Iterator[str]:
    """The lines of a listing, which ends in a line with a dot."""
    _raise_error(reply)
    lines = reply.split("\n")
    if lines[-2:] != [".", ""]:
        raise RemoteProtocolError(f"a listing ends with a dot on a line of its own; this one ends {reply[-40:]!r}")
    return iter(lines[:-2])


def is_error(reply: str) -> bool:
    """Errors end in CRLF; the lines of a listing end in LF, and a function may be called ERR."""
    return reply.startswith("ERR ") and reply.partition("\n")[0].endswith("\r")


def _raise_error(reply: str) -> None:
    if is_error(reply):
        _, code, text, *_ = [*reply.strip().split(" ", 2), "", ""]
        raise ServerError(code, text.replace("+", " "))


def _fields(reply: str, numbers: int) -> Iterator[tuple[str, list[int]]]:
    """A name and so many numbers per line, tabs between; the name itself may hold tabs on servers that do not escape."""
    for line in _lines(reply):
        name, *fields = line.rsplit("\t", numbers)
        if len(fields) != numbers or not all(map(_NUMBER.fullmatch, fields)):
            raise RemoteProtocolError(f"a line of this listing has a name and {numbers} numbers; this one is {line!r}")
        yield _unescape(name), [int(field) for field in fields]


def parse_status(reply: str) -> list[FunctionInfo]:
    return [
        FunctionInfo(name=name, total=total, running=running, workers=workers)
        for name, (total, running, workers) in _fields(reply, 3)
    ]


def parse_priority_status(reply: str) -> list[PriorityInfo]:
    return [
        PriorityInfo(name=name, high=high, normal=normal, low=low, workers=workers)
        for name, (high, normal, low, workers) in _fields(reply, 4)
    ]


def parse_counters(reply: str) -> dict[str, int]:
    return {name: value for name, (value,) in _fields(reply, 1)}


def parse_show_jobs(reply: str) -> list[JobInfo]:
    return [
        JobInfo(handle=handle, retries=retries, ignored=bool(ignored), background=bool(background))
        for handle, (retries, ignored, background) in _fields(reply, 3)
    ]


def parse_uniques(reply: str) -> list[str]:
    return [_unescape(line) for line in _lines(reply)]


def parse_workers(reply: str) -> list[ConnectionInfo]:
    return [_connection(line) for line in _lines(reply)]


def _connection(line: str) -> ConnectionInfo:
    found = _WORKER.fullmatch(line)
    if found is None:
        raise RemoteProtocolError(f"a line of workers is 'FD ADDRESS ID : FUNCTIONS'; this one is {line!r}")
    fd, address, client_id, functions = found.groups()
    return ConnectionInfo(
        fd=int(fd),
        address=address,
        client_id=None if client_id == "-" else _unescape(client_id),
        functions=tuple(_unescape(name) for name in functions.split(" ")) if functions else (),
    )


def parse_ok(reply: str) -> str:
    """What follows OK, often nothing. Raises ServerError for ERR."""
    _raise_error(reply)
    word, _, rest = reply.strip().partition(" ")
    if word != "OK":
        raise RemoteProtocolError(f"the reply begins with neither OK nor ERR: {reply[:40]!r}")
    return rest
